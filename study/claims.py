"""The paper's headline claims, each held against a study: a metric of one row minus that of another, over seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from study.paired import Column, Difference, Kept, difference


@dataclass(frozen=True, kw_only=True)
class Claim:
    """What the paper says, as a difference. row, other: the two rows. column: by which metric.

    close: the claim is not that the row is better but that it is no worse than this.
    """

    words: str
    row: str
    other: str
    column: Column
    close: float | None = None


def sentence(claim: Claim, kept: Sequence[Kept]) -> str:
    """Return a line of the table of claims: what was found, and whether the claim holds here."""
    found = difference(kept, claim.row, claim.other, claim.column.metric)
    compared = f"{claim.row} − {claim.other}, {claim.column.name}"
    if found is None:
        return f"| {claim.words} | {compared} | | not measured |"
    return f"| {claim.words} | {compared} | {told(found, claim.column)} | {verdict(claim, found)} |"


def verdict(claim: Claim, found: Difference) -> str:
    """Return whether a claim holds: only where the 95 % interval of the difference says so."""
    better = -found.mean if claim.column.low else found.mean
    if found.seeds < 2:
        return "one seed says nothing about spread"
    if claim.close is not None:
        if better - found.reach > -claim.close:
            return "**holds**"
        return "does not hold" if better + found.reach < -claim.close else "undecided"
    if found.sign == 0:
        return f"undecided, {'as claimed' if better > 0 else 'against the claim'} in the mean"
    return "**holds**" if better > 0 else "**does not hold**: the reverse"


def told(found: Difference, column: Column) -> str:
    """Return a difference in words: mean, half of its 95 % interval, seeds."""
    scale = 100 if column.percent else 1
    digits = 1 if column.percent else 3
    mean = f"{scale * found.mean:+.{digits}f}{' points' if column.percent else ''}"
    if math.isinf(found.reach):
        return f"{mean}, one seed"
    return f"{mean} ± {scale * found.reach:.{digits}f}, {found.seeds} seeds"
