"""Methods from a user's own file: ``--method FILE.py``."""

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import get_args

from covary.errors import InputError
from covary.methods.abstract import AbstractConfig, Need


def load_method(file: str, *, known: Mapping[str, type[AbstractConfig]]) -> type[AbstractConfig]:
    """Run a Python file and return the method configuration that it defines.

    From then on the method is known by its name, in ``run.json`` too.
    known: methods whose names the file's must not have.
    Raises InputError: the file is missing, fails, or defines no method or several.
    """
    path = Path(file).expanduser().resolve()
    if not path.is_file():
        raise InputError(f"method '{file}' is no file; give a Python file, or the name of a method.")
    name = f"covary_method_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"method file {file} cannot be imported; give a Python file that ends in .py.")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"method file {file}, line {_line_of(error, path)}: {said}") from error
    found = [
        value
        for value in dict.fromkeys(filter(inspect.isclass, vars(module).values()))
        if issubclass(value, AbstractConfig) and value.__module__ == name
    ]
    unfinished = [config for config in found if inspect.isabstract(config)]
    if unfinished:
        missing = ", ".join(sorted(unfinished[0].__abstractmethods__))
        raise InputError(f"method file {file}: {unfinished[0].__name__} does not implement {missing}.")
    if len(found) != 1:
        names = ", ".join(config.__name__ for config in found) or "none"
        raise InputError(f"method file {file} defines {names}; expected one subclass of covary.methods.AbstractConfig.")
    (config,) = found
    where = f"method file {file}: "
    check_name(config, known=known, where=where)
    _check_fields(config, where=where)
    return config


def check_name(config: type[AbstractConfig], *, known: Mapping[str, type[AbstractConfig]], where: str = "") -> None:
    """Raise ``InputError`` unless a configuration has a name, by which none of ``known`` goes but itself."""
    name = getattr(config, "name", None)
    if not isinstance(name, str) or known.get(name, config) is not config:
        raise InputError(
            f"{where}{config.__name__}.name is {name!r}; expected a name of its own, such as "
            "name: ClassVar[str] = 'mine'."
        )


def _check_fields(config: type[AbstractConfig], *, where: str) -> None:
    """Raise ``InputError`` unless a configuration is a frozen dataclass with defaults whose needs are known."""
    if "__dataclass_params__" not in vars(config):
        raise InputError(
            f"{where}{config.__name__} is no dataclass; write @dataclass(frozen=True, kw_only=True) above it."
        )
    for field in fields(config):
        if field.default is MISSING and field.default_factory is MISSING:
            raise InputError(f"{where}{config.__name__}.{field.name} has no default; give it one.")
    known = get_args(Need)
    if not isinstance(config.needs, frozenset) or not config.needs <= set(known):
        raise InputError(
            f"{where}{config.__name__}.needs is {config.needs!r}; expected a frozenset of {', '.join(known)}."
        )


def _line_of(error: BaseException, path: Path) -> int:
    """Return the last line of the file that the error went through, or at which it cannot be read."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return (lines[-1] if lines else getattr(error, "lineno", None)) or 1
