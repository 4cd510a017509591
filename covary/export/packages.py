"""Packages that a format needs and the core install does not bring."""

import importlib.util

from covary.errors import InputError


def need(*packages: str, extra: str, format: str) -> None:
    """Raise InputError unless the packages are installed; extra: that of covary which brings them."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    if missing:
        raise InputError(
            f"Format '{format}' needs {' and '.join(missing)}; install with: pip install 'covary[{extra}]'."
        )
