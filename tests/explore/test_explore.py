"""What the page looks up, against evaluate, loops and the pictures that it names."""

import itertools
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import covary.explore.maps
from covary.augment import apply
from covary.cli import main
from covary.data import load
from covary.data.fit import Fit
from covary.errors import InputError
from covary.evaluation import Options, evaluate
from covary.evaluation.equivariance import EquivarianceOptions
from covary.evaluation.source import resolve
from covary.evaluation.subject import Subject, some_rows
from covary.evaluation.transformations import CONDITIONS, ranges_of, unchanged
from covary.explore import explore
from covary.explore.analogy import kind_of
from covary.explore.changes import CODES
from covary.explore.maps import FINEST, neighbours, quantised
from covary.methods import CodeMover
from tests.explore.conftest import DATA, SIZE, array, content_of

SAME = Options(equivariance=EquivarianceOptions(images=12, transformations=12))


def cosine(a: Tensor, b: Tensor) -> float:
    x, y = a.double().tolist(), b.double().tolist()
    return sum(p * q for p, q in zip(x, y, strict=True)) / math.hypot(*x) / math.hypot(*y)


def subject_of(run: Path) -> Subject:
    return Subject(
        source=resolve(run), data=DATA, device=torch.device("cpu"), batch_size=64, seed=3, options=SAME, image_size=SIZE
    )


@pytest.mark.parametrize("name", ["stl", "simclr"])
def test_ranks_are_those_of_evaluate(explored: Path, runs: dict[str, Path], name: str) -> None:
    """The mean reciprocal rank of what the page looks up is evaluate's, to the last bit but the order of a sum."""
    run = next(run for run in content_of(explored)["runs"] if run["name"] == name)
    (result,) = evaluate(
        runs[name], data=DATA, task="equivariance", options=SAME, device="cpu", image_size=SIZE, seed=3
    )
    for condition in CONDITIONS:
        found = run["analogies"][condition]
        better, tied = (array(found[key], "u1", 12, 12, 12) for key in ("better", "tied"))
        reciprocal, first = [], []
        for image, view in itertools.product(range(12), range(12)):
            b, t = int(better[image ^ 1, image, view]), int(tied[image ^ 1, image, view])
            reciprocal.append(sum(1 / rank for rank in range(b + 1, b + t + 1)) / t)
            first.append(1 / t if b == 0 else 0.0)
        assert math.fsum(reciprocal) / 144 == pytest.approx(result.metrics[f"{condition}.mrr"], rel=1e-14)
        assert math.fsum(first) / 144 == pytest.approx(result.metrics[f"{condition}.h@1"], rel=1e-14)
        assert found["mrr"] == result.metrics[f"{condition}.mrr"]
        assert found["chance"] == result.metrics[f"{condition}.chance.mrr"]


@pytest.mark.parametrize("kind", ["crop", "rotation", "augmix"])
@torch.no_grad()
def test_an_analogy_equals_a_loop(explored: Path, runs: dict[str, Path], kind: str) -> None:
    """Image 7 is moved by what was done to image 2, whose partner it is not; every number is computed one by one."""
    subject = subject_of(runs["stl"])
    content = content_of(explored)
    found = content["runs"][0]["analogies"][kind]
    similarity = array(found["similarity"], "f4", 12, 12, 12, 12)
    order = array(found["order"], "u1", 12, 12, 12, 12)
    better = array(found["better"], "u1", 12, 12, 12)
    base = ranges_of(subject.source.recipe, subject.extractor, "auto")
    chosen = kind_of(subject, base, kind, 12)
    rows = some_rows(subject.test, 12, 3, "equivariance", even=True)
    encoder, mover = subject.source.encoder.eval(), subject.source.method.mover()
    assert isinstance(mover, CodeMover)

    def features(image: int, params: Tensor) -> Tensor:
        images, sizes = subject.test.images(rows[image : image + 1])
        return encoder(apply(images, params[None, None], chosen.recipe, sizes=sizes)[0])

    still = unchanged(chosen.recipe, 1)[0]
    example, other = 2, 7
    done = chosen.params[:, example]  # of its pair of partners
    assert torch.equal(done, chosen.params[:, 3])
    views = [features(other, params)[0] for params in done]
    for view in range(12):
        code = mover.code(features(example, still), features(example, done[view]))
        moved = mover.move(code, features(other, still))[0]
        wanted = [cosine(moved, real) for real in views]
        assert similarity[example, other, view].tolist() == pytest.approx(wanted, abs=1e-5)
        gaps = [wanted[k] - wanted[view] for k in range(12) if k != view]
        if min(map(abs, gaps)) > 1e-5:
            assert better[example, other, view] == sum(gap > 0 for gap in gaps)
        assert [wanted[k] for k in order[example, other, view]] == pytest.approx(sorted(wanted, reverse=True), abs=1e-5)


