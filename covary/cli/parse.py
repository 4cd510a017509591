"""tyro at the edge: options to frozen dataclasses, complaints to one line."""

import contextlib
import io
import os
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import tyro

from covary.errors import InputError

T = TypeVar("T")


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
    """Return the words of tyro's boxed complaint without frame and help text."""
    words: list[str] = []
    for line in box.splitlines():
        text = line.strip("│ ")
        if line.startswith(("╭", "╰")) or not text.strip("─"):
            continue
        if text.startswith(("For full helptext", "Argument helptext")):
            break
        words.append(text)
    return " ".join(words)


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
