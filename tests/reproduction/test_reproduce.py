"""Tables end to end on runs of seconds: what is trained and measured once, resumed, refused and written."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny import small

import covary.evaluation.command
import covary.evaluation.tasks
import covary.recipes
import covary.reproduction.measuring
import covary.reproduction.stages
from covary.cli import main
from covary.errors import InputError, MissingData
from covary.evaluation import LinearOptions, Options
from covary.evaluation.prediction import PredictionOptions
from covary.evaluation.subject import Subject
from covary.evaluation.tasks import Measured, Task
from covary.reproduction import PAPER, Number, Report, reproduce
from covary.reproduction.measuring import UNTRAINED
from covary.reproduction.report import CHANCE, OURS
from covary.run import Run
from covary.stop import Interrupted

SPEC = "shapes:n=32"
SETS = ("shapes:n=24", "shapes:n=28")


@pytest.fixture(autouse=True)
def _tiny_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every row train for two steps on 8 pixels, with small heads; and keep the threads as they are."""
    real = covary.recipes.start_run

    def start_run(**given: Any) -> Run:
        run = real(**{**given, "image_size": 8} if "demo" in given["recipe"] else given)
        if "demo" not in given["recipe"]:
            return run
        options = {
            name: getattr(run.method, name) for name in ("weight_inv", "weight_equi") if hasattr(run.method, name)
        }
        return replace(run, method=small(type(run.method), **options), batch_size=16, epochs=1)

    monkeypatch.setattr("covary.reproduction.plan.start_run", start_run)


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the rows and seeds that are trained from now on."""
    real, seen = covary.reproduction.stages.train, []

    def train(run: Run, out: Path, session: Any) -> Path:
        seen.append(f"{out.parent.name}-{run.seed}")
        return real(run, out, session)

    monkeypatch.setattr(covary.reproduction.stages, "train", train)
    return seen


@pytest.fixture(autouse=True)
def measured(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Put tasks of no cost in the place of all others; return how often each was done on each SPEC."""
    seen: Counter[str] = Counter()

    def task(name: str, metrics: Callable[[float], Mapping[str, float]]) -> Task:
        def measure(subject: Subject) -> Measured:
            seen[f"{name} {subject.data}"] += 1
            value = float(subject.test_features.double().abs().mean() % 1)
            return Measured(metrics=dict(metrics(value)), protocol=f"{name} done on {len(subject.test)} images")

        return Task(measure=measure, needs="images", headline=())

    def prediction(value: float) -> dict[str, float]:
        names = ("mse.crop", "mse.color", "mse.all", "type_accuracy")
        return {f"{prefix}{name}": value for prefix in ("", "mlp.", "baseline.") for name in names}

    tasks = {
        "linear": task("linear", lambda value: {"accuracy": value}),
        "transform-prediction": task("transform-prediction", prediction),
    }
    for module in (covary.evaluation.command, covary.evaluation.tasks, covary.reproduction.stages):
        monkeypatch.setattr(module, "TASKS", tasks)
    return seen


def make(table: str, out: Path, **given: Any) -> Report:
    return reproduce(table, out=out, **{"data": SPEC, "device": "cpu", "say": lambda line: None, **given})


def numbers(report: Report, row: str, whose: str = OURS) -> Mapping[str, Any]:
    (line,) = (line for line in report.lines if (line.row, line.whose) == (row, whose))
    return line.numbers


def test_a_table_has_our_numbers_the_paper_s_the_baselines_and_what_they_come_from(tmp_path: Path) -> None:
    report = make("table7", tmp_path, sets=SETS, rows=["stl", "stl-only-inv", "stl-without-inv"])
    assert [line.row for line in report.lines if line.whose == OURS] == [
        *("stl-only-inv", "stl-without-inv", "stl"),
        *(UNTRAINED, CHANCE),
    ]
    assert [column.name for column in report.columns] == ["in-domain", "mean of sets", "all MSE", "type accuracy, %"]
    assert numbers(report, "stl", "paper")["mean of sets"] == PAPER["table7"]["stl"]["mean"]
    for row in ("stl", UNTRAINED):
        values = numbers(report, row)
        assert values.keys() == {column.name for column in report.columns}
        assert values["type accuracy, %"].value == pytest.approx(100 * values["all MSE"].value)
    assert numbers(report, CHANCE).keys() == {"all MSE", "type accuracy, %"}
    assert {"scale", "table", "order"} <= json.loads((tmp_path / "table7.json").read_text()).keys()
    for suffix in ("md", "html"):
        text = (tmp_path / f"table7.{suffix}").read_text()
        for said in ("resnet8", "8 px", "epochs: 200 -", "encoder: resnet18 -", "32 images", "minutes", *SETS):
            assert said in text
    assert report.facts["steps"] == "2"
    assert f"sets: {', '.join(covary.reproduction.paper.SETS)} -> {', '.join(SETS)}" in report.deviations
    assert "rows left out: stl-only-equi, stl-without-equi, stl-without-trans" in report.deviations
    assert "linear, shapes:n=32: linear done on 2000 images" in report.protocols