@torch.no_grad()
def test_an_orbit_equals_a_loop(explored: Path, runs: dict[str, Path]) -> None:
    subject, content = subject_of(runs["stl"]), content_of(explored)
    names = [sweep["name"] for sweep in content["orbits"]]
    assert names[0] == "zoom"
    assert len(names) == 9
    turned = next(sweep for sweep in content["orbits"] if sweep["name"] == "rotation")
    assert (turned["values"][0], turned["values"][turned["zero"]]) == ("-30 degrees", "+0 degrees")
    found, image, steps = content["runs"][0]["orbits"]["rotation"], 4, 17
    base = ranges_of(subject.source.recipe, subject.extractor, "auto")
    rows = some_rows(subject.test, 12, 3, "equivariance", even=True)
    encoder, mover = subject.source.encoder.eval(), subject.source.method.mover()

    def features(image: int, degrees: float) -> Tensor:
        params = unchanged(base, 1)[None].clone()
        params[0, 0, 6] = degrees
        images, sizes = subject.test.images(rows[image : image + 1])
        return encoder(apply(images, params, base, sizes=sizes)[0])

    angles = [30 * (step - 8) / 8 for step in range(steps)]
    start, partner = features(image, 0), features(image ^ 1, 0)
    real = [features(image, angle) for angle in angles]
    moved = [mover.move(mover.code(partner, features(image ^ 1, angle)), start) for angle in angles]
    many = some_rows(subject.test, 20, 3, "equivariance")
    clean = subject.extractor.features(subject.test, many)
    pairs = [1 - cosine(clean[a], clean[b]) for a, b in itertools.permutations(range(len(many)), 2)]
    unit = sum(pairs) / len(pairs)
    away, left = (array(found[key], "f4", 12, steps)[image].tolist() for key in ("away", "left"))
    assert away == pytest.approx([(1 - cosine(start[0], view[0])) / unit for view in real], abs=2e-3)
    wanted = [(1 - cosine(view[0], guess[0])) / unit for view, guess in zip(real, moved, strict=True)]
    assert left == pytest.approx(wanted, rel=1e-3, abs=2e-3)

    unit_rows = np.array([(view[0] / view[0].norm()).double().tolist() for view in real])
    centred = unit_rows - unit_rows.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred)
    path = array(found["path"], "f4", 12, steps, 2)[image]
    for axis in (0, 1):
        along = centred @ vectors[:, -1 - axis]
        sign = np.sign(along @ path[:, axis])
        assert path[:, axis] == pytest.approx(sign * along, abs=1e-5)
        guesses = np.array([(guess[0] / guess[0].norm()).double().tolist() for guess in moved]) - unit_rows.mean(axis=0)
        predicted = array(found["predicted"], "f4", 12, steps, 2)[image, :, axis]
        assert predicted == pytest.approx(sign * (guesses @ vectors[:, -1 - axis]), abs=1e-4)
    share = array(found["share"], "f4", 12)[image]
    assert share == pytest.approx(values[-2:].sum() / values.sum(), abs=1e-5)
    assert content["runs"][1]["orbits"]["rotation"]["predicted"] is None


def test_a_run_without_a_map_says_what_moves_its_features(explored: Path) -> None:
    says = {kind: found["says"] for kind, found in content_of(explored)["runs"][1]["analogies"].items()}
    assert all("a ridge map, fitted on 120 training images" in says[kind] for kind in (*CONDITIONS, "rotation"))
    assert "the difference of the example's features" in says["augmix"]


