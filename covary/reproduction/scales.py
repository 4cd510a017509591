"""The scales at which a table can be reproduced: from minutes on the embedded images to the paper's full setting."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from covary.evaluation import Options
from covary.evaluation.equivariance import EquivarianceOptions
from covary.evaluation.prediction import PredictionOptions
from covary.reproduction.paper import SETS


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What a table is reproduced with.

    settings:   the setting of ``covary.recipes`` that stands for each of the paper's.
    out_domain: the SPECs that stand for the paper's eleven sets.
    seeds:      at most so many, where the paper has several.
    detection:  the SPEC of images with boxes; None where the user must name one.
    steps, warmup: of the steps that table 1 times.
    options:    of the tasks.
    """

    settings: Mapping[str, str]
    out_domain: tuple[str, ...]
    seeds: int
    detection: str | None
    steps: int
    warmup: int
    options: Options = Options()


PAPER_STEPS = 1000
"""Steps that the paper's table 1 times, after as many to warm up."""

SCALES: Mapping[str, Scale] = MappingProxyType(
    {
        "demo": Scale(
            settings={"stl10": "demo", "imagenet100": "demo"},
            # the embedded images sorted by what they were rendered from
            out_domain=tuple(f"shapes:label={factor}" for factor in ("hue", "contrast", "position", "scale")),
            seeds=1,
            detection=None,
            steps=10,
            warmup=2,
        ),
        "small": Scale(
            settings={"stl10": "small", "imagenet100": "small"},
            out_domain=("cifar100", "flowers102", "dtd", "oxford-pets"),
            seeds=3,
            detection=None,
            steps=10,
            warmup=2,
        ),
        "paper": Scale(
            settings={"stl10": "stl10", "imagenet100": "imagenet100"},
            out_domain=SETS,
            seeds=3,
            detection="voc07+12",
            steps=PAPER_STEPS,
            warmup=PAPER_STEPS,
            options=Options(
                prediction=PredictionOptions(train_images=0, images=0),
                equivariance=EquivarianceOptions(images=0, train_images=0),
            ),
        ),
    }
)
