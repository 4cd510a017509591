"""E-SSL and AugSelf, which predict what was done, against twins written from their equations."""

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny import RECIPE, small, tiny_method, tiny_views
from torch import Tensor
from twins import Rows, check_twin, features, naive_mlp, naive_mse, naive_terms, paper_labels, unsettle_teachers

from covary.augment import TARGETS, Recipe, Rotation, Solarize, sample
from covary.methods import BASES
from covary.types import Views

BASE_OF = {"simclr": small(BASES["simclr"]), "byol": small(BASES["byol"]), "simsiam": small(BASES["simsiam"])}
ALL = replace(
    RECIPE,
    partners=False,
    targets=TARGETS["all"],
    quarter_turns=0.7,
    rotation=Rotation(degrees=20.0, p=0.7),
    solarize=Solarize(threshold=0.3, p=0.5),
)
TRUE_OR_FALSE = ("flip", "grayscale", "solarize")


def invariance(method: Any, views: Views) -> dict[str, Tensor]:
    def sides(networks: Any) -> Any:
        y1, y2 = features(networks, views)
        return {"inv": ([y1], [y2])}

    return naive_terms(method, {"inv": method.config.base}, sides)


@pytest.mark.parametrize("base", BASE_OF)
def test_essl_equals_the_equations(base: str) -> None:
    method: Any = tiny_method("e-ssl", base=BASE_OF[base], weight=0.7)
    unsettle_teachers(method)
    views = tiny_views(5)
    expected = invariance(method, views)
    assert views.turned is not None
    logits = naive_mlp(method.turn_head, list(method.encoder(torch.cat(list(views.turned)))))
    total = torch.zeros((), dtype=torch.float64)
    for k in range(4):
        for i in range(5):
            row = logits[5 * k + i].exp()
            total -= torch.log(row[k] / (row[0] + row[1] + row[2] + row[3]))
    check_twin(method, views, {**expected, "turn": total / 20}, {"inv": 1.0, "turn": 0.7})


def all_labels(params: Tensor, source: int, target: int) -> dict[str, Rows]:
    """The relative label of each operation from one view to another, by the places of the columns."""
    labels: dict[str, Rows] = {}
    paper = paper_labels(params, source, target)
    for p, q, crop_and_jitter in zip(params[source].tolist(), params[target].tolist(), paper, strict=True):
        turn = (q[5] - p[5]) * math.pi / 2
        numbers = {
            "crop": crop_and_jitter[:4],
            "flip": [float(p[4] != q[4])],
            "quarter_turn": [math.cos(turn), math.sin(turn)],
            "rotation": [(q[6] - p[6]) / 40],
            "jitter": crop_and_jitter[4:],
            "grayscale": [float(p[12] != q[12])],
            "blur": [(q[13] - p[13]) / 2],
            "solarize": [float((p[14] < 1) != (q[14] < 1))],
        }
        for name, label in numbers.items():
            labels.setdefault(name, []).append(torch.as_tensor(label, dtype=torch.float64))
    return labels


def naive_prediction(method: Any, name: str, pairs: Rows, labels: Rows) -> Tensor:
    predicted = naive_mlp(method.predictors[name], pairs)
    if name not in TRUE_OR_FALSE:
        return naive_mse([row.tanh() for row in predicted], labels)
    total = torch.zeros((), dtype=torch.float64)
    for (logit,), (label,) in zip(predicted, labels, strict=True):
        yes = 1 / (1 + (-logit).exp())
        total -= torch.log(yes) if label == 1 else torch.log(1 - yes)
    return total / len(labels)


def augself_views(recipe: Recipe) -> Views:
    sizes = torch.full((8, 2), 32)
    params = sample(recipe, seed=0, epoch=0, positions=torch.arange(8), sizes=sizes)
    return tiny_views(8, params=params.double())


@pytest.mark.parametrize("base", BASE_OF)
@pytest.mark.parametrize("recipe", [replace(RECIPE, partners=False), ALL], ids=["paper", "all"])
def test_augself_equals_the_equations(recipe: Recipe, base: str) -> None:
    method: Any = tiny_method("augself", base=BASE_OF[base], weight=0.3, recipe=recipe)
    unsettle_teachers(method)
    views = augself_views(recipe)
    expected = invariance(method, views)
    y1, y2 = features(dict(method.named_children()), views)
    forth, back = ([torch.cat(pair) for pair in zip(p, q, strict=True)] for p, q in ((y1, y2), (y2, y1)))
    there, again = all_labels(views.params, 0, 1), all_labels(views.params, 1, 0)
    names = ["crop", "jitter"] if recipe.targets == ("crop", "jitter") else list(there)
    for name in names:
        expected[name] = (
            naive_prediction(method, name, forth, there[name]) + naive_prediction(method, name, back, again[name])
        ) / 2
    check_twin(method, views, expected, {"inv": 1.0, **dict.fromkeys(names, 0.3)})


def test_the_twin_sees_every_label_vary() -> None:
    for name, rows in all_labels(augself_views(ALL).params, 0, 1).items():
        assert len({tuple(row.tolist()) for row in rows}) > 1, name
