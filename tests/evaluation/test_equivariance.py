"""Equivariance: known answers, a naive twin, and a leak that must show."""

import itertools
import math

import pytest
import torch
from torch import Tensor

from covary.augment import Labels, preset
from covary.errors import InputError
from covary.evaluation import equivariance as measured
from covary.evaluation.equivariance import EquivarianceOptions, equivariance, partner_of, relative_error
from covary.evaluation.movers import describe, held_out_rows, ridge_mover
from covary.evaluation.transformations import CONDITIONS, Transformed, draw, only, unchanged
from covary.methods import CodeMover, LabelMover

BASE = preset("paper", size=16, mean=(0.5,) * 3, std=(0.25,) * 3)
COLOR = only(BASE, CONDITIONS["color"], views=5)
LABELS = Labels(COLOR)


def same(rows: Tensor) -> Tensor:
    return rows


def given(encode, n: int = 6, recipe=COLOR) -> Transformed:
    """Images are random vectors; ``encode`` makes features of them and of the label of what was done."""
    content = torch.randn(n, 4, generator=torch.Generator().manual_seed(3))
    params, before = draw(recipe, n, seed=0, stream="t"), unchanged(recipe, n)
    labels = Labels(recipe)
    views = torch.stack([encode(content, labels.absolute(view)) for view in params])
    return Transformed(start=encode(content, labels.absolute(before)), views=views, before=before, params=params)


def exact(content: Tensor, label: Tensor) -> Tensor:
    """Features that hold what was done beside the content: adding a difference of labels moves them exactly."""
    return torch.cat([content, label], dim=1)


def shift(label: Tensor, features: Tensor) -> Tensor:
    return torch.cat([features[:, :4], features[:, 4:] + label], dim=1)


BY_LABEL = LabelMover(start=same, move=shift, embed=same, labels=LABELS)
BY_CODE = CodeMover(start=same, move=shift, embed=same, code=lambda before, after: (after - before)[:, 4:])


@pytest.mark.parametrize("mover", [BY_LABEL, BY_CODE], ids=["label", "code"])
@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_an_exactly_equivariant_encoder_scores_1(mover, distance: str) -> None:
    found = equivariance(mover, given(exact), COLOR, space="features", distance=distance)
    for name in ("mrr", "h@1", "h@5", "composition.mrr", "inverse.mrr"):
        assert found[name] == pytest.approx(1.0)
    for name in ("pre", "error", "composition.error", "composition.gap", "inverse.error"):
        assert found[name] == pytest.approx(0.0, abs=1e-6)
    assert found["still.error"] > 0.01


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_a_constant_encoder_scores_chance(distance: str) -> None:
    mover = LabelMover(start=same, move=lambda label, features: features, embed=same, labels=LABELS)
    found = equivariance(
        mover, given(lambda content, label: torch.ones(6, 3)), COLOR, space="features", distance=distance
    )
    for name in ("mrr", "h@1", "h@5", "pre"):
        assert found[name] == pytest.approx(found[f"chance.{name}"], rel=1e-6)
    assert found["inverse.mrr"] == pytest.approx(found["inverse.chance.mrr"])


def test_numbers_equal_a_loop() -> None:
    generator = torch.Generator().manual_seed(1)
    rows = given(lambda content, label: torch.cat([content.sin(), label * content, content[:, :1] * label], dim=1))
    code, move, embed = (torch.randn(*shape, generator=generator) for shape in ((24, 3), (3, 12, 12), (12, 7)))
    mover = CodeMover(
        start=same,
        move=lambda what, features: torch.einsum("nk,kij,nj->ni", what, move, features),
        embed=lambda features: torch.tanh(features @ embed),
        code=lambda before, after: torch.cat([before, after], dim=1) @ code,
    )
    found = equivariance(mover, rows, COLOR, space="embedding", distance="cosine")

    def phi(source: Tensor, target: Tensor, x: Tensor) -> Tensor:
        return sum(u * move[k] for k, u in enumerate(torch.cat([source, target]) @ code)) @ x

    def unit(x: Tensor) -> Tensor:
        z = torch.tanh(x @ embed).double()
        return z / math.sqrt(float(z @ z))

    sums: dict[str, list[float]] = {}
    n, count = 6, 5
    for i, k in itertools.product(range(n), range(count)):
        j, following = i ^ 1, (k + 1) % count
        x, views, others = rows.start[i], rows.views[:, i], rows.views[:, j]
        predicted = phi(rows.start[j], others[k], x)
        composed = phi(others[k], others[following], predicted)
        direct = phi(rows.start[j], others[following], x)
        returned = phi(others[k], rows.start[j], predicted)
        scores = [float(unit(predicted) @ unit(view)) for view in views]
        rank = 1 + sum(score > scores[k] for score in scores)
        first = scores.index(max(scores))
        gap = LABELS.absolute(rows.params[first, i]) - LABELS.absolute(rows.params[k, i])
        onward = [float(unit(composed) @ unit(view)) for view in views]
        back = [float(unit(returned) @ unit(view)) for view in [x, *views]]
        for name, value in {
            "mrr": 1 / rank,
            "h@1": rank <= 1,
            "h@5": rank <= 5,
            "pre": float(gap.double().square().mean()),
            "error": float((unit(predicted) - unit(views[k])).norm()),
            "composition.error": float((unit(composed) - unit(views[following])).norm()),
            "composition.gap": float((unit(composed) - unit(direct)).norm()),
            "composition.mrr": 1 / (1 + sum(score > onward[following] for score in onward)),
            "inverse.error": float((unit(returned) - unit(x)).norm()),
            "inverse.mrr": 1 / (1 + sum(score > back[0] for score in back)),
            "still.error": float((unit(x) - unit(views[k])).norm()),
        }.items():
            sums.setdefault(name, []).append(value)
    for name, values in sums.items():
        assert found[name] == pytest.approx(sum(values) / len(values), abs=1e-5), name