def test_what_is_there_is_neither_trained_nor_measured_again_and_other_tables_share_it(
    tmp_path: Path, trained: list[str], measured: Counter[str]
) -> None:
    first = make("table3", tmp_path, rows=["simclr", "stl"])
    assert trained == ["simclr-0", "stl-0"]
    assert measured == {f"linear {SPEC}": 3}
    again = make("table3", tmp_path, rows=["simclr", "stl"])
    assert (again.lines, again.order) == (first.lines, first.order)
    assert len(trained) == 2
    assert measured.total() == 3
    more = make("table11", tmp_path, rows=["stl"], sets=SETS, seeds=2)
    assert trained == ["simclr-0", "stl-0", "stl-1"]
    assert measured == {f"linear {SPEC}": 4, f"linear {SETS[0]}": 3, f"linear {SETS[1]}": 3}
    value = numbers(more, "stl")["in-domain"]
    assert isinstance(value, Number)
    assert value.std is not None
    assert value.seeds[0] == numbers(first, "stl")["in-domain"].value


def test_results_of_other_options_weights_or_images_are_measured_anew(tmp_path: Path, measured: Counter[str]) -> None:
    photographs = photograph(tmp_path / "photographs", count=20)
    given: dict[str, Any] = {"rows": ["simclr", "stl"], "sets": [str(photographs)]}
    make("table2", tmp_path, **given)
    make("table2", tmp_path, **given)
    assert measured.total() == 3

    report = make("table2", tmp_path, **given, options=Options(prediction=PredictionOptions(images=5)))
    assert measured.total() == 3
    assert not [line for line in report.deviations if line.startswith("prediction.")]

    options = Options(linear=LinearOptions(penalties=3))
    report = make("table2", tmp_path, **given, options=options)
    assert measured.total() == 6
    assert "linear.penalties: 45 -> 3" in report.deviations
    make("table2", tmp_path, **given)
    assert measured.total() == 6

    runs = tmp_path / "runs" / "demo"
    shutil.copy(runs / "simclr" / "seed-0" / "encoder.safetensors", runs / "stl" / "seed-0")
    report = make("table2", tmp_path, **given)
    assert measured.total() == 7
    assert numbers(report, "stl") == numbers(report, "simclr")

    Image.new("RGB", (8, 8)).save(photographs / "class0" / "0.png")
    make("table2", tmp_path, **given)
    assert measured.total() == 10


