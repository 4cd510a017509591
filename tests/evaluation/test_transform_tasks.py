"""The tasks about transformations through ``evaluate``: every kind of source, the same numbers twice."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from covary import config, rundir
from covary.augment import Recipe
from covary.errors import InputError
from covary.evaluation import Options, evaluate, prepared, transform_tasks
from covary.evaluation.equivariance import EquivarianceOptions
from covary.evaluation.features import fingerprint
from covary.evaluation.movers import own_mover
from covary.evaluation.prediction import PredictionOptions
from covary.evaluation.sensitivity import SensitivityOptions
from covary.evaluation.source import resolve
from covary.evaluation.subject import Subject
from covary.methods import METHODS, STL, CodeMover, LabelMover
from covary.recipes import start_run
from covary.run import run_from_json
from covary.rundir import RunDir
from tests.tiny import small

DATA = "shapes:n=120"
FEW = Options(
    prediction=PredictionOptions(train_images=60, images=40, probes=("linear",)),
    equivariance=EquivarianceOptions(transformations=4, images=20, train_images=30),
    sensitivity=SensitivityOptions(images=20),
)
TASKS = ["transform-prediction", "equivariance", "sensitivity"]


def finished_run(path: Path, method, *, augment: Recipe | None = None) -> Path:
    """A run folder as training leaves it, with weights that were never trained."""
    run = start_run(data=DATA, method=method, image_size=16)
    run = replace(run, encoder="resnet8", stem="cifar", method=method, augment=method.fit(augment or run.augment))
    folder = RunDir(path)
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.write_run(config.to_json(run), {})
    torch.manual_seed(0)
    built = run.build_method()
    rundir.write_tensors(folder.encoder_file, built.encoder.state_dict())
    rundir.write_tensors(folder.method_file, built.state_dict())
    return path


@pytest.fixture(scope="module")
def stl_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_run(tmp_path_factory.mktemp("runs") / "stl", small(STL))


def measure(source, options: Options = FEW):
    return evaluate(source, data=DATA, task=TASKS, options=options, device="cpu", image_size=16)


def test_a_run_is_measured_by_its_code_twice_the_same(stl_run: Path) -> None:
    before = {file.name: file.read_bytes() for file in stl_run.glob("*.safetensors")}
    first, second = measure(stl_run), measure(stl_run)
    assert [result.metrics for result in first] == [result.metrics for result in second]
    assert {file.name: file.read_bytes() for file in stl_run.glob("*.safetensors")} == before
    prediction, found, felt = first
    assert {"mse.crop", "mse.color.hue", "r2.all", "code.mse.all", "code.type_accuracy", "baseline.mse.all"} < (
        prediction.metrics.keys()
    )
    assert {f"{c}.{m}" for c in ("crop", "color", "all") for m in ("mrr", "h@1", "h@5", "pre", "chance.mrr")} < (
        found.metrics.keys()
    )
    assert "a code read off another image with the same transformation" in found.protocol
    assert {"hue.slope", "hue.-50%", "invariance.crop"} < felt.metrics.keys()
    assert all(torch.tensor(list(result.metrics.values())).isfinite().all() for result in first)
    assert {file.name for file in (stl_run / "results").iterdir()} == {f"{t}-shapes_n=120.json" for t in TASKS}


@pytest.mark.parametrize("source", ["untrained:resnet8", "untrained:{run}", "module"])
def test_any_encoder_is_measured_by_a_ridge_map(stl_run: Path, source: str) -> None:
    prediction, found, _ = measure(Colours() if source == "module" else source.format(run=stl_run))
    assert "moved by a ridge map of features, labels and their products, fitted on 30 training images" in found.protocol
    assert not any(name.startswith("code.") for name in prediction.metrics)


class Colours(nn.Module):
    """Mean and deviation of each channel, with a weight that nothing may change."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([images.mean((2, 3)), images.std((2, 3))], dim=1) * self.scale


def test_an_encoder_that_brightness_moves_is_found_moving() -> None:
    """The mean of the channels moves with brightness and not with hue alone; the ridge map predicts most of it."""
    module = Colours()
    weights = fingerprint(module)
    prediction, found, felt = measure(module)
    assert fingerprint(module) == weights
    assert found.metrics["color.mrr"] > 1.5 * found.metrics["color.chance.mrr"]
    assert prediction.metrics["r2.color.brightness"] > 0.5
    assert felt.metrics["brightness.slope"] > 0


@pytest.mark.parametrize("name", ["sen", "equimod", "sie", "stl"])
def test_methods_that_move_features_say_how(tmp_path: Path, name: str) -> None:
    source = resolve(finished_run(tmp_path / "run", small(METHODS[name])))
    mover = own_mover(source, "auto", torch.device("cpu"))
    assert isinstance(mover, CodeMover if name == "stl" else LabelMover)
    assert mover.start(torch.randn(3, 128)).shape[0] == 3


@pytest.mark.parametrize("method", [METHODS["simclr"](), STL(weight_equi=0.0)], ids=["simclr", "stl without equi"])
def test_own_is_refused_where_nothing_was_learned(tmp_path: Path, method) -> None:
    run = finished_run(tmp_path / "run", method)
    with pytest.raises(InputError, match="has learned no map of features; expected a run of stl, sen, equimod or sie"):
        own_mover(resolve(run), "own", torch.device("cpu"))
    assert own_mover(resolve(run), "auto", torch.device("cpu")) is None


