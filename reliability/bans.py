"""What no file of the repository may hold: ways by which data become code, or a page becomes a program.

A ban is found in the syntax tree, so that comments and words in messages are free, and names are followed through
``import ... as``, ``getattr`` and ``import_module`` where they are written out. What a string holds is looked at only
for pages. A name that is made while the program runs is not seen.
"""

import ast
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
TREES = ("covary", "examples", "benchmarks", "reliability")
ENDS = (".py", ".js", ".html", ".svg")
MISSING = object()
YAML = (
    *("load", "load_all", "unsafe_load", "unsafe_load_all", "full_load", "full_load_all"),
    *("Loader", "UnsafeLoader", "FullLoader", "CLoader"),
)


@dataclass(frozen=True, kw_only=True)
class Ban:
    """One banned thing.

    why:        what it would do.
    names:      dotted names, of modules or of things in them, that may neither be imported nor used.
    attributes: what no object may be asked for.
    calls:      dotted names that may not be called; a bare name is the built-in.
    keyword:    (name, value) that no call may be given; nor a value for it that is not written out.
    unsaid:     (calls, keyword) that may not be made without the keyword.
    text:       what no string may hold, as a regular expression.
    samples:    files that hold it, to show that it is found.
    """

    why: str
    names: Sequence[str] = ()
    attributes: Sequence[str] = ()
    calls: Sequence[str] = ()
    keyword: tuple[str, object] | None = None
    unsaid: tuple[Sequence[str], str] | None = None
    text: str | None = None
    samples: Sequence[str]


