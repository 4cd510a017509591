"""The grammar of a SPEC: ``name``, ``name:option=value,option=value``, ``wds:PATTERN``, ``hf:NAME`` or a path."""

from collections.abc import Mapping

from covary.errors import InputError, did_you_mean


def parse(spec: str, *, allowed: tuple[str, ...]) -> tuple[str, Mapping[str, str]]:
    """Return name and options of a SPEC such as ``shapes:n=20000``; InputError for an option that is not allowed."""
    name, _, rest = spec.partition(":")
    found = {}
    for part in filter(None, rest.split(",")):
        key, equals, value = part.partition("=")
        if key not in allowed or not equals or not value:
            known = ", ".join(f"{option}=…" for option in allowed)
            raise InputError(
                f"'{part}' is not an option of the data '{spec}' (options: {known}).{did_you_mean(key, allowed)}"
            )
        found[key] = value
    return name, found


def positive(spec: str, key: str, value: str) -> int:
    """Return an option's value as a positive whole number."""
    if not value.isascii() or not value.isdigit() or int(value) < 1:
        raise InputError(f"'{key}={value}' in the data '{spec}' is not a whole number of at least 1.")
    return int(value)
