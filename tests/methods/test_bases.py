"""Bases alone against twins written from their equations, and their heads as the papers have them."""

from typing import Any

import pytest
import torch
from tiny import RECIPE, small, tiny_method, tiny_views
from torch import nn
from twins import check_twin, features, naive_terms, unsettle_teachers, widths

from covary.methods import BASES

ALONE: dict[str, Any] = {
    "simclr": {"temperature": 0.5},
    "byol": {},
    "byol with its projector's teacher": {"teacher": "projector"},
    "simsiam": {},
    "barlow-twins": {"off_diagonal": 0.3},
    "barlow-twins with a scale": {"off_diagonal": 0.3, "scale": 3.0},
    "moco": {"temperature": 0.4},
    "moco with its projector's teacher": {"temperature": 0.4, "teacher": "projector"},
    "vicreg": {"invariance": 3.0, "variance": 2.0, "covariance": 0.5},
}


@pytest.mark.parametrize("name", ALONE)
def test_equals_the_equations(name: str) -> None:
    base: Any = small(BASES[name.split(" ")[0]], **ALONE[name])
    method = tiny_method(base)
    unsettle_teachers(method)
    views = tiny_views(7)

    def sides(networks: Any) -> Any:
        y1, y2 = features(networks, views)
        return {"inv": ([y1], [y2])}

    check_twin(method, views, naive_terms(method, {"inv": base}, sides), {"inv": 1.0})


def test_the_teacher_s_encoder_is_another_than_its_projector_s() -> None:
    """What the twins rest on: teachers that were moved away, of the encoder or of the projector alone."""
    losses = set()
    for teacher in ("encoder", "projector"):
        method = tiny_method(small(BASES["byol"], teacher=teacher))
        losses.add(method(tiny_views(6))["loss"].item())
        unsettle_teachers(method)
        losses.add(method(tiny_views(6))["loss"].item())
    assert len(losses) == 3  # before, both teachers are the students


@pytest.mark.parametrize(
    ("name", "features", "projector", "predictor"),
    [
        ("simclr", 512, [512, 512, 512, 128], None),
        ("simclr", 2048, [2048, 2048, 2048, 128], None),
        ("byol", 512, [512, 4096, 256], [256, 4096, 256]),
        ("simsiam", 512, [512, 2048, 2048], [2048, 512, 2048]),
        ("barlow-twins", 512, [512, 512, 2048], None),
        ("moco", 2048, [2048, 4096, 256], [256, 4096, 256]),
        ("vicreg", 2048, [2048, 2048, 2048, 2048], None),
    ],
)
def test_widths(name: str, features: int, projector: list[int], predictor: list[int] | None) -> None:
    with torch.device("meta"):
        method: Any = BASES[name]().build(nn.Identity(), features, RECIPE)
    head = method.heads["inv"]
    assert widths(head.projector) == projector
    assert (widths(head.predictor) if "predictor" in dict(head.named_children()) else None) == predictor
    last = list(head.projector.modules())[-1]
    assert isinstance(last, nn.BatchNorm1d if name == "moco" else nn.Linear)
    assert all(layer.bias is None for layer in head.modules() if isinstance(layer, nn.Linear))
