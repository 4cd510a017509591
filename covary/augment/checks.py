"""Checks of numbers that a user sets; the messages name the field and what it may be."""

import math

from covary.errors import InputError


def check_number(name: str, value: float, low: float, high: float) -> None:
    """Raise unless ``low <= value <= high`` and the value is finite."""
    if not (low <= value <= high and math.isfinite(value)):
        bounds = f"a number from {low} to {high}" if math.isfinite(high) else f"a number of at least {low}"
        raise InputError(f"{name} is {value}; expected {bounds}.")


def check_range(name: str, pair: tuple[float, float], high: float) -> None:
    """Raise unless ``0 < pair[0] <= pair[1] <= high`` and both are finite."""
    if not (len(pair) == 2 and 0 < pair[0] <= pair[1] <= high and math.isfinite(pair[1])):
        limit = f", at most {high}" if math.isfinite(high) else ""
        raise InputError(f"{name} is {pair}; expected two numbers above 0{limit}, the smaller first.")
