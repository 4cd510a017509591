"""What tests read off the pages of the documentation; CONTRIBUTING says how blocks are marked."""

import ast
import contextlib
import importlib
import inspect
import io
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from covary.cli import COMMANDS
from covary.cli.parse import parse
from covary.errors import InputError

ROOT = Path(__file__).parents[1]
PAGES = sorted(str(p.relative_to(ROOT)) for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
OF_THE_PAST = ("CHANGELOG.md", "docs/log.md", *(page for page in PAGES if page.startswith("docs/adr/")))
FENCE = re.compile(r"^(<!-- not run: .+ -->\n)?```([^\n]*)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Block:
    """Text between fences. skipped: a comment above says why it is not run."""

    language: str
    text: str
    skipped: bool = False


class Parsed(Exception):
    """The options of a command were parsed; it ends here, before any work."""


def read(page: str) -> str:
    """Return the text of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(text: str) -> Iterator[Block]:
    """Yield the blocks of a page, in order."""
    for found in FENCE.finditer(text):
        yield Block(language=found[2], text=found[3], skipped=bool(found[1]))


def commands(block: str) -> Iterator[list[str]]:
    """Yield the words of each command of a block; where lines begin with a prompt, the others are output."""
    lines = block.replace("\\\n", " ").splitlines()
    if any(line.startswith("$ ") for line in lines):
        lines = [line[2:] for line in lines if line.startswith("$ ")]
    for line in lines:
        if words := shlex.split(line, comments=True):
            yield words


def mentioned(text: str) -> Iterator[str]:
    """Yield the commands that prose names: in indented lines and in code within a line."""
    prose = FENCE.sub("", text)
    yield from (
        found[1].strip() for found in re.finditer(r"^ {4}(.*\bcovary(?:\.cli)? .*)$", prose, flags=re.MULTILINE)
    )
    yield from (" ".join(found[1].split()) for found in re.finditer(r"`((?:torchrun|covary) [a-z][^`]*)`", prose))


def arguments(words: list[str]) -> list[str] | None:
    """Return what a command gives to covary, however it is started; None where it starts something else."""
    for name in ("covary", "covary.cli"):
        if name in words:
            return words[words.index(name) + 1 :]
    return None


def is_usage(command: str) -> bool:
    """Return whether a command has places to fill in, as a synopsis has."""
    return re.search(r"\.\.\.|\[|\||--\S*[A-Z]|--\S+ [A-Z.]{3,}(?:\s|$)|COMMAND", command) is not None


def parse_only(given: list[str]) -> str | None:
    """Parse a command's options as the command does, and stop there; return what it says of them where they are wrong.

    Raises AssertionError: there is no such command.
    """
    assert given, "a command is missing"
    assert given[0] in (*COMMANDS, "--help", "--version"), f"'{given[0]}' is no command"
    if given[0] not in COMMANDS:
        return None
    module = importlib.import_module(f"covary.cli.{given[0]}")

    def stop(*args: Any, **options: Any) -> None:
        raise Parsed(parse(*args, **options))

    try:
        with mock.patch.object(module, "parse", stop), mock.patch("covary.run.native_size", return_value=32):
            module.main(given[1:])  # the images need not be there
    except (Parsed, SystemExit):  # help ends so
        return None
    except InputError as error:
        return str(error)
    raise AssertionError(f"covary {given[0]} does not call parse")


def options_of(command: str, *given: str) -> str:
    """Return the help text of a command."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown):
        parse_only([command, *given, "--help"])
    return shown.getvalue()


def check_names(block: str) -> None:
    """Check, without running it, that a block of Python compiles, that what it imports is there, and so are keywords.

    Raises SyntaxError, ImportError, AttributeError, TypeError.
    """
    names: dict[str, Any] = {}
    tree = ast.parse(block)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                module, top = importlib.import_module(alias.name), alias.name.partition(".")[0]
                names[alias.asname or top] = module if alias.asname else importlib.import_module(top)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                names[alias.asname or alias.name] = getattr(importlib.import_module(node.module or ""), alias.name)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            _thing(node, names)
        elif isinstance(node, ast.Call) and callable(thing := _thing(node.func, names)):
            with contextlib.suppress(ValueError):  # what is written in C may have no signature
                inspect.signature(thing).bind_partial(**{each.arg: None for each in node.keywords if each.arg})


def _thing(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """Return what an imported name, or a name inside it, stands for; None for all else."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute) and (owner := _thing(node.value, names)) is not None:
        return getattr(owner, node.attr)
    return None


def links(text: str) -> list[str]:
    """Return the targets of a page's links and pictures within the repository."""
    prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", prose) if "://" not in link]


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings, as hosts of git make them."""
    found: dict[str, int] = {}
    names = set()
    for heading in re.findall(r"^#{1,6} +(.+?) *$", FENCE.sub("", text), flags=re.MULTILINE):
        shown = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", shown.lower()).replace(" ", "-")
        names.add(f"{slug}-{found[slug]}" if slug in found else slug)
        found[slug] = found.get(slug, 0) + 1
    return names
