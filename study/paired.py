"""Numbers of a study: metrics of rows over seeds, and differences of two rows seed by seed."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

T975: Mapping[int, float] = MappingProxyType({2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571})
"""Quantile .975 of Student's t by number of values, n - 1 degrees of freedom."""

Kept = Mapping[str, Any]
Metric = Callable[[Kept], float | None]


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table. metric: of what is kept of a run. low: less is better. percent: of a share."""

    name: str
    metric: Metric
    low: bool = False
    percent: bool = True
    paper: tuple[str, str] | None = None


def of(task: str, data: str, name: str) -> Metric:
    """Return a metric of a task on a set; None where a run lacks it."""

    def metric(kept: Kept) -> float | None:
        found = (each for each in kept["results"] if (each["task"], each["data"]) == (task, data))
        return next((each["metrics"].get(name) for each in found), None)

    return metric


def mean_of(metrics: Sequence[Metric]) -> Metric:
    """Return the mean of metrics; None where a run lacks one of them."""

    def metric(kept: Kept) -> float | None:
        values = [each(kept) for each in metrics]
        return None if None in values else statistics.fmean(value for value in values if value is not None)

    return metric


def values_of(kept: Sequence[Kept], row: str, metric: Metric) -> dict[int, float]:
    """Return a metric of a row by seed."""
    found = {each["seed"]: metric(each) for each in kept if each["row"] == row}
    return {seed: value for seed, value in found.items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A row's metric minus another's, seed by seed.

    mean: of the differences. deviation: the sample's; nan of one. reach: half of the 95 % interval of the mean by
    Student's t; infinite of one seed. seeds: how many.
    """

    mean: float
    deviation: float
    reach: float
    seeds: int

    @property
    def sign(self) -> int:
        """1 or -1 where the interval lies on one side of 0, else 0: not told apart from no difference."""
        return 0 if abs(self.mean) <= self.reach else int(math.copysign(1, self.mean))


def difference(kept: Sequence[Kept], row: str, other: str, metric: Metric) -> Difference | None:
    """Return the paired difference of two rows over the seeds that both have; None where there are none."""
    mine, others = values_of(kept, row, metric), values_of(kept, other, metric)
    pairs = [mine[seed] - others[seed] for seed in sorted(mine.keys() & others.keys())]
    if not pairs:
        return None
    if len(pairs) == 1:
        return Difference(mean=pairs[0], deviation=math.nan, reach=math.inf, seeds=1)
    deviation = statistics.stdev(pairs)
    reach = T975[len(pairs)] * deviation / math.sqrt(len(pairs))
    return Difference(mean=statistics.fmean(pairs), deviation=deviation, reach=reach, seeds=len(pairs))
