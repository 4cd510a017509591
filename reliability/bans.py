"""What no file of the repository may hold: ways by which data become code, or a page becomes a program.

A ban is found in the syntax tree, so that comments and words in messages are free, and names are followed through
``import ... as``. What a string holds is looked at only for pages (``innerHTML``) and shells.
"""

import ast
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

    names:   dotted names, of modules or of things in them, that may neither be imported nor used.
    calls:   dotted names that may not be called; a bare name is the built-in.
    keyword: (name, value) that no call may be given; nor a value for it that is not written out.
    unsaid:  (call, keyword) that may not be called without the keyword.
    text:    what no string may hold.
    sample:  a file that holds it, to show that it is found.
    """

    names: Sequence[str] = ()
    calls: Sequence[str] = ()
    keyword: tuple[str, object] | None = None
    unsaid: tuple[str, str] | None = None
    text: str | None = None
    sample: str


BANS: Mapping[str, Ban] = {
    "pickle": Ban(names=("pickle", "_pickle", "cPickle", "pandas.read_pickle"), sample="from pickle import loads"),
    "marshal": Ban(names=("marshal",), sample="import marshal as m"),
    "shelve": Ban(names=("shelve",), sample="import shelve"),
    "dill": Ban(names=("dill", "cloudpickle", "joblib"), sample="import dill"),
    "torch.load": Ban(
        names=("torch.load", "torch.serialization.load", "torch.hub"), sample="import torch as t\nread = t.load"
    ),
    "weights_only=False": Ban(
        keyword=("weights_only", False), sample="import torch\ntorch.load(f, weights_only=False)"
    ),
    "allow_pickle=True": Ban(keyword=("allow_pickle", True), sample="import numpy\nnumpy.load(f, allow_pickle=True)"),
    "numpy.load unsaid": Ban(unsaid=("numpy.load", "allow_pickle"), sample="import numpy as np\nnp.load(f)"),
    "yaml": Ban(names=tuple(f"yaml.{name}" for name in YAML), sample="import yaml\nyaml.load(f)"),
    "eval": Ban(calls=("eval", "__import__"), sample="eval(text)"),
    "exec": Ban(calls=("exec",), sample="import builtins\nbuiltins.exec(text)"),
    "compile": Ban(calls=("compile",), sample="compile(text, 'f', 'exec')"),
    "a module from a file": Ban(
        names=("importlib.util.spec_from_file_location", "runpy", "imp"), sample="from runpy import run_path"
    ),
    "shell=True": Ban(keyword=("shell", True), sample="import subprocess\nsubprocess.run(line, shell=True)"),
    "os.system": Ban(
        names=("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "pty"),
        sample="from os import system",
    ),
    "extractall": Ban(
        names=("shutil.unpack_archive", "*.extractall"), sample="import tarfile\ntarfile.open(f).extractall(folder)"
    ),
    "distributed checkpoint": Ban(
        names=("torch.distributed.checkpoint",), sample="import torch.distributed.checkpoint"
    ),
    "TorchScript": Ban(names=("torch.jit.load",), sample="import torch\ntorch.jit.load(f)"),
    "innerHTML": Ban(text="innerHTML", sample="page = 'box.innerHTML = name'"),
}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a file holds that a ban may be about.

    names: dotted names imported or used as an attribute, imports followed.
    calls: dotted names called, with the keywords of the call; None for a value that is no constant.
    texts: strings.
    """

    names: frozenset[str]
    calls: Sequence[tuple[str, Mapping[str | None, object]]]
    texts: frozenset[str]


def found(ban: Ban, facts: Facts) -> bool:
    """Whether a file holds a banned thing."""
    return (
        any(_banned(ban.names, name) for name in facts.names if ban.names)
        or any(name.removeprefix("builtins.") in ban.calls for name, _ in facts.calls)
        or any(name == ban.unsaid[0] and ban.unsaid[1] not in given for name, given in facts.calls if ban.unsaid)
        or any(given.get(ban.keyword[0], MISSING) in (ban.keyword[1], None) for _, given in facts.calls if ban.keyword)
        or any(ban.text in text for text in facts.texts if ban.text)
    )


def _banned(names: Sequence[str], name: str) -> bool:
    return any(
        name.endswith(each[1:]) if each.startswith("*") else name == each or name.startswith(f"{each}.")
        for each in names
    )


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

    return Facts(
        names=frozenset([*known.values(), *(dotted(node) for node in nodes if isinstance(node, ast.Attribute))]),
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
        name: facts_of(text) if name.endswith(".py") else Facts(names=frozenset(), calls=[], texts=frozenset([text]))
        for name, text in texts.items()
    }
