"""Codes of single changes, and distances of matrices that are never made."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from covary.augment import COLUMNS, preset
from covary.errors import InputError
from covary.evaluation.codes import Codes, codes_of, quarters
from covary.evaluation.options import Options
from covary.evaluation.source import resolve
from covary.evaluation.subject import Subject
from covary.evaluation.transformations import TYPES, unchanged
from covary.methods import METHODS
from tests.evaluation.test_transform_tasks import finished_run
from tests.tiny import small


def subject(run: Path) -> Subject:
    return Subject(
        source=resolve(run), data="shapes:n=60", device=torch.device("cpu"), batch_size=64, seed=0, options=Options()
    )


def test_distances_are_those_of_the_matrices() -> None:
    generator = torch.Generator().manual_seed(0)
    rows, weight = torch.randn(7, 3, generator=generator), torch.randn(25, 3, generator=generator)
    codes = Codes(rows=rows, types=torch.arange(7), quarters=torch.arange(7), gram=weight.double().mT @ weight.double())
    matrices = (weight.double() @ rows.double().mT).mT  # each of 5 x 5, laid out in a row
    torch.testing.assert_close(torch.cdist(codes.maps, codes.maps), torch.cdist(matrices, matrices))


@pytest.mark.parametrize(("name", "options"), [("stl", {}), ("stl", {"rank": 3}), ("equimod", {})])
def test_codes_are_of_single_changes(tmp_path: Path, name: str, options: dict[str, int]) -> None:
    found = codes_of(subject(finished_run(tmp_path / "run", replace(small(METHODS[name]), **options))), 50)
    assert found.rows.shape == (50, len(found.gram))
    assert found.types.bincount().tolist() == [10] * len(TYPES)
    for kind in range(len(TYPES)):
        assert set(found.quarters[found.types == kind].tolist()) <= {0, 1, 2, 3}
    if name == "equimod":  # labels: a hue changes the last number alone
        hues = found.rows[found.types == TYPES.index("hue")]
        assert not hues[:, :7].any()
        order = hues[:, 7].argsort()
        assert found.quarters[found.types == TYPES.index("hue")][order].diff().min() >= 0


def test_a_method_without_a_hypernetwork_is_refused(tmp_path: Path) -> None:
    run = finished_run(tmp_path / "run", small(METHODS["simclr"]))
    with pytest.raises(InputError, match="moves features by no linear hypernetwork"):
        codes_of(subject(run), 50)


def test_quarters_are_of_the_recipe_s_range() -> None:
    recipe = preset("paper", size=16, mean=(0.5,) * 3, std=(0.25,) * 3)  # areas from 0.2 to 1, factors 0.6 to 1.4
    params = unchanged(recipe, 6).clone()
    params[0, :4] = torch.tensor([0, 0, 1.0, 0.39])  # area 0.39 of 0.2 to 1: the first quarter
    params[1, :4] = torch.tensor([0, 0, 0.9, 0.9])
    params[2, COLUMNS["brightness"]] = 0.61
    params[3, COLUMNS["brightness"]] = 1.01
    params[4, COLUMNS["hue"]] = -0.01
    params[5, COLUMNS["hue"]] = 0.1
    types = torch.tensor([TYPES.index(name) for name in ("crop", "crop", "brightness", "brightness", "hue", "hue")])
    assert quarters(params, types, recipe).tolist() == [0, 3, 0, 2, 1, 3]