def test_the_same_call_goes_on_where_it_was_interrupted(
    tmp_path: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    counting = covary.reproduction.stages.train

    def interrupted(run: Run, out: Path, session: Any) -> Path:
        if run.method.name == "stl":
            raise Interrupted(15, 1)
        return counting(run, out, session)

    call = ["reproduce", "table3", "--rows", "simclr", "stl", "--data", SPEC, "--out", str(tmp_path), "--device", "cpu"]
    with monkeypatch.context() as patch:
        patch.setattr(covary.reproduction.stages, "train", interrupted)
        assert main(call) == 128 + 15
    assert "stopped by SIGTERM at step 1" in capsys.readouterr().err
    assert not (tmp_path / "table3.json").exists()
    assert main(call) == 0
    assert trained == ["simclr-0", "stl-0"]
    said = capsys.readouterr()
    assert "train  1 of 2 runs are there" in said.err
    assert said.out.startswith("# table3 at scale demo")


def test_sets_that_are_nowhere_are_left_out_and_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing(monkeypatch, SETS[1])
    report = make("table2", tmp_path, rows=["stl"], sets=SETS)
    assert [column.name for column in report.columns] == [SETS[0], "mean of sets"]
    assert f"left out, {SETS[1]}: {SETS[1]} is not on this machine" in report.deviations
    assert numbers(report, "stl")["mean of sets"] == numbers(report, "stl")[SETS[0]]


def test_missing_training_images_and_no_set_at_all_stop_before_training(
    tmp_path: Path, trained: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    missing(monkeypatch, SPEC)
    with pytest.raises(MissingData, match="shapes:n=32 is not on this machine"):
        make("table3", tmp_path)
    with pytest.raises(InputError, match=r"^No images are left to measure on: shapes:n=32 is not on this machine"):
        make("table2", tmp_path, data="shapes:n=40", sets=[SPEC])
    assert trained == []


def photograph(folder: Path, *, count: int) -> Path:
    """Write images of noise in two classes; return their folder."""
    draw = np.random.default_rng(0)
    for index in range(count):
        file = folder / f"class{index % 2}" / f"{index}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file)
    return folder


def missing(monkeypatch: pytest.MonkeyPatch, spec: str) -> None:
    """Let the images of a SPEC be nowhere to be had."""
    real = Task.check

    def check(self: Task, subject: Subject) -> None:
        if subject.data == spec:
            raise MissingData(f"{spec} is not on this machine")
        real(self, subject)

    monkeypatch.setattr(Task, "check", check)


def test_another_configuration_in_a_folder_is_refused_before_anything_is_trained(
    tmp_path: Path, trained: list[str]
) -> None:
    make("table3", tmp_path, rows=["stl"])
    with pytest.raises(InputError, match=r"stl/seed-0 holds a run with another configuration \(epochs: 1 -> 2\)"):
        make("table3", tmp_path, rows=["simclr", "stl"], epochs=2)
    assert trained == ["stl-0"]


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    make("table3", tmp_path, rows=["stl"])
    (file,) = (tmp_path / "runs/demo/stl/seed-0/results").iterdir()
    file.write_text("{}")
    with pytest.raises(InputError, match=rf"^{file} holds no result \(.*\); remove it, and it is measured again\.$"):
        make("table3", tmp_path, rows=["stl"])


def test_the_cost_of_a_step_is_measured_once_against_simclr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = covary.reproduction.measuring.cost, []

    def cost(run: Run, **given: Any) -> Any:
        calls.append((run.method.name, given["reference"].method.name))
        return real(run, **{**given, "steps": 2, "warmup": 0})

    monkeypatch.setattr(covary.reproduction.measuring, "cost", cost)
    report = make("table1", tmp_path, data=None, rows=["augself", "stl"])
    assert calls == [("augself", "simclr"), ("stl", "simclr")]
    assert [column.name for column in report.columns][:2] == ["seconds", "ratio to SimCLR"]
    assert numbers(report, "stl", "paper")["ratio to SimCLR"].value == 1.11
    assert not (tmp_path / "runs").exists()
    assert "steps timed: 1000 after 1000 -> 10 after 2" in report.deviations
    make("table1", tmp_path, data=None, rows=["augself", "stl"])
    assert len(calls) == 2


def test_a_figure_is_drawn_and_its_clusters_are_measured(tmp_path: Path) -> None:
    report = make("figure4", tmp_path)
    assert [column.name for column in report.columns[:2]] == ["crop, silhouette", "crop, trustworthiness"]
    assert numbers(report, "stl").keys() == {column.name for column in report.columns}
    assert [line.whose for line in report.lines] == [OURS]
    with Image.open(tmp_path / "figure4.png") as picture:
        assert min(picture.size) > 300
    assert "![" in (tmp_path / "figure4.md").read_text()
    assert 'src="data:image/png;base64,' in (tmp_path / "figure4.html").read_text()


@pytest.mark.parametrize(("figure", "needed"), [("figure1", 31), ("figure4", 155)])
def test_a_figure_of_too_few_test_images_is_refused_before_training(
    figure: str, needed: int, tmp_path: Path, trained: list[str]
) -> None:
    folder = tmp_path / "photographs"
    photograph(folder / "train", count=60)
    photograph(folder / "test", count=needed - 1)
    with pytest.raises(InputError, match=f"has {needed - 1} test images; the figure needs {needed} or more, give"):
        make(figure, tmp_path / "out", data=str(folder))
    assert trained == []


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["tabel5"], "table 'tabel5' is unknown; expected one of table1, *. Did you mean 'table5'?"),
        (
            ["table5", "--scale", "dmo"],
            "scale 'dmo' is unknown; expected one of demo, small, paper. Did you mean 'demo'?",
        ),
        (["table5", "--rows", "stil"], "row 'stil' is unknown; expected one of simclr, *. Did you mean 'stl'?"),
        (["table5", "--seeds", "0"], "seeds is 0; expected 1 or more."),
        (["table5", "--epochs", "0"], "epochs is 0; expected 1 or more."),
        (["table5", "--sets", "cifar10"], "table5 has no use for sets; leave it out."),
        (["table2", "--detection", "voc"], "table2 has no use for detection; leave it out."),
        (["table1", "--epochs", "3"], "table1 has no use for epochs; leave it out."),
        (["table4"], "Object detection at this scale needs images with boxes; name a * with --detection FOLDER."),
        (["table5", "--prediction.probes", "mlp"], "prediction probes leave out linear, *; add it."),
        (
            ["table6", "--equivariance.predictor", "own"],
            "equivariance predictor is own, but untrained weights, * by it.",
        ),
        (["table2", "--sets"], "sets is empty; name one or more sets of images, or leave it out."),
        (["table3", "--data", "cifr10"], "the data 'cifr10' is neither a folder nor a known name; *"),
        (["table2", "--sets", "cifr10"], "the data 'cifr10' is neither a folder nor a known name; *"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], trained: list[str]
) -> None:
    assert main(["reproduce", *arguments, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    start, _, end = line.partition("*")
    assert said.removeprefix("covary: ").startswith(start)
    assert said.endswith(f"{end}\n")
    assert said.count("\n") == 1
    assert trained == []
    assert not list(tmp_path.glob("out/*"))


def test_several_processes_are_refused_with_the_command_that_trains_on_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("RANK", "0"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "0")):
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match="reproduce is one process; train its runs on several with covary pretrain"):
        make("table3", tmp_path)
