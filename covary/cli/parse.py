"""tyro at the edge: options to frozen dataclasses, complaints to one line."""

import contextlib
import io
import itertools
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import tyro

from covary.errors import InputError, did_you_mean

T = TypeVar("T")

_MISSING = "Missing from"
_UNKNOWN = "Unrecognized options:"
_SUGGESTIONS = ("Perhaps you meant:", "Arguments similar to")
_ASIDES = (*_SUGGESTIONS, "For full helptext", "Argument helptext")
_HELP_COLUMNS = "110"  # of the help text where there is no terminal
_ONE_LINE_COLUMNS = "10000"  # so that a complaint is not wrapped within a path
_REWORDED = {
    r"Error parsing (--\S+): invalid literal for int\(\) with base 10: (.+)": r"\1 is \2; expected a whole number.",
    r"Error parsing (--\S+): could not convert string to float: (.+)": r"\1 is \2; expected a number.",
    r"Error parsing [^\s-]\S*: (.+)": r"\1",  # the words of a dataclass that refused its values
    r"Unrecognized options: (.+)": lambda found: f"Unknown option: {found[1].replace(',', '')}.",
}


def parse(kind: type[T], argv: Sequence[str], *, prog: str, description: str, default: Any = None) -> T:
    """Parse options into ``kind``; a union takes the member that ``default`` holds.

    Raises InputError with tyro's complaint as one line. SystemExit: help was asked for.
    """
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint), _columns(argv):
            return tyro.cli(
                kind,
                args=argv,
                prog=prog,
                description=description,
                default=default,
                config=(tyro.conf.AvoidSubcommands,),
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise InputError(one_line(complaint.getvalue()) or f"options are wrong; see {prog} --help") from stop


def peek(argv: Sequence[str], option: str) -> str | None:
    """Return the value given to an option, the last one where it is repeated; ``_`` in its name stands for ``-``."""
    value = None
    for index, word in enumerate(argv):
        name, equals, rest = word.partition("=")
        if name.replace("_", "-") != option:
            continue
        if equals:
            value = rest
        elif index + 1 < len(argv):
            value = argv[index + 1]
    return value


def asks_help(argv: Sequence[str]) -> bool:
    """Return whether help is asked for."""
    return "-h" in argv or "--help" in argv


def one_line(box: str) -> str:
    """Return tyro's complaint, boxed or, where the terminal has no such signs, ruled, as one line in our words.

    Without help text; with the first option that tyro suggests for each unknown one.
    """
    lines = _inside(box)
    words = [line.strip() for line in lines]
    if words and words[0].startswith(_MISSING):
        return _missing(lines[1:])
    complaint = " ".join(itertools.takewhile(lambda line: not line.startswith(_ASIDES), words))
    for pattern, reworded in _REWORDED.items():
        complaint = re.sub(f"^{pattern}$", reworded, complaint)
    near = [after.split()[0].rstrip(",") for word, after in itertools.pairwise(words) if word.startswith(_SUGGESTIONS)]
    return f"{complaint} Did you mean {' and '.join(near)}?" if near else complaint


def _missing(lines: Sequence[str]) -> str:
    """Return what is said of missing options, whose lines these are, and of unknown ones below them."""
    told = list(itertools.takewhile(lambda line: not line.startswith(_ASIDES), lines))
    names, unknown = [], []
    found = names
    for line in told:
        if line.startswith(_UNKNOWN):
            found = unknown
        elif re.match(r" {4}\S", line):
            found.append(line.split()[0])
    missing = f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} missing; there is no default."
    if not unknown:
        return missing
    return f"{missing} Unknown option: {' '.join(unknown)}.{did_you_mean(unknown[0], names)}".replace("'", "")


def _inside(box: str) -> list[str]:
    """Return the lines in a frame of tyro's, indented as they are there."""
    lines = box.splitlines()
    framed = [line[2:].rstrip("│ ") for line in lines if line.startswith("│")]
    return [line for line in framed or [line[2:].rstrip() for line in lines[2:]] if line.strip(" ─-")]


@contextlib.contextmanager
def _columns(argv: Sequence[str]) -> Iterator[None]:
    """Let tyro format help for the terminal, and a complaint without breaking a line."""
    before = os.environ.get("COLUMNS")
    if not asks_help(argv):
        os.environ["COLUMNS"] = _ONE_LINE_COLUMNS
    elif before is None:
        os.environ["COLUMNS"] = _HELP_COLUMNS
    try:
        yield
    finally:
        if before is None:
            os.environ.pop("COLUMNS", None)
        else:
            os.environ["COLUMNS"] = before
