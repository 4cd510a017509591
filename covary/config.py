"""Frozen dataclasses to JSON values and back, exactly; an unknown key is an error with a suggestion."""

import dataclasses
import inspect
import types
import typing
from collections.abc import Iterator
from typing import Any, TypeVar

from covary.errors import InputError, did_you_mean

T = TypeVar("T")


def to_json(value: Any) -> Any:
    """Return the JSON form of a configuration value: dataclasses become objects, tuples become lists.

    A dataclass with a class attribute ``name``, one of several kinds of an abstract dataclass, is saved with it.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
        name = getattr(type(value), "name", None)
        return {"name": name, **fields} if isinstance(name, str) else fields
    if isinstance(value, tuple | list):
        return [to_json(item) for item in value]
    return value


def from_json(kind: type[T], value: Any, *, where: str = "run") -> T:
    """Rebuild a configuration value of type ``kind`` from its JSON form.

    Where an abstract dataclass is expected, the class is the one of its subclasses that has the saved name.
    where: dotted place of the value, for messages.
    Raises InputError: unknown or missing key, wrong type, or a value that ``kind`` itself refuses.
    """
    return _parse(kind, value, where)


def differences(old: Any, new: Any, *, where: str = "") -> list[str]:
    """Return one line ``place: old -> new`` for every leaf in which two JSON forms differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        absent = "absent"
        return [
            line
            for key in dict.fromkeys([*old, *new])
            for line in differences(
                old.get(key, absent), new.get(key, absent), where=f"{where}.{key}" if where else key
            )
        ]
    return [] if old == new else [f"{where}: {old} -> {new}"]


def _parse(kind: Any, value: Any, where: str) -> Any:
    origin = typing.get_origin(kind)
    if origin is typing.Literal:
        choices = typing.get_args(kind)
        if value in choices:
            return value
        raise InputError(f"{where} is {value!r}; expected one of {', '.join(map(repr, choices))}.")
    if origin in (types.UnionType, typing.Union):
        (only,) = (k for k in typing.get_args(kind) if k is not type(None))
        return None if value is None else _parse(only, value, where)
    if origin is tuple:
        return _parse_tuple(typing.get_args(kind), value, where)
    if inspect.isabstract(kind):
        kind = _concrete(kind, value, where)
    if dataclasses.is_dataclass(kind):
        return _parse_dataclass(kind, value, where)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if type(value) is kind:
        return value
    raise InputError(f"{where} is {value!r}; expected {getattr(kind, '__name__', kind)}.")


def _concrete(kind: Any, value: Any, where: str) -> Any:
    """Return the subclass whose name the value holds."""
    members = _named(kind)
    name = value.get("name") if isinstance(value, dict) else None
    if not isinstance(name, str) or name not in members:
        raise InputError(
            f"{where}.name is {name!r}; expected one of {', '.join(members)}.{did_you_mean(str(name), members)}"
        )
    return members[name]


def _named(kind: Any) -> dict[str, Any]:
    """Return the concrete subclasses of a class by their names, at any depth.

    Of two with one name it is the later, as when a cell of a notebook runs again, but never one from outside for
    one of the library's own.
    """
    members: dict[str, Any] = {}
    for member in sorted(_subclasses(kind), key=lambda member: _package(member) == _package(kind)):
        if not inspect.isabstract(member) and isinstance(name := getattr(member, "name", None), str):
            members[name] = member
    return members


def _subclasses(kind: Any) -> Iterator[Any]:
    for member in kind.__subclasses__():
        yield member
        yield from _subclasses(member)


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def _parse_tuple(kinds: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise InputError(f"{where} is {value!r}; expected a list.")
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise InputError(f"{where} has {len(value)} values; expected {len(kinds)}.")
    return tuple(_parse(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))


def _parse_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise InputError(f"{where} is {value!r}; expected an object with the fields of {kind.__name__}.")
    hints = typing.get_type_hints(kind)
    names = [f.name for f in dataclasses.fields(kind)]
    given = {k: v for k, v in value.items() if not (k == "name" and k not in names)}
    for key in given:
        if key not in names:
            raise InputError(f"{where}.{key} is not a known option.{did_you_mean(key, names)}")
    for key in names:
        if key not in given:
            raise InputError(f"{where}.{key} is missing; a saved configuration holds every field.")
    return kind(**{key: _parse(hints[key], given[key], f"{where}.{key}") for key in names})
