"""Texts for others' eyes without the user's paths: what lies before the last name of an absolute path becomes ``…``.

An absolute path begins with ``/``, ``~/``, ``~jane/``, a drive (``C:\\``) or a server (``\\\\host\\``). The user's name
in it goes with the folders, with its spaces where it stands below ``home`` or ``Users`` and a folder follows it. No
other name is looked for.
"""

import os
import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

UNSEEN = ("Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp")  # Unicode's categories of what is not seen, or moves what is

_PART = r"[^\s/\\'\"<>|;,()]+"
_HOMES = r"[/\\]+(?:home|Users)[/\\]+"
_TILDE = r"~(?:[A-Za-z_][\w.-]*)?"
_WHOLE = re.compile(
    rf"(?P<scheme>(?:[A-Za-z][\w+.-]*:)*)(?:{_TILDE}(?=[/\\]|$)|(?=/|\\\\)|(?<=\b[A-Za-z]:)(?=\\))", flags=re.ASCII
)
_INSIDE = re.compile(
    r"(?<![\w.…~])(?:"
    rf"{_HOMES}{_PART}(?: {_PART}){{0,3}}(?=[/\\])(?:[/\\]+{_PART})*"  # the user's name may have spaces
    rf"|{_HOMES}{_PART}"
    rf"|~(?:[A-Za-z_][\w.-]*(?:[/\\]+{_PART})|(?:[/\\]+{_PART}){{2}})(?:[/\\]+{_PART})*"
    rf"|(?:/+[^\s/'\"<>|;,()]+){{2,}}"
    rf"|(?<=\b[A-Za-z]:)(?:\\+{_PART})+"
    rf"|\\\\{_PART}(?:\\+{_PART})+"
    r")[/\\]*",
    flags=re.ASCII,
)
_HOME = re.compile(rf"{_TILDE}[/\\]*|(?:[A-Za-z]:)?{_HOMES}[^/\\]+[/\\]*")  # whose last name is the user's


def run_names(places: Sequence[Path]) -> list[str]:
    """Return the folders' names; where two are alike, their paths below the folder that all have in common."""
    names = [place.name for place in places]
    if len(set(names)) == len(names):
        return names
    common = os.path.commonpath(places)
    return [str(place.relative_to(common)) for place in places]


def without_paths(value: Any, known: Sequence[str] = ()) -> Any:
    """Return a JSON value in whose strings, keys included, absolute paths are shortened.

    known: strings that may be paths with spaces, looked for inside others as they stand.
    """
    if isinstance(value, str):
        for text in sorted(filter(_WHOLE.match, known), key=len, reverse=True):
            value = value.replace(text, shortened(text))
        return shortened(value) if _WHOLE.match(value) else _INSIDE.sub(lambda found: shortened(found[0]), value)
    if isinstance(value, dict):
        return {without_paths(key, known): without_paths(item, known) for key, item in value.items()}
    if isinstance(value, list):
        return [without_paths(item, known) for item in value]
    return value


def shortened(path: str) -> str:
    """Return an absolute path, or a scheme and such a path, with its last name alone."""
    if _HOME.fullmatch(path):
        return "…"
    found = _WHOLE.match(path)
    scheme = found["scheme"] if found else ""
    last = re.split(r"[/\\]", path.rstrip("/\\"))[-1]
    return f"{scheme}…/{last}"


def visible(text: str) -> str:
    r"""Return a text with every character that is not seen, or turns text around, written out, such as ``\u202e``."""
    return "".join(
        character.encode("unicode_escape").decode() if unicodedata.category(character) in UNSEEN else character
        for character in text
    )