def test_the_method_of_a_run_has_its_trained_weights(stl_run: Path) -> None:
    method = resolve(stl_run).method
    assert method is not None
    assert not method.training
    saved = run_from_json(RunDir(stl_run).read_run()["run"]).build_method().state_dict().keys()
    assert method.state_dict().keys() == saved
    torch.manual_seed(0)
    expected = run_from_json(RunDir(stl_run).read_run()["run"]).build_method().state_dict()
    for key, tensor in method.state_dict().items():
        assert torch.equal(tensor, expected[key])


def test_images_without_labels_are_enough(tmp_path: Path) -> None:
    from PIL import Image

    for i in range(60):
        Image.fromarray(torch.randint(0, 255, (16, 16, 3)).numpy().astype("uint8")).save(tmp_path / f"{i}.png")
    results = evaluate("untrained:resnet8", data=str(tmp_path), options=FEW, device="cpu", image_size=16)
    assert [result.task for result in results] == TASKS
    with pytest.raises(InputError, match="has no labels, which an evaluation needs"):
        evaluate("untrained:resnet8", data=str(tmp_path), task="knn", device="cpu", image_size=16)
    subject = Subject(
        source=resolve("untrained:resnet8"),
        data=str(tmp_path),
        device=torch.device("cpu"),
        batch_size=64,
        seed=0,
        options=FEW,
        image_size=16,
    )
    train, test = ({digest.tobytes() for digest in store.digests} for store in (subject.train, subject.test))
    assert (len(train), len(test)) == (48, 12)
    assert not train & test


def test_what_is_fitted_is_fitted_to_training_images(stl_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    transformed = prepared.transformed

    def spy(subject, store, rows, recipe, *, stream: str, **more):
        seen.append((stream.split()[0], store.split))
        return transformed(subject, store, rows, recipe, stream=stream, **more)

    for module in (prepared, transform_tasks):
        monkeypatch.setattr(module, "transformed", spy)
    evaluate(f"untrained:{stl_run}", data=DATA, task="equivariance", options=FEW, device="cpu")
    assert set(seen) == {("crop", "test"), ("color", "test"), ("all", "test"), ("ridge", "train")}


def test_a_probe_is_scored_on_fresh_transformations_one_for_each_pair(
    stl_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    draw_each = transform_tasks.draw_each
    monkeypatch.setattr(transform_tasks, "draw_each", lambda *a, **k: drawn.append(draw_each(*a, **k)) or drawn[-1])
    evaluate(f"untrained:{stl_run}", data=DATA, task="transform-prediction", options=FEW, device="cpu")
    assert [len(params[0]) for params in drawn] == [60, 60, 40, 40]
    rows = torch.cat([params[0] for params in drawn])
    assert len(rows.unique(dim=0)) > 0.95 * len(rows)  # whole boxes without jitter may repeat


@pytest.mark.parametrize(
    "changed", [{"space": "embedding"}, {"distance": "euclidean"}, {"start": "view"}, {"predictor": "ridge"}]
)
def test_options_of_equivariance_count(stl_run: Path, changed: dict) -> None:
    few = replace(FEW, equivariance=replace(FEW.equivariance, **changed))
    (plain,), (other,) = (
        evaluate(stl_run, data=DATA, task="equivariance", options=options, device="cpu") for options in (FEW, few)
    )
    assert plain.metrics["all.error"] != other.metrics["all.error"]
    assert plain.protocol != other.protocol


def test_ranges_are_those_of_the_run_unless_the_paper_s_are_asked_for(tmp_path: Path) -> None:
    run = start_run(data=DATA, method=small(STL), image_size=16)
    stronger = replace(run.augment, jitter=replace(run.augment.jitter, hue=0.5))
    folder = finished_run(tmp_path / "run", small(STL), augment=stronger)
    paper = Options(
        prediction=replace(FEW.prediction, ranges="paper"),
        equivariance=replace(FEW.equivariance, ranges="paper"),
        sensitivity=replace(FEW.sensitivity, ranges="paper"),
    )
    for own, asked in zip(measure(folder), measure(folder, options=paper), strict=True):
        assert "0.4/0.4/0.4/0.5" in own.protocol
        assert "0.4/0.4/0.4/0.1" in asked.protocol
        assert own.metrics != asked.metrics


def test_mean_colours_hardly_notice_a_crop() -> None:
    *_, felt = measure(Colours())
    assert felt.metrics["invariance.color"] < 0.7 < 0.9 < felt.metrics["invariance.crop"] < 1


class Broken(Colours):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * float("nan")


class Dead(Colours):
    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images) * 0


@pytest.mark.parametrize("task", TASKS)
def test_features_that_are_not_finite_are_refused(task: str) -> None:
    with pytest.raises(InputError, match=r"views of .* images are not finite"):
        evaluate(Broken(), data=DATA, task=task, options=FEW, device="cpu", image_size=16)


def test_an_encoder_that_says_nothing_has_no_sensitivity() -> None:
    with pytest.raises(InputError, match=r"gives all images .* the same features"):
        evaluate(Dead(), data=DATA, task="sensitivity", options=FEW, device="cpu", image_size=16)


def test_a_missing_map_is_told_before_other_tasks_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("covary.evaluation.command._measure", lambda *_: pytest.fail("measured"))
    own = Options(equivariance=EquivarianceOptions(predictor="own"))
    with pytest.raises(InputError, match="has learned no map of features"):
        evaluate("untrained:resnet8", data=DATA, task=["knn", "equivariance"], options=own, image_size=16)
