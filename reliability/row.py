"""A promise, the check that counts how often it held, and the mutants that show that the check can fail."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

Tier = Literal["ci", "release"]
Mutant = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """What a check saw.

    held:     trials in which the promise held.
    fired:    trials in which the fault was seen to have happened: a fault that never came proves nothing.
    trials:   trials made.
    figures:  other numbers worth publishing, by name with its unit.
    failures: a line for each trial that failed; the first few are shown.
    """

    held: int
    fired: int
    trials: int
    figures: Mapping[str, float | int | str] = field(default_factory=dict)
    failures: tuple[str, ...] = ()

    @property
    def met(self) -> bool:
        """Whether the promise held in every trial, and the fault came in every one."""
        return self.held == self.fired == self.trials > 0


@dataclass(frozen=True, kw_only=True)
class Row:
    """One promise.

    id:             its number, such as A1: the letter is the part, A crashes, B input, C training, D security.
    promise:        what must hold, one sentence for a user.
    trials:         how many trials each tier asks for.
    check:          (trials, seed, empty folder, where it is started) -> what was seen; in a process of its own.
    mutants:        ways to break covary, by name: a context in which the check must see a failure.
    mutant_trials:  trials that are given to a mutant to be caught in.
    """

    id: str
    promise: str
    trials: Mapping[Tier, int]
    check: Callable[[int, int, Path], Figure]
    mutants: Mapping[str, Mutant]
    mutant_trials: int


class Count:
    """Counts the trials of a check as they come."""

    def __init__(self) -> None:
        self.held = self.fired = self.trials = 0
        self.failures: list[str] = []

    def add(self, name: str, *, held: bool, fired: bool = True, seen: object = "") -> None:
        """Count a trial; where something is amiss, ``name`` and what was ``seen`` make its line."""
        self.trials += 1
        self.held += held
        self.fired += fired
        if not (held and fired):
            words = "did not hold" if fired else "the fault did not happen"
            self.failures.append(f"{name}: {words} {' '.join(str(seen).split())[:300]}".rstrip())

    def figure(self, **figures: Any) -> Figure:
        """Return what was counted, with other numbers by name."""
        return Figure(
            held=self.held, fired=self.fired, trials=self.trials, figures=figures, failures=tuple(self.failures)
        )


def replaced(place: str, by: object) -> Mutant:
    """Return the mutant in which the attribute at a dotted place is another."""

    @contextmanager
    def mutant() -> Iterator[None]:
        with patch(place, by):
            yield

    return mutant
