"""Texts for others' eyes without the user's paths: what lies before the last name of an absolute path becomes ``…``."""

import re
from collections.abc import Sequence
from typing import Any

_WHOLE = re.compile(r"(?P<scheme>(?:[A-Za-z][\w+.-]*:)*)~?/", flags=re.ASCII)
_INSIDE = re.compile(r"(?<![\w.…])~?(?:/+[^\s/'\"<>|;,()]+){2,}/*", flags=re.ASCII)
_HOME = re.compile(r"/+(home|Users)/+[^/]+/*")  # whose last name is the user's


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
    return f"{scheme}…/{path.rstrip('/').rpartition('/')[2]}"
