"""covary beside others: the whole training step, and the augmentation alone."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from covary.augment import make_views
from covary.bench.finding import Finding, Goal, Line, line, rate, ratio
from covary.bench.loop import Loop
from covary.bench.rivals.chains import kornia_chain, missing, torchvision_chain
from covary.bench.rivals.loaders import Repeated, Transformed, loaded
from covary.bench.rivals.steps import decoded, kornia_step, lightly_step, torchvision_step
from covary.bench.settings import Case
from covary.bench.timing import Block, steps_of, take_turns

COVARY = "covary"
TORCHVISION = ("torchvision, tensors", "torchvision, PIL")
OPTIONAL = ("kornia", "lightly")
GOALS = {"torchvision": Goal(sense="at least", bound=3), "kornia": Goal(sense="at least", bound=2)}


def rivals(case: Case) -> Finding:
    """Measure SimCLR's whole step in turn with those of others, with the same encoder, head sizes and optimiser.

    torchvision and kornia make the views of covary's own step; lightly brings its projector and loss too.
    ``covary / X`` is the ratio of images a second; of torchvision's two forms, uint8 tensors and PIL images, the faster
    one's.
    """
    makers = {
        COVARY: lambda: steps_of(Loop(case), case.device),
        TORCHVISION[0]: lambda: torchvision_step(case, pil=False),
        TORCHVISION[1]: lambda: torchvision_step(case, pil=True),
        "kornia": lambda: kornia_step(case),
        "lightly": lambda: lightly_step(case),
    }
    notes = {name: why for name in OPTIONAL if (why := missing(name))}
    blocks = {name: make() for name, make in makers.items() if name not in notes}
    seconds = take_turns(blocks, case.effort)
    lines = (rate(name, case.setting.batch, each) for name, each in seconds.items())
    return Finding(lines=(*lines, *times_covary(seconds, {})), seconds=seconds, notes=tuple(notes.values()))


def augmentation(case: Case) -> Finding:
    """Measure one view of each image of a batch, the paper's augmentation, in turn with others.

    covary starts from uint8 images on the device and draws its numbers inside the time; kornia from images that are
    float already; torchvision from decoded images, in a DataLoader with workers. ``covary / X``: as above.
    """
    loop = Loop(case)
    recipe, batch = replace(loop.run.augment, views=1), loop.batch()
    blocks: dict[str, Block] = {COVARY: steps_of(lambda: make_views(batch, recipe, seed=0), case.device)}
    for name in TORCHVISION:
        blocks[name] = loaded(
            Transformed(decoded(case, pil=name == TORCHVISION[1]), Repeated(torchvision_chain(recipe), 1)),
            lambda views: None,
            batch_size=case.setting.batch,
            workers=case.workers,
            device=case.device,
        )
    absent = missing("kornia")
    if absent is None:
        chain, floats = kornia_chain(recipe).to(case.device), batch.images.float() / 255
        blocks["kornia"] = steps_of(lambda: chain(floats), case.device)
    seconds = take_turns(blocks, case.effort)
    lines = (
        line(name, "µs/image", [1e6 * each / case.setting.batch for each in found]) for name, found in seconds.items()
    )
    goals = GOALS if case.device.type == "cpu" else {}
    return Finding(
        lines=(*lines, *times_covary(seconds, goals)), seconds=seconds, notes=() if absent is None else (absent,)
    )


def times_covary(seconds: Mapping[str, Sequence[float]], goals: Mapping[str, Goal]) -> list[Line]:
    """Return how many times as fast covary is as each rival; of torchvision's forms, as the one of the least median."""
    fastest = min(TORCHVISION, key=lambda name: statistics.median(seconds[name]))
    theirs = {"torchvision": seconds[fastest], **{name: seconds[name] for name in OPTIONAL if name in seconds}}
    return [ratio(f"covary / {name}", each, seconds[COVARY], goals.get(name)) for name, each in theirs.items()]
