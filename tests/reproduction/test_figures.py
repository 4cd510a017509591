"""Figures from finished runs: files, numbers, and what is refused."""

import json
from pathlib import Path

import pytest

from covary.cli import main
from covary.evaluation.transformations import TYPES
from covary.recipes import start_run
from covary.reproduction import figures
from covary.reproduction.figures import FIGURES, reproduce_figure
from covary.reproduction.plan import Planned
from tests.evaluation.test_transform_tasks import finished_run

DATA = "shapes:n=60"


@pytest.fixture
def finished(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let training leave a finished run with weights that were never trained; return the rows it was asked for."""
    asked = []

    def train(planned: list[Planned], *, place: object) -> None:
        for each in planned:
            asked.append(each.row)
            finished_run(each.folder, start_run(recipe=f"demo/{each.row}").method)

    monkeypatch.setattr(figures, "train_all", train)
    monkeypatch.setattr(figures, "unfinished", lambda planned, place: [p for p in planned if not p.folder.exists()])
    monkeypatch.setattr(figures, "IMAGES", 100)
    monkeypatch.setattr("covary.evaluation.clusters.importlib.util.find_spec", lambda name: None)  # UMAP takes long
    return asked


@pytest.mark.parametrize("name", list(FIGURES))
def test_a_figure_has_a_map_for_each_panel(tmp_path: Path, finished: list[str], name: str) -> None:
    made = reproduce_figure(name, out=tmp_path, data=DATA, device="cpu", say=lambda line: None)
    assert tuple(finished) == FIGURES[name]
    assert [each.title for each in made.maps] == (
        ["EquiMod: matrices W(t), t from labels", "STL: matrices W(t), t from pairs", "STL: transformation codes"]
        if name == "figure1"
        else [f"STL's codes: {kind}" for kind in TYPES]
    )
    for each in made.maps:
        assert each.method == "PCA"
        assert each.rows == (100 if name == "figure1" else 20)
        assert -1 <= each.silhouette <= 1
        assert 0 <= each.trustworthiness <= 1
    if name == "figure1":  # labels of one change each are apart; so are the matrices that are linear in them
        assert made.maps[0].silhouette > made.maps[2].silhouette
    assert json.loads((tmp_path / f"{name}.json").read_text())["maps"][0]["title"] == made.maps[0].title
    assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / f"{name}.svg").read_text()
    again = reproduce_figure(name, out=tmp_path, data=DATA, device="cpu", say=lambda line: None)
    assert tuple(finished) == FIGURES[name]
    assert again == made


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("figure2",), "expected one of table1, "),
        (("figure1", "--rows", "stl"), "figure1 has no use for rows; leave it out."),
        (("figure1", "--seeds", "2"), "figure1 has no use for seeds; leave it out."),
    ],
)
def test_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str) -> None:
    assert main(["reproduce", *arguments, "--out", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err
