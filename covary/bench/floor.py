"""How near a whole training step comes to the floor: the encoder's forward and backward on views that lie ready."""

from collections.abc import Callable

import torch

from covary.bench.finding import Finding, Goal, milliseconds, rate, ratio
from covary.bench.loop import Loop
from covary.bench.settings import Case
from covary.bench.timing import steps_of, take_turns

NEAR = Goal(sense="at least", bound=0.85)


def floor(case: Case) -> Finding:
    """Measure the floor in turn with SimCLR's step, from the batch in memory to changed weights.

    ``step / floor`` is the ratio of their images a second.
    """
    jobs = {"floor": encoder_alone(case), "step": Loop(case)}
    seconds = take_turns({name: steps_of(job, case.device) for name, job in jobs.items()}, case.effort)
    batch = case.setting.batch
    return Finding(
        lines=(
            milliseconds("encoder forward and backward", seconds["floor"]),
            milliseconds("whole step", seconds["step"]),
            rate("encoder forward and backward", batch, seconds["floor"]),
            rate("whole step", batch, seconds["step"]),
            ratio("step / floor", seconds["floor"], seconds["step"], NEAR),
        ),
        seconds=seconds,
    )


def encoder_alone(case: Case) -> Callable[[], None]:
    """Return the floor: forward of both views of a batch and backward of the sum of their features.

    The encoder is in training mode, the views are channels-last; precision and compilation are the run's.
    """
    encoder, _ = case.encoder()
    case.compiled(encoder.train())
    size = case.setting.size
    views = [
        torch.randn(case.setting.batch, 3, size, size).to(case.device).to(memory_format=torch.channels_last)
        for _ in range(2)
    ]

    def job() -> None:
        with case.autocast():
            features = torch.stack([encoder(view) for view in views])
        features.sum().backward()
        encoder.zero_grad()

    return job
