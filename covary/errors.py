"""The exceptions whose message is one line for the user: what was wrong, and how to mend it."""

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """The user's input is wrong; the message is one line: what was wrong, what was expected, what to change.

    The command line prints the message without a traceback and exits with 2; the Python API raises it.

    first: among processes that train together, whether this one was the first to fail; None where they had not met.
    """

    first: bool | None = None


class MissingData(InputError):
    """A known set of images that is not on this machine; the message says where it is looked for."""


class TrainingError(RuntimeError):
    """Training cannot go on; the message is one line that says why and what to change.

    first: as in ``InputError``.
    """

    first: bool | None = None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``" Did you mean 'x'?"`` for the nearest of the known words, or ``""`` when none is near."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{near[0]}'?" if near else ""