BANS: Mapping[str, Ban] = {
    "pickle": Ban(
        why="a pickle is a program",
        names=("pickle", "_pickle", "cPickle", "pandas.read_pickle"),
        samples=("from pickle import loads", "import importlib\nimportlib.import_module('pickle').loads(f)"),
    ),
    "marshal": Ban(why="reads bytecode", names=("marshal",), samples=("import marshal as m",)),
    "shelve": Ban(why="a file of pickles", names=("shelve",), samples=("import shelve",)),
    "dill": Ban(why="more than pickle", names=("dill", "cloudpickle", "joblib"), samples=("import dill",)),
    "torch.load": Ban(
        why="reads pickles",
        names=("torch.load", "torch.serialization.load", "torch.hub"),
        samples=("import torch as t\nread = t.load", "import torch\nread = getattr(torch, 'load')"),
    ),
    "weights_only=False": Ban(
        why="reads any pickle",
        keyword=("weights_only", False),
        samples=("import torch\ntorch.load(f, weights_only=False)",),
    ),
    "allow_pickle=True": Ban(
        why="arrays of objects are pickles",
        keyword=("allow_pickle", True),
        samples=("import numpy\nnumpy.load(f, allow_pickle=True)",),
    ),
    "allow_pickle unsaid": Ban(
        why="its default was True, and it can be given by position",
        unsaid=(("numpy.load", "numpy.lib.format.read_array"), "allow_pickle"),
        samples=(
            *("import numpy as np\nnp.load(f)", "import numpy as np\nnp.load(f, None, True)"),
            "from numpy.lib.format import read_array\nread_array(f, True)",
        ),
    ),
    "yaml": Ban(
        why="a YAML tag calls what it names",
        names=tuple(f"yaml.{name}" for name in YAML),
        samples=("import yaml\nyaml.load(f)",),
    ),
    "eval": Ban(why="runs text", calls=("eval", "__import__"), samples=("eval(text)",)),
    "exec": Ban(why="runs text", calls=("exec",), samples=("import builtins\nbuiltins.exec(text)",)),
    "compile": Ban(why="makes text ready to run", calls=("compile",), samples=("compile(text, 'f', 'exec')",)),
    "a module from a file": Ban(
        why="runs a file",
        names=("importlib.util.spec_from_file_location", "runpy", "imp"),
        samples=("from runpy import run_path",),
    ),
    "shell=True": Ban(
        why="a name becomes a command",
        keyword=("shell", True),
        samples=("import subprocess\nsubprocess.run(line, shell=True)",),
    ),
    "os.system": Ban(
        why="a name becomes a command",
        names=("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "pty"),
        samples=("from os import system", "import os\ngetattr(os, 'system')(line)"),
    ),
    "extract": Ban(
        why="a member's name chooses where it is written",
        names=("shutil.unpack_archive",),
        attributes=("extract", "extractall"),
        samples=(
            *("import tarfile\ntarfile.open(f).extractall(to)", "import tarfile\ntarfile.TarFile(f).extract(name)"),
            *("import zipfile\nzipfile.ZipFile(f).extractall(to)", "import zipfile\nzipfile.ZipFile(f).extract(name)"),
            "getattr(archive, 'extractall')()",
        ),
    ),
    "distributed checkpoint": Ban(
        why="its metadata are a pickle",
        names=("torch.distributed.checkpoint",),
        samples=("import torch.distributed.checkpoint",),
    ),
    "TorchScript": Ban(why="a program", names=("torch.jit.load",), samples=("import torch\ntorch.jit.load(f)",)),
    "HTML from text": Ban(
        why="markup in a name becomes part of the page",
        text=r"(inner|outer)HTML|insertAdjacentHTML|document\.write",
        samples=(
            *("page = 'box.innerHTML = name'", "page = 'box.outerHTML = name'"),
            *("page = 'box.insertAdjacentHTML(where, name)'", "page = 'document.write(name)'"),
        ),
    ),
    "a template that trusts": Ban(
        why="markup in a name becomes part of the page",
        text=r"\|\s*safe\b|autoescape\s+false",
        samples=("page = '{{ name|safe }}'", "page = '{{ name | safe }}'", "page = '{% autoescape false %}'"),
    ),
    "Markup": Ban(
        why="text that no template escapes",
        names=("markupsafe.Markup", "jinja2.utils.markupsafe"),
        samples=("from markupsafe import Markup\nMarkup(name)", "import markupsafe\nmarkupsafe.Markup(name)"),
    ),
    "autoescape=False": Ban(
        why="templates that escape nothing", keyword=("autoescape", False), samples=("Environment(autoescape=False)",)
    ),
    "autoescape unsaid": Ban(
        why="Jinja's templates escape nothing by default",
        unsaid=(("jinja2.Environment", "jinja2.Template"), "autoescape"),
        samples=("import jinja2\njinja2.Template(text)",),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a file holds that a ban may be about.

    names:      dotted names imported or used as an attribute, imports followed.
    attributes: what objects are asked for.
    calls:      dotted names called, with the keywords of the call; None for a value that is no constant.
    texts:      strings.
    """

    names: frozenset[str] = frozenset()
    attributes: frozenset[str] = frozenset()
    calls: Sequence[tuple[str, Mapping[str | None, object]]] = ()
    texts: frozenset[str]


def found(ban: Ban, facts: Facts) -> bool:
    """Whether a file holds a banned thing."""
    return (
        any(_banned(ban.names, name) for name in facts.names if ban.names)
        or any(name.removeprefix("builtins.") in ban.calls for name, _ in facts.calls)
        or not facts.attributes.isdisjoint(ban.attributes)
        or any(name in ban.unsaid[0] and ban.unsaid[1] not in given for name, given in facts.calls if ban.unsaid)
        or any(given.get(ban.keyword[0], MISSING) in (ban.keyword[1], None) for _, given in facts.calls if ban.keyword)
        or any(re.search(ban.text, text) for text in facts.texts if ban.text)
    )


def _banned(names: Sequence[str], name: str) -> bool:
    return any(name == each or name.startswith(f"{each}.") for each in names)


@cache
def facts_of(content: str) -> Facts:
    """Return what a Python file holds."""
    nodes = list(ast.walk(ast.parse(content)))
    imported = {
        each.asname or each.name: f"{node.module}.{each.name}"
        for node in nodes
        if isinstance(node, ast.ImportFrom)
        for each in node.names
    }
    modules = {
        each.asname or each.name: each.name for node in nodes if isinstance(node, ast.Import) for each in node.names
    }
    known = {**modules, **imported}

    def dotted(node: ast.expr) -> str:
        first, dot, rest = ast.unparse(node).partition(".")
        return known.get(first, first) + dot + rest

    asked = [(node.value, node.attr) for node in nodes if isinstance(node, ast.Attribute)]
    named: list[str] = []
    for node in nodes:
        match node:
            case ast.Call(func=ast.Name("getattr"), args=[owner, ast.Constant(str(name)), *_]):
                asked.append((owner, name))
            case ast.Call(func=ast.Name() | ast.Attribute() as function, args=[ast.Constant(str(name)), *_]):
                named += [name] * (dotted(function) == "importlib.import_module")
    return Facts(
        names=frozenset([*known.values(), *named, *(f"{dotted(owner)}.{name}" for owner, name in asked)]),
        attributes=frozenset(name for _, name in asked),
        calls=[
            (
                dotted(node.func),
                {
                    each.arg: each.value.value if isinstance(each.value, ast.Constant) else None
                    for each in node.keywords
                },
            )
            for node in nodes
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute)
        ],
        texts=frozenset(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)),
    )


@cache
def files() -> Mapping[str, Facts]:
    """Return what every file of the repository's trees holds, by its path: Python's, and those that make pages."""
    paths = [path for tree in TREES for path in sorted((ROOT / tree).rglob("*"))]
    texts = {path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in paths if path.suffix in ENDS}
    return {
        name: facts_of(text) if name.endswith(".py") else Facts(texts=frozenset([text])) for name, text in texts.items()
    }