def test_a_map_that_is_told_labels_predicts_what_they_name(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(covary.explore.maps, "has_umap", lambda: False)
        out = explore(runs["equimod"], data=DATA, out=tmp_path / "out", images=1, image_size=SIZE, device="cpu")
    run = content_of(out)["runs"][0]
    assert "is told the numbers" in run["analogies"]["all"]["says"]
    assert "a ridge map" in run["analogies"]["rotation"]["says"]
    predicted = {name for name, found in run["orbits"].items() if found["predicted"]}
    assert predicted == {"zoom", "shift_x", "shift_y", "brightness", "contrast", "saturation", "hue"}
    assert len(content_of(out)["images"]["names"]) == 12


def test_pictures_are_the_views(explored: Path, runs: dict[str, Path]) -> None:
    subject, content = subject_of(runs["stl"]), content_of(explored)
    kind = next(kind for kind in content["kinds"] if kind["name"] == "all")
    sheet = kind["sheet"]
    chosen = kind_of(subject, ranges_of(subject.source.recipe, subject.extractor, "auto"), "all", 12)
    rows = some_rows(subject.test, 12, 3, "equivariance", even=True)
    example, image, view = 9, 5, 3
    place = (example // 2 * 12 + image) * 12 + view  # as explore.js has it
    line, column = divmod(place, sheet["columns"])
    with Image.open(explored / sheet["files"][0]) as opened:
        shown = np.asarray(opened)[SIZE * line : SIZE * (line + 1), SIZE * column : SIZE * (column + 1)]
    images, sizes = subject.test.images(rows[image : image + 1])
    made = apply(images, chosen.params[view : view + 1, example : example + 1], chosen.recipe, sizes=sizes)[0, 0]
    mean, std = (torch.tensor(each).view(3, 1, 1) for each in (chosen.recipe.mean, chosen.recipe.std))
    wanted = (255 * (made * std + mean)).permute(1, 2, 0).numpy()
    assert np.abs(shown - wanted).max() <= 1
    names = [subject.test.names[row] for row in rows.tolist()]
    assert content["images"]["names"][:12] == names
    sheets = [content["few"], content["images"]["sheet"], content["changes"]["sheet"]]
    sheets += [each["sheet"] for each in (*content["kinds"], *content["orbits"])]
    files = sorted(str(file.relative_to(explored)) for file in (explored / "pictures").iterdir())
    assert files == sorted(file for each in sheets for file in each["files"])


def test_neighbours_and_points_equal_loops() -> None:
    rows = torch.randn(9, 4, generator=torch.Generator().manual_seed(0))
    for i, found in enumerate(neighbours(rows, 4).tolist()):
        wanted = sorted((j for j in range(9) if j != i), key=lambda j: -cosine(rows[i], rows[j]))[:4]
        assert found == wanted
    points = np.array([[0.0, 1.0], [4.0, 2.0], [1.0, 3.0]])
    assert quantised(points).tolist() == [
        [round(FINEST * x / 4), round(FINEST / 2 + FINEST * (y - 2) / 4)] for x, y in points.tolist()
    ]
    assert quantised(np.ones((2, 2))).tolist() == [[FINEST // 2 + 1] * 2] * 2


def test_codes_are_coloured_by_what_was_done(explored: Path) -> None:
    changes = content_of(explored)["changes"]
    assert len(changes["names"]) == 20 <= CODES
    assert array(changes["type"], "i4", 20).tolist() == [i % 5 for i in range(20)]
    assert set(array(changes["quarter"], "i4", 20).tolist()) <= {0, 1, 2, 3}
    assert changes["sheet"]["count"] == 40
    codes = [run["codes"]["says"] for run in content_of(explored)["runs"]]
    assert codes[0] == "codes that the run reads off pairs"
    assert codes[1].startswith("differences of features")


def test_the_command_gives_the_same_bytes(
    explored: Path,
    runs: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(covary.explore.maps, "has_umap", lambda: False)
    again = tmp_path / "again"
    given = ["--compare", runs["simclr"], "--data", DATA, "--images", 20, "--image-size", SIZE, "--seed", 3]
    assert main(["explore", str(runs["stl"]), "--out", str(again), "--device", "cpu", *map(str, given)]) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"{again / 'index.html'}  ")
    assert "analogies of augmix" in said.err
    files = {file.relative_to(explored) for file in explored.rglob("*") if file.is_file()}
    assert files == {file.relative_to(again) for file in again.rglob("*") if file.is_file()}
    assert [str(file) for file in files if (explored / file).read_bytes() != (again / file).read_bytes()] == []


def test_umap_is_offered_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(covary.explore.maps, "has_umap", lambda: True)
    monkeypatch.setattr(covary.explore.maps, "flatten", lambda rows, seed: (rows[:, :2].double(), "UMAP"))
    rows = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    assert list(covary.explore.maps.as_map(rows, seed=0)["planes"]) == ["PCA", "UMAP"]
    assert list(covary.explore.maps.as_map(rows[:20], seed=0)["planes"]) == ["PCA"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"images": -1}, "images is -1; expected 0 or more"),
        ({"batch_size": 0}, "batch_size is 0; expected 1 or more"),
        ({"seed": -1}, "seed is -1; expected a whole number"),
        ({"data": "shapess"}, "shapess"),
        ({"data": "shapes:n=16"}, "expects 20 or more of them"),
        ({"run": "nowhere"}, "'nowhere' is no run folder, weights file"),
        ({"compare": "{run}"}, "is compared with itself; give another --compare, or none"),
        ({"compare": "untrained:resnet8", "data": "stl10"}, "sees images of 16 px and 'untrained:resnet8' of 96 px"),
        ({"out": "{run}"}, "exists and is not replaced"),
    ],
)
def test_what_cannot_be_shown_is_refused(changed: dict, message: str, runs: dict[str, Path], tmp_path: Path) -> None:
    run = str(runs["simclr"])
    changed = {key: value.format(run=run) if isinstance(value, str) else value for key, value in changed.items()}
    given = {"run": run, "data": DATA, "out": tmp_path / "out", "device": "cpu", **changed}
    with pytest.raises(InputError, match=message) as caught:
        explore(**given)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_an_unfinished_run_is_refused_and_a_failure_leaves_nothing(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "run"
    shutil.copytree(runs["stl"], run)
    (run / "encoder.safetensors").unlink()
    assert main(["explore", str(run), "--data", DATA, "--out", str(tmp_path / "out")]) == 2
    assert "is not finished: encoder.safetensors is missing" in capsys.readouterr().err
    monkeypatch.setattr("covary.explore.command.analogy", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        explore(runs["stl"], data=DATA, out=tmp_path / "out", images=12, image_size=SIZE, device="cpu")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_help_says_which_ranks_are_evaluate_s(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["explore", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "covary evaluate RUN --task equivariance" in said
    assert load(DATA, split="test", fit=Fit.evaluate(16)).names
