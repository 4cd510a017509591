"""What each stage of a training step takes."""

import statistics
from collections.abc import Iterator, Sequence

from covary.augment import apply, sample
from covary.bench.finding import Finding, Goal, milliseconds, ratio
from covary.bench.loop import Loop
from covary.bench.settings import Case
from covary.bench.timing import laps, warm_up
from covary.device import send
from covary.types import Views

STAGES = {
    "gather": "gather the images",
    "numbers": "draw the numbers",
    "views": "make the views",
    "forward": "forward",
    "backward": "backward",
    "update": "guard, optimiser, teacher",
}
DATA = ("gather", "numbers", "views")
SHARE = {"cpu": Goal(sense="at most", bound=0.15), "cuda": Goal(sense="at most", bound=0.10)}


def stages(case: Case) -> Finding:
    """Measure the stages of SimCLR's step, each until the device is done with it, all in the same steps.

    Stages that overlap in training are one after the other here. ``data and augmentation / step`` is the share of the
    first three in the sum of all.
    """
    loop = Loop(case)

    def block(count: int) -> dict[str, float]:
        steps = [laps(_stages(loop, case), case.device) for _ in range(count)]
        return {name: statistics.fmean(step[name] for step in steps) for name in STAGES}

    count = warm_up(lambda count: sum(block(count).values()), case.effort.block_seconds)
    rounds = [block(count) for _ in range(case.effort.repeats)]
    seconds = {name: tuple(each[name] for each in rounds) for name in STAGES}
    data, step = _sums(rounds, DATA), _sums(rounds, tuple(STAGES))
    return Finding(
        lines=(
            *(milliseconds(said, seconds[name]) for name, said in STAGES.items()),
            milliseconds("all stages", step),
            ratio("data and augmentation / step", data, step, SHARE[case.device.type]),
        ),
        seconds=seconds,
    )


def _stages(loop: Loop, case: Case) -> Iterator[str]:
    """Take the loop's next step, and yield the name of each stage after it."""
    step, recipe = loop.step, loop.run.augment
    batch = loop.batch()
    yield "gather"
    params = sample(recipe, seed=loop.run.seed, epoch=batch.epoch, positions=batch.positions, sizes=batch.sizes)
    yield "numbers"
    images = apply(batch.images, params, recipe, sizes=batch.sizes)
    yield "views"
    with case.autocast():
        loss = step.module(Views(images=images, params=send(params, case.device), partners=recipe.partners))["loss"]
    yield "forward"
    loss.backward()
    yield "backward"
    step.change(loss.detach(), loop.index())
    yield "update"


def _sums(rounds: Sequence[dict[str, float]], names: Sequence[str]) -> list[float]:
    return [sum(each[name] for name in names) for each in rounds]
