"""The schedules of a detection training, and the options that choose and change one."""

from dataclasses import dataclass, fields, replace
from typing import Literal, get_args

from covary.errors import InputError, did_you_mean

Named = Literal["auto", "voc07+12", "small"]


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Every number of a detection training beside network, images and seed; the defaults are those of VOC07+12.

    The protocol of Barlow Twins (arXiv 2103.03230), which STL (arXiv 2501.08712, appendices B and C) follows: 24,000
    iterations, batches of 16, lr 0.1, divided by 10 at 18,000 and 22,000, linear warm-up over 1,000 from a factor of
    0.333. INFERRED from the files of MoCo (arXiv 1911.05722) for detectron2, for the papers are silent: everything
    else.
    """

    iterations: int = 24_000
    """Steps of the optimiser."""
    batch_size: int = 16
    """Images of an iteration over all processes."""
    lr: float = 0.1
    """Learning rate after the warm-up."""
    drops: tuple[float, ...] = (18 / 24, 22 / 24)
    """Shares of the iterations after which the learning rate is divided by 10."""
    warmup: float = 1 / 24
    """Share of the iterations over which the learning rate rises linearly."""
    warmup_factor: float = 0.333
    """Where the warm-up begins, as a share of the learning rate."""
    momentum: float = 0.9
    """Momentum of SGD."""
    weight_decay: float = 1e-4
    """Weight decay of all parameters but those of BatchNorm."""
    sizes: tuple[int, ...] = tuple(range(480, 801, 32))
    """Lengths of the shorter side in pixels; one is drawn for each training image."""
    test_size: int = 800
    """Length of the shorter side of a test image in pixels."""
    max_size: int = 1333
    """Largest length of the longer side in pixels; the shorter one follows."""
    anchors: tuple[int, ...] = (32, 64, 128, 256, 512)
    """Square roots of the areas of the anchors in pixels; each in the aspect ratios 1:2, 1:1 and 2:1."""
    train_proposals: tuple[int, int] = (12_000, 2_000)
    """Proposals of a training image before and after non-maximum suppression."""
    test_proposals: tuple[int, int] = (6_000, 1_000)
    """Proposals of a test image before and after non-maximum suppression."""
    anchor_samples: int = 256
    """Anchors of an image that the proposal network learns from."""
    box_samples: int = 512
    """Proposals of an image that the box head learns from, a quarter of them objects."""
    precise_bn: int = 200
    """Training batches whose mean statistics BatchNorm takes before the test; 0 keeps the running ones."""

    def __post_init__(self) -> None:
        """Raise InputError for values that no detector can be trained with."""
        for name, low in {"iterations": 1, "batch_size": 1, "precise_bn": 0, "test_size": 64}.items():
            if getattr(self, name) < low:
                raise InputError(f"detection {name} is {getattr(self, name)}; expected {low} or more.")
        if not 0 < self.lr < float("inf"):
            raise InputError(f"detection lr is {self.lr:g}; expected a positive number.")
        if not self.sizes or min(self.sizes) < 64:
            raise InputError(f"detection sizes is {self.sizes}; expected one or more lengths of 64 pixels or more.")
        if not self.anchors or min(self.anchors) < 1:
            raise InputError(f"detection anchors is {self.anchors}; expected one or more lengths in pixels.")
        for name, side in {"test_size": self.test_size, "sizes": max(self.sizes)}.items():
            if side > self.max_size:
                raise InputError(
                    f"detection {name} asks for a shorter side of {side} pixels, but max_size, the limit of the longer "
                    f"side, is {self.max_size}; lower --detection.{name.replace('_', '-')} or raise "
                    "--detection.max-size."
                )

    def learning_rate(self, iteration: int) -> float:
        """Return the learning rate of an iteration, the first being 0.

        With w = round(warmup * iterations): ``lr * (f + (1 - f) * iteration / w)`` for iteration < w, f the warm-up
        factor; times 0.1 for every drop at or before the iteration, at ``round(share * iterations)``.
        """
        warmup = round(self.warmup * self.iterations)
        done = min(1.0, iteration / warmup) if warmup else 1.0
        drops = sum(iteration >= round(share * self.iterations) for share in self.drops)
        return self.lr * (self.warmup_factor + (1 - self.warmup_factor) * done) * 0.1**drops


VOC0712 = Schedule()
SMALL = Schedule(
    iterations=600,
    batch_size=4,
    lr=0.1,
    warmup=0.1,
    sizes=(144, 160, 176),
    test_size=160,
    max_size=320,
    anchors=(12, 24, 48),
    train_proposals=(1_000, 300),
    test_proposals=(1_000, 300),
    anchor_samples=128,
    box_samples=64,
    precise_bn=0,
)
SCHEDULES: dict[str, Schedule] = {"voc07+12": VOC0712, "small": SMALL}


@dataclass(frozen=True, kw_only=True)
class DetectionOptions:
    """Which schedule a detector is trained by, and what to change of it; None leaves it."""

    schedule: Named = "auto"
    """``voc07+12``: the published one, for ResNet-50. ``small``: minutes on one CPU thread. ``auto``: ``voc07+12`` for
    the images of that name, else ``small``."""
    iterations: int | None = None
    """Steps of the optimiser; warm-up and drops of the learning rate keep their shares."""
    batch_size: int | None = None
    """Images of an iteration over all processes; the learning rate stays."""
    lr: float | None = None
    """Learning rate after the warm-up."""
    sizes: tuple[int, ...] | None = None
    """Lengths of the shorter side of training images in pixels."""
    test_size: int | None = None
    """Length of the shorter side of test images in pixels."""
    max_size: int | None = None
    """Largest length of the longer side of all images in pixels; the shorter one follows."""
    anchors: tuple[int, ...] | None = None
    """Square roots of the areas of the anchors in pixels."""
    precise_bn: int | None = None
    """Training batches whose mean statistics BatchNorm takes before the test; 0 keeps the running ones."""

    def __post_init__(self) -> None:
        """Raise InputError for an unknown schedule and for values that no schedule it may mean can take."""
        if self.schedule not in get_args(Named):
            raise InputError(
                f"detection schedule is '{self.schedule}'; expected {', '.join(get_args(Named))}."
                f"{did_you_mean(self.schedule, get_args(Named))}"
            )
        refusals = [refusal for data in SCHEDULES if (refusal := self._refusal(data))]
        if len(refusals) == len(SCHEDULES):
            raise refusals[-1]

    def resolved(self, data: str) -> Schedule:
        """Return the schedule for the images of a SPEC.

        Raises InputError: ``auto`` chose a schedule that cannot take the changes.
        """
        automatic = data if data in SCHEDULES else "small"
        chosen = SCHEDULES[automatic if self.schedule == "auto" else self.schedule]
        changes = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "schedule"}
        return replace(chosen, **{name: value for name, value in changes.items() if value is not None})

    def _refusal(self, data: str) -> InputError | None:
        try:
            self.resolved(data)
        except InputError as refusal:
            return refusal
        return None
