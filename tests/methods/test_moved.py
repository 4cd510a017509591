"""SEN, EquiMod and SIE, which move features by a label, against twins written from their equations."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny import RECIPE, small, tiny_method, tiny_views
from twins import (
    Rows,
    check_twin,
    features,
    matrix,
    naive_covariance,
    naive_mlp,
    naive_mse,
    naive_nce,
    naive_terms,
    naive_variance,
    paper_labels,
    unsettle_teachers,
)

from covary.methods import BASES
from covary.types import Views

BASE_OF = {name: small(BASES[name]) for name in ("simclr", "byol", "simsiam", "barlow-twins")}
UNPAIRED = replace(RECIPE, partners=False)
ways = pytest.mark.parametrize("both_ways", [False, True], ids=["one way", "both ways"])
bases = pytest.mark.parametrize("base", BASE_OF)


def told_views(rows: int) -> Views:
    return replace(tiny_views(rows), params=tiny_views(rows).params.double(), partners=False)


def moved(move: Any, views: Views, y1: Rows, y2: Rows, *, both_ways: bool) -> tuple[list[Rows], list[Rows]]:
    """Features and what should have arrived at them, a part for each way."""
    there = [matrix(move, label) @ row for label, row in zip(paper_labels(views.params, 0, 1), y1, strict=True)]
    again = [matrix(move, label) @ row for label, row in zip(paper_labels(views.params, 1, 0), y2, strict=True)]
    return ([y2, y1], [there, again]) if both_ways else ([y2], [there])


@ways
@bases
def test_sen_equals_the_equations(base: str, both_ways: bool) -> None:
    method: Any = tiny_method("sen", base=BASE_OF[base], both_ways=both_ways, recipe=UNPAIRED)
    unsettle_teachers(method)
    views = told_views(5)

    def sides(networks: Any) -> Any:
        return {"equi": moved(networks["hypernetwork"], views, *features(networks, views), both_ways=both_ways)}

    check_twin(method, views, naive_terms(method, {"equi": BASE_OF[base]}, sides), {"equi": 1.0})


@ways
@bases
def test_equimod_with_the_hypernetwork_equals_the_equations(base: str, both_ways: bool) -> None:
    method: Any = tiny_method("equimod", base=BASE_OF[base], both_ways=both_ways, weight_equi=0.6, recipe=UNPAIRED)
    unsettle_teachers(method)
    views = told_views(5)

    def sides(networks: Any) -> Any:
        y1, y2 = features(networks, views)
        return {"inv": ([y1], [y2]), "equi": moved(networks["hypernetwork"], views, y1, y2, both_ways=both_ways)}

    expected = naive_terms(method, dict.fromkeys(("inv", "equi"), BASE_OF[base]), sides)
    check_twin(method, views, expected, {"inv": 1.0, "equi": 0.6})


def test_equimod_with_a_temperature_of_its_own_equals_the_equations() -> None:
    base: Any = BASE_OF["simclr"]
    method: Any = tiny_method("equimod", base=base, temperature_equi=0.7, recipe=UNPAIRED)
    views = told_views(5)

    def sides(networks: Any) -> Any:
        y1, y2 = features(networks, views)
        return {"inv": ([y1], [y2]), "equi": moved(networks["hypernetwork"], views, y1, y2, both_ways=False)}

    expected = naive_terms(method, {"inv": base, "equi": replace(base, temperature=0.7)}, sides)
    check_twin(method, views, expected, {"inv": 1.0, "equi": 1.0})


@ways
@pytest.mark.parametrize("temperature", [None, 0.7])
@pytest.mark.parametrize("base", ["simclr", "byol"])
def test_equimod_with_concat_equals_the_equations(base: str, temperature: float | None, both_ways: bool) -> None:
    method: Any = tiny_method(
        "equimod with concat",
        base=BASE_OF[base],
        temperature_equi=temperature,
        both_ways=both_ways,
        recipe=UNPAIRED,
    )
    unsettle_teachers(method)
    views = told_views(6)

    def sides(networks: Any) -> Any:
        y1, y2 = features(networks, views)
        return {"inv": ([y1], [y2])}

    def move(labels: Rows, z: Rows) -> Rows:
        told = naive_mlp(method.concat.project_label, labels)
        return naive_mlp(method.concat.mix, [torch.cat(pair) for pair in zip(z, told, strict=True)])

    expected = naive_terms(method, {"inv": BASE_OF[base]}, sides)
    z1, z2 = (naive_mlp(method.concat.projector, y) for y in features(dict(method.named_children()), views))
    found, arrived = z2, move(paper_labels(views.params, 0, 1), z1)
    if both_ways:
        found, arrived = found + z1, arrived + move(paper_labels(views.params, 1, 0), z2)
    expected["equi"] = naive_nce(found, arrived, temperature or 0.2)
    check_twin(method, views, expected, {"inv": 1.0, "equi": 1.0})


def split(y: Rows, first: int) -> tuple[Rows, Rows]:
    return [row[:first] for row in y], [row[first:] for row in y]


@ways
@pytest.mark.parametrize(("share", "first"), [(0.5, 3), (0.3, 2), (0.7, 4)])
@bases
def test_sie_on_a_base_equals_the_equations(base: str, share: float, first: int, both_ways: bool) -> None:
    method: Any = tiny_method(
        "sie", base=BASE_OF[base], invariant=share, weight_equi=0.6, both_ways=both_ways, recipe=UNPAIRED
    )
    unsettle_teachers(method)
    views = told_views(6)

    def sides(networks: Any) -> Any:
        (inv1, equi1), (inv2, equi2) = (split(y, first) for y in features(networks, views))
        return {
            "inv": ([inv1], [inv2]),
            "equi": moved(networks["hypernetwork"], views, equi1, equi2, both_ways=both_ways),
        }

    expected = naive_terms(method, dict.fromkeys(("inv", "equi"), BASE_OF[base]), sides)
    check_twin(method, views, expected, {"inv": 1.0, "equi": 0.6})


@ways
@pytest.mark.parametrize(("share", "first", "widths"), [(0.5, 3, (5, 5)), (0.3, 2, (3, 7)), (0.7, 4, (7, 3))])
def test_sie_as_published_equals_the_equations(
    share: float, first: int, widths: tuple[int, int], both_ways: bool
) -> None:
    weights = {"invariance": 3.0, "gamma": 0.6, "variance": 2.0, "covariance": 0.5}
    method: Any = tiny_method("sie as published", invariant=share, both_ways=both_ways, recipe=UNPAIRED, **weights)
    views = told_views(6)
    (y_inv1, y_equi1), (y_inv2, y_equi2) = (split(y, first) for y in features(dict(method.named_children()), views))
    inv1, inv2 = (naive_mlp(method.projector_inv, rows) for rows in (y_inv1, y_inv2))
    equi1, equi2 = (naive_mlp(method.projector_equi, rows) for rows in (y_equi1, y_equi2))
    assert (len(inv1[0]), len(equi1[0])) == widths
    found, arrived = moved(method.hypernetwork, views, equi1, equi2, both_ways=both_ways)
    targets, predictions = ([row for part in parts for row in part] for parts in (found, arrived))
    whole1, whole2 = ([torch.cat(pair) for pair in zip(p, q, strict=True)] for p, q in ((inv1, equi1), (inv2, equi2)))
    expected = {
        "inv": naive_mse(inv1, inv2),
        "equi": naive_mse(predictions, targets),
        "variance": (naive_variance(whole1) + naive_variance(whole2) + naive_variance(predictions)) / 2,
        "covariance": naive_covariance(whole1) + naive_covariance(whole2),
    }
    check_twin(method, views, expected, {"inv": 3.0, "equi": 1.8, "variance": 2.0, "covariance": 0.5})
