import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from covary.errors import InputError
from covary.evaluation import FewShotOptions, KnnOptions, LinearOptions, Options, evaluate, means
from covary.evaluation.features import extract
from covary.evaluation.knn import knn
from covary.evaluation.source import resolve
from covary.evaluation.subject import Subject
from covary.evaluation.tasks import choose
from covary.evaluation.transfer import TABLE10, TRANSFER
from covary.nets import build_encoder
from covary.rundir import RunDir, write_tensors

LEARNED = ["knn", "linear"]
KEYS = ["task", "protocol", "source", "data", "metrics", "seconds", "covary", "commit"]


class Colours(nn.Module):
    """The mean of each channel: features that tell the classes of ``make_store`` apart."""

    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3))


@pytest.fixture
def data(make_store, monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """Let every SPEC be 30 training and 12 test images in memory; return what was asked of the data layer."""
    asked = []

    def load(spec: str, *, split: str, **options: object) -> object:
        asked.append({"spec": spec, "split": split, **options})
        n = {"train": 30, "test": 12}[split]
        return make_store([i % 3 for i in range(n)], split=split, seed=n)

    monkeypatch.setattr("covary.evaluation.subject.load", load)
    return asked


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished run of a small encoder."""
    folder = RunDir(tmp_path / "run")
    folder.path.mkdir()
    augment = {"size": 8, "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]}
    folder.write_run({"encoder": "resnet8", "stem": "cifar", "augment": augment}, {})
    torch.manual_seed(0)
    encoder, _ = build_encoder("resnet8", stem="cifar")
    write_tensors(folder.encoder_file, encoder.state_dict())
    return folder.path


@pytest.mark.usefixtures("data")
def test_each_task_gives_a_result_that_says_all() -> None:
    results = evaluate(Colours(), data="colours", task=LEARNED, image_size=8, device="cpu")
    assert [result.task for result in results] == ["knn", "linear"]
    for result in results:
        assert list(result.to_json()) == KEYS
        assert json.loads(json.dumps(result.to_json())) == result.to_json()
        assert result.metrics["top1"] == result.metrics["mean_per_class"] == 1.0
        assert "\n" not in result.protocol
        assert "3 features of images at 8 px" in result.protocol
        assert (result.source, result.data) == ("Colours", "colours")
        assert result.seconds > 0
    assert results[0].protocol.startswith(
        "kNN, cosine similarity s, k = 20, votes exp(s / 0.07); 30 training and 12 test"
    )
    assert "lambda from 45 in [1e-06, 100000] by top1 on 3 of the training images" in results[1].protocol
    assert "fitted on 27, then on all 30" in results[1].protocol
    assert {"lambda", "validation", "steps", "not_converged"} < results[1].metrics.keys()


def test_images_and_numbers_are_those_of_the_source_unless_said(data: list[dict], run: Path, make_store) -> None:
    (found,) = evaluate(run, data="colours", task="knn", device="cpu")
    encoder, _ = build_encoder("resnet8", stem="cifar")
    from safetensors.torch import load_file

    encoder.load_state_dict(load_file(run / "encoder.safetensors"))
    sets = [
        (
            extract(encoder, store, mean=(0.5,) * 3, std=(0.2,) * 3, device=torch.device("cpu")),
            torch.tensor(store.labels),
        )
        for store in (make_store([i % 3 for i in range(n)], seed=n) for n in (30, 12))
    ]
    assert found.metrics["top1"] == knn(*sets[0], *sets[1]).top1
    assert "images at 8 px (shorter side, bicubic; centre crop), mean 0.5/0.5/0.5, std 0.2/0.2/0.2" in found.protocol
    labelled = {(a["split"], a["fit"].size) for a in data if a["labelled"]}
    assert labelled == {("test", 8), ("train", 8)}
    (other,) = evaluate(run, data="colours", task="knn", image_size=16, mean=(0.1, 0.2, 0.3), device="cpu")
    assert "images at 16 px (shorter side, bicubic; centre crop), mean 0.1/0.2/0.3, std 0.2/0.2/0.2" in other.protocol
    assert data[-1]["fit"].size == 16


@pytest.mark.usefixtures("data")
def test_options_reach_their_task() -> None:
    results = evaluate(
        Colours(),
        data="colours",
        task=LEARNED,
        image_size=8,
        device="cpu",
        options=Options(
            knn=KnnOptions(k=3, temperature=None),
            linear=LinearOptions(penalties=5, penalty_range=(0.1, 10.0), metric="mean_per_class", validation=0.3),
        ),
        seed=7,
    )
    assert "k = 3, equal votes" in results[0].protocol
    assert "lambda from 5 in [0.1, 10] by mean_per_class on 9 of the training images (0.3 of each class, seed 7, " in (
        results[1].protocol
    )
    assert results[1].metrics["lambda"] == pytest.approx(0.1)


@pytest.mark.usefixtures("data")
def test_results_of_a_run_lie_in_its_folder(run: Path) -> None:
    results = evaluate(run, data="../colour sets/a", task=LEARNED, device="cpu")
    files = sorted((run / "results").iterdir())
    assert [file.name for file in files] == ["knn-colour_sets_a.json", "linear-colour_sets_a.json"]
    assert [json.loads(file.read_text()) for file in files] == [result.to_json() for result in results]
    evaluate(f"untrained:{run}", data="other", task=LEARNED, device="cpu")
    assert len(list((run / "results").iterdir())) == 2


@pytest.mark.usefixtures("data")
def test_out_takes_an_object_for_one_task_and_a_list_for_several(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "result.json"
    (one,) = evaluate(run, data="colours", task="linear", out=out, device="cpu")
    assert json.loads(out.read_text()) == one.to_json()
    several = evaluate(run, data="colours", task=["linear", "knn", "knn"], out=out, device="cpu")
    assert json.loads(out.read_text()) == [result.to_json() for result in several]
    assert [result.task for result in several] == ["linear", "knn"]
    assert not (run / "results").exists()


@pytest.mark.usefixtures("data")
def test_evaluating_twice_differs_by_nothing_and_changes_no_weight(run: Path) -> None:
    module, _ = build_encoder("resnet8", stem="cifar")
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    for source in (run, module, "untrained:resnet8"):
        first, second = (evaluate(source, data="colours", task=LEARNED, image_size=8, device="cpu") for _ in range(2))
        assert [result.metrics for result in first] == [result.metrics for result in second]
    assert module.training
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, before[name])


@pytest.mark.usefixtures("data")
def test_few_shot_is_measured_where_there_are_images_enough() -> None:
    options = Options(few_shot=FewShotOptions(ways=3, shots=(2,), queries=2, episodes=20))
    (found,) = evaluate(Colours(), data="colours", task="few-shot", image_size=8, device="cpu", options=options)
    assert found.metrics == {"2-shot.accuracy": 1.0, "2-shot.ci95": 0.0, "2-shot.chance.accuracy": 1 / 3}
    assert found.protocol.startswith("3-way episodes of 2 queries per class out of 12 test images, logistic")
    assert means([found, found]) == {"few-shot": {}}


@pytest.mark.usefixtures("data")
def test_all_leaves_few_shot_out_where_there_are_too_few_images_or_classes() -> None:
    for ways, included in ((3, True), (4, False)):
        subject = Subject(
            source=resolve(Colours()),
            data="colours",
            device=torch.device("cpu"),
            batch_size=8,
            seed=0,
            options=Options(few_shot=FewShotOptions(ways=ways, shots=(2,), queries=2)),
            image_size=8,
        )
        assert ("few-shot" in choose("all", subject)) == included


class Untouchable(nn.Module):
    """An encoder that no image may reach."""

    def forward(self, images: Tensor) -> Tensor:
        raise AssertionError("an image was encoded")


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(
    ("task", "spec", "message"),
    [
        ("few-shot", "colours", "colours: The test images are of 3 classes; few-shot ways is 5: lower it."),
        (
            "linear",
            "dtd",
            "dtd has 3 classes and 30 training, 0 validation and 12 test images; table 10 has 47 classes",
        ),
        ("all", "dtd", "dtd has 3 classes and 30 training"),
    ],
)
def test_images_that_do_not_suit_a_task_are_refused_unencoded(task: str, spec: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        evaluate(Untouchable(), data=spec, task=task, image_size=8, device="cpu")
    assert str(caught.value).startswith(message)


@pytest.mark.usefixtures("data")
def test_table10_is_the_eleven_sets() -> None:
    options = Options(linear=LinearOptions(split="stratified", penalties=2))
    found = evaluate(Colours(), data=["table10"], task="linear", image_size=8, device="cpu", options=options)
    assert [result.data for result in found] == list(TRANSFER)
    assert {name: result.metrics["accuracy"] for name, result in zip(TRANSFER, found, strict=True)} == dict.fromkeys(
        TRANSFER, 1.0
    )
    assert means(found)["linear"]["accuracy"] == 1.0
    assert [("mean_per_class" in result.protocol) for result in found] == [
        TABLE10[name].metric == "mean_per_class" for name in TRANSFER
    ]


def test_shapes_need_no_fake(tmp_path: Path) -> None:
    (found,) = evaluate("untrained:resnet8", data="shapes:n=60", task="knn", stem="cifar", image_size=16, device="cpu")
    assert found.metrics["k"] == 20
    assert 0 <= found.metrics["top1"] < 0.6


def test_few_images_are_measured_and_said(make_store, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = {"train": make_store([0, 0, 1, 2]), "test": make_store([0, 1, 2], split="test")}
    monkeypatch.setattr("covary.evaluation.subject.load", lambda _, *, split, **__: stores[split])
    nearest, linear = evaluate(Colours(), data="few", task=LEARNED, image_size=8, device="cpu")
    assert nearest.metrics["k"] == 4
    assert "k = 4" in nearest.protocol
    assert "on 1 of the training images" in linear.protocol


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "linaer"}, "task 'linaer' is unknown; expected knn, linear, few-shot, "),
        ({"task": "linaer"}, ", all. Did you mean 'linear'?"),
        ({"task": []}, "No task is named; expected knn, linear, few-shot, "),
        ({"device": "gpu"}, "Unknown device 'gpu'"),
        ({"batch_size": 0}, "batch_size is 0; expected 1 or more."),
        ({"image_size": 0}, "image_size is 0; expected 1 or more."),
        ({"std": (0.0, 1.0, 1.0)}, "std is (0.0, 1.0, 1.0); expected three positive numbers."),
        ({"encoder": "resnet18"}, "encoder does not go with a module"),
        ({"out": "."}, "The results file . is a folder; name a file in it."),
        ({"out": "/dev/null/result.json"}, "cannot be written: /dev/null is a file; give another out."),
    ],
)
def test_mistakes_are_named_before_any_image_is_read(data: list[dict], options: dict, message: str) -> None:
    with pytest.raises(InputError) as caught:
        evaluate(Colours(), data="colours", **{"image_size": 8, "device": "cpu"} | options)
    assert message in str(caught.value)
    assert data == []


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (("a", "b", "c"), ("a", "b", "d"), "have different classes (3 and 3; not in both: c, d)"),
        (("a", "b", "c"), ("a", "b"), "have different classes (3 and 2; not in both: c)"),
        (("a", "b", "c"), ("b", "a", "c"), "not in both: their order"),
        (("a",), ("a",), "colours has one class; an evaluation needs two or more."),
    ],
)
def test_splits_that_do_not_fit_together_are_refused(
    make_store, monkeypatch: pytest.MonkeyPatch, train: tuple, test: tuple, message: str
) -> None:
    stores = {"train": make_store([0, 0], classes=train), "test": make_store([0], classes=test, split="test")}
    monkeypatch.setattr("covary.evaluation.subject.load", lambda _, *, split, **__: stores[split])
    with pytest.raises(InputError) as caught:
        evaluate(Colours(), data="colours", image_size=8, device="cpu")
    assert message in str(caught.value)


@pytest.mark.usefixtures("data")
def test_an_encoder_that_has_diverged_is_refused() -> None:
    encoder = nn.Sequential(Colours(), nn.Linear(3, 2))
    nn.init.constant_(encoder[1].bias, float("nan"))
    with pytest.raises(InputError, match="The features of 30 of 30 train images are not finite"):
        evaluate(encoder, data="colours", image_size=8, device="cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.usefixtures("data")
def test_a_gpu_gives_the_numbers_of_the_cpu(run: Path) -> None:
    on = {device: evaluate(run, data="colours", device=device) for device in ("cpu", "cuda")}
    for cpu, cuda in zip(on["cpu"], on["cuda"], strict=True):
        assert cuda.metrics["top1"] == pytest.approx(cpu.metrics["top1"], abs=1 / 12)