COPY = CodeMover(start=same, move=lambda code, features: code, embed=same, code=lambda before, after: after)


def test_a_planted_leak_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    """A code that copies the features it is read off finds nothing, unless it is read off the image itself."""
    rows = given(lambda content, label: torch.cat([100 * content, label * content], dim=1), n=40)
    honest = equivariance(COPY, rows, COLOR, space="features", distance="cosine")
    assert honest["mrr"] < 0.6
    monkeypatch.setattr(measured, "partner_of", torch.arange)
    leaking = equivariance(COPY, rows, COLOR, space="features", distance="cosine")
    assert leaking["mrr"] == 1.0


def test_partners_are_others_and_went_through_the_same() -> None:
    partner = partner_of(8)
    assert partner.tolist() == [1, 0, 3, 2, 5, 4, 7, 6]
    rows = given(exact)
    rows.params[0, 3] += 1
    with pytest.raises(ValueError, match="did not go through the same"):
        equivariance(BY_CODE, rows, COLOR, space="features", distance="cosine")


def test_a_ridge_map_finds_a_bilinear_action() -> None:
    """Features that a transformation moves linearly, the more the larger they are, are moved exactly."""

    def encode(content: Tensor, label: Tensor) -> Tensor:
        return torch.cat([content, content * label], dim=1)

    rows = given(encode, n=200)
    mover, penalty = ridge_mover(rows, COLOR, seed=0)
    assert penalty < 1e-2
    label = describe(mover, rows.start, rows.views[2], rows.before, rows.params[2])
    assert torch.allclose(label, LABELS.relative(rows.before, rows.params[2]))
    assert relative_error(mover.move(label, rows.start), rows.views[2], distance="euclidean") < 0.02
    assert equivariance(mover, rows, COLOR, space="features", distance="cosine")["mrr"] > 0.99


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"transformations": 1}, "transformations is 1; expected 2 or more"),
        ({"images": 1}, "images is 1; expected 2 or more, or 0 for all"),
        ({"space": "projector"}, "space is 'projector'; expected features or embedding"),
        ({"predictor": "mine"}, "predictor is 'mine'; expected auto or own or ridge"),
    ],
)
def test_wrong_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        EquivarianceOptions(**options)


def test_a_map_that_moves_nothing_is_told_by_its_error() -> None:
    still = LabelMover(start=same, move=lambda label, features: features, embed=same, labels=LABELS)
    found = equivariance(still, given(exact), COLOR, space="features", distance="euclidean")
    assert found["error"] == found["still.error"] > 0
    assert (found["composition.gap"], found["inverse.error"], found["inverse.mrr"]) == (0, 0, 1)
    assert found["mrr"] == pytest.approx(found["chance.mrr"])


def test_a_ridge_map_holds_out_whole_pairs_with_all_their_ways() -> None:
    rows = held_out_rows(20, 3, seed=0)
    images = {row % 20 for row in rows.tolist()}
    assert rows.tolist() == sorted({image + 20 * way for image in images for way in range(3)}, key=rows.tolist().index)
    assert {image ^ 1 for image in images} == images
    assert len(images) == 2


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_features_on_a_gpu_give_the_same_numbers() -> None:
    rows = given(exact, n=40)
    there = Transformed(start=rows.start.cuda(), views=rows.views.cuda(), before=rows.before, params=rows.params)
    for mover in (BY_LABEL, BY_CODE, ridge_mover(rows, COLOR, seed=0)[0]):
        moving = ridge_mover(there, COLOR, seed=0)[0] if mover not in (BY_LABEL, BY_CODE) else mover
        found = equivariance(moving, there, COLOR, space="features", distance="cosine")
        wanted = equivariance(mover, rows, COLOR, space="features", distance="cosine")
        assert found == pytest.approx(wanted, abs=1e-4)
