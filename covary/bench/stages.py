"""What each stage of a training step takes."""

from collections.abc import Sequence

from covary.augment import apply, sample
from covary.bench.finding import Finding, Goal, milliseconds, ratio
from covary.bench.loop import Loop
from covary.bench.settings import Case
from covary.bench.timing import steps_of, take_turns
from covary.types import Views

SHARE = {"cpu": Goal(sense="at most", bound=0.15), "cuda": Goal(sense="at most", bound=0.10)}


def stages(case: Case) -> Finding:
    """Measure the stages of SimCLR's step, each alone and in turn: gather, numbers, views, forward, backward, update.

    Backward and update cannot be taken without what comes before them: each is the difference of two measurements of
    one round, forward and backward less forward, the step from the views on less forward and backward. ``data and
    augmentation / step`` is the share of the first three in the sum of all.
    """
    loop = Loop(case)
    run, step, batch = loop.run, loop.step, loop.batch()
    params = sample(
        run.augment, seed=run.seed, epoch=batch.epoch, positions=batch.positions, sizes=batch.sizes
    )
    views: Views = step.views(batch)

    def forward() -> None:
        with case.autocast():
            step.module(views)

    def backward() -> None:
        step.backward(views)
        loop.optimizer.zero_grad()

    jobs = {
        "gather": loop.batch,
        "numbers": lambda: sample(
            run.augment, seed=run.seed, epoch=batch.epoch, positions=batch.positions, sizes=batch.sizes
        ),
        "views": lambda: apply(batch.images, params, run.augment, sizes=batch.sizes),
        "forward": forward,
        "forward, backward": backward,
        "forward, backward, update": lambda: step.update(views, loop.index()),
    }
    seconds = take_turns({name: steps_of(job, case.device) for name, job in jobs.items()}, case.effort)
    data = _sums(seconds["gather"], seconds["numbers"], seconds["views"])
    whole = _sums(data, seconds["forward, backward, update"])
    return Finding(
        lines=(
            milliseconds("gather the images", seconds["gather"]),
            milliseconds("draw the numbers", seconds["numbers"]),
            milliseconds("make the views", seconds["views"]),
            milliseconds("forward", seconds["forward"]),
            milliseconds("backward", _differences(seconds["forward, backward"], seconds["forward"])),
            milliseconds(
                "update", _differences(seconds["forward, backward, update"], seconds["forward, backward"])
            ),
            ratio("data and augmentation / step", data, whole, SHARE[case.device.type]),
        ),
        seconds=seconds,
    )


def _sums(*terms: Sequence[float]) -> list[float]:
    return [sum(each) for each in zip(*terms, strict=True)]


def _differences(above: Sequence[float], below: Sequence[float]) -> list[float]:
    return [a - b for a, b in zip(above, below, strict=True)]
