"""tyro at the edge: options to frozen dataclasses, complaints to one line."""

import contextlib
import io
import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import tyro

from covary.errors import InputError

T = TypeVar("T")

_SUGGESTION = "Perhaps you meant:"
_ASIDES = (_SUGGESTION, "For full helptext", "Argument helptext")


def parse(kind: type[T], argv: Sequence[str], *, prog: str, description: str, default: Any = None) -> T:
    """Parse options into ``kind``; a union takes the member that ``default`` holds.

    Raises InputError with tyro's complaint as one line. SystemExit: help was asked for.
    """
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint), _wide():
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
    """Return the value given to an option, the last one where it is repeated."""
    value = None
    for index, word in enumerate(argv):
        if word == option and index + 1 < len(argv):
            value = argv[index + 1]
        elif word.startswith(option + "="):
            value = word[len(option) + 1 :]
    return value


def one_line(box: str) -> str:
    """Return tyro's boxed complaint without frame and help text, with the first option that it suggests."""
    lines = [line.strip("│ ") for line in box.splitlines() if not line.startswith(("╭", "╰"))]
    lines = [line for line in lines if line.strip("─")]
    complaint = list(itertools.takewhile(lambda line: not line.startswith(_ASIDES), lines))
    if _SUGGESTION in lines[:-1]:
        option = lines[lines.index(_SUGGESTION) + 1].split()[0]
        complaint.append(f"Did you mean {option}?")
    return " ".join(complaint)


@contextlib.contextmanager
def _wide() -> Iterator[None]:
    """Let tyro format for the terminal's width, at least 80 columns, also where there is no terminal."""
    before = os.environ.get("COLUMNS")
    if before is None:
        os.environ["COLUMNS"] = "110"
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
