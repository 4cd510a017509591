"""Methods from a user's own file: ``--method FILE.py``."""

import importlib.util
import inspect
import sys
import traceback
from collections.abc import Container
from pathlib import Path

from covary.errors import InputError
from covary.methods.abstract import AbstractConfig


def load_method(file: str, *, taken: Container[str]) -> type[AbstractConfig]:
    """Run a Python file and return the method configuration that it defines.

    From then on the method is known by its name, in ``run.json`` too.
    taken: names that the file's method must not have.
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
    except Exception as error:
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
        place = f", line {error.lineno if isinstance(error, SyntaxError) else lines[-1] if lines else 1}"
        raise InputError(f"method file {file}{place}: {type(error).__name__}: {error}") from error
    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, AbstractConfig) and value.__module__ == name
    ]
    unfinished = [config for config in found if inspect.isabstract(config)]
    if unfinished:
        missing = ", ".join(sorted(unfinished[0].__abstractmethods__))
        raise InputError(f"method file {file}: {unfinished[0].__name__} does not implement {missing}.")
    if len(found) != 1:
        names = ", ".join(config.__name__ for config in found) or "none"
        raise InputError(f"method file {file} defines {names}; expected one subclass of covary.methods.AbstractConfig.")
    (config,) = found
    if not isinstance(getattr(config, "name", None), str) or config.name in taken:
        raise InputError(
            f"method file {file}: {config.__name__}.name is {getattr(config, 'name', None)!r}; "
            "expected a name of its own, such as name: ClassVar[str] = 'mine'."
        )
    return config
