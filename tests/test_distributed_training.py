"""``torchrun`` with two gloo processes: the run of one process, resumed, refused, all through the command line."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import run_ranks
from safetensors.torch import load_file

import covary
import covary.dist
import covary.resuming
import covary.step
import covary.training
from covary.cli import main
from covary.errors import InputError
from covary.run import Run
from covary.rundir import RunDir
from covary.types import Views


def options(part: str, values: dict[str, str]) -> list[str]:
    return [word for name, value in values.items() for word in (f"--{part}.{name}", value)]


ANY = [
    *("pretrain", "--data", "shapes:n=32", "--image-size", "8", "--encoder", "resnet8", "--stem", "cifar"),
    *("--batch-size", "8", "--epochs", "10", "--optim.lr", "0.003", "--device", "cpu", "--precision", "fp32"),
    *("--knn-epochs", "-1", "--log-steps", "1"),
]
COMMAND = [*ANY, "--method.base.head-hidden", "16", "--method.code-hidden", "16", "--method.code", "8"]
HEADS = {"head-hidden": "16", "embedding": "8"}
TAUGHT = {**HEADS, "predictor-hidden": "8", "momentum": "0.9"}
METHODS: dict[str, list[str]] = {
    "stl": COMMAND,
    "stl on byol": [*COMMAND, "--base", "byol", *options("method.base", TAUGHT)],
    "barlow-twins": [*ANY, "--method", "barlow-twins", *options("method", HEADS)],
    "vicreg": [*ANY, "--method", "vicreg", *options("method", HEADS)],
    "moco": [*ANY, "--method", "moco", *options("method", TAUGHT)],
    "augself": [*ANY, "--method", "augself", "--targets", "all", *options("method", {"hidden": "8"})],
    "from a user's own file": [*ANY, "--method", str(Path(__file__).parents[1] / "examples" / "own_method.py")],
}
TORCHRUN = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m", "covary.cli"]


def start(out: Path, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *TORCHRUN, *COMMAND, "--out", str(out), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(covary.__file__).parents[1]), "OMP_NUM_THREADS": "1"},
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    with process:
        try:
            out, err = process.communicate(timeout=200)
        finally:
            process.kill()
    return process.returncode, out, err


def weights(out: Path) -> dict[str, torch.Tensor]:
    return load_file(out / "method.safetensors")


def lines(out: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def steps(out: Path) -> list[float]:
    return [line["step"] for line in lines(out)]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run in two processes, uninterrupted."""
    out = tmp_path_factory.mktemp("two")
    code, printed, err = finish(start(out))
    assert code == 0, err
    assert printed == f"{out}\n"
    assert err.count("step 40 ") == 1
    return out


def train_in_float64(out: str) -> dict[str, dict[str, torch.Tensor]]:
    """Run every method's command among processes that have met, weights and views in float64; return the weights."""
    build, make_views = covary.training.build, covary.step.make_views

    @contextmanager
    def already_joined(device: str) -> Iterator[torch.device]:
        yield torch.device(device)

    def build_double(run: Run, device: torch.device) -> Any:
        method, optimizer = build(run, device)
        method.double()
        return method, optimizer

    def make_double(*arguments: Any, **options: Any) -> Views:
        views = make_views(*arguments, **options)
        return replace(views, images=views.images.double())

    covary.dist.processes = already_joined
    covary.training.build = build_double
    covary.step.make_views = make_double
    for method, command in METHODS.items():
        assert main([*command, "--out", f"{out}/{method}", "--epochs", "3"]) == 0
    return {method: weights(Path(out, method)) for method in METHODS}


@pytest.fixture(scope="module")
def one_and_two(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, torch.Tensor]]]:
    """What one process and two make of every method in twelve steps, by method and name of the weight."""
    return [run_ranks(train_in_float64, n, str(tmp_path_factory.mktemp(f"{n}")))[0] for n in (1, 2)]


@pytest.mark.xdist_group("dist")
@pytest.mark.parametrize("method", METHODS)
def test_two_processes_train_what_one_trains(
    one_and_two: list[dict[str, dict[str, torch.Tensor]]], method: str
) -> None:
    """In float64: in float32 differences of rounding double with every step or two."""
    one, two = (weights[method] for weights in one_and_two)
    assert one.keys() == two.keys()
    assert any("teacher." in name for name in one) == (method in ("stl on byol", "moco"))
    for name, tensor in one.items():
        torch.testing.assert_close(
            two[name], tensor, rtol=1e-8, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}"
        )


def test_torchrun_starts_as_one_process_does(two: Path, tmp_path: Path) -> None:
    assert main([*COMMAND, "--out", str(tmp_path)]) == 0
    for mine, theirs in zip(lines(tmp_path)[:3], lines(two)[:3], strict=True):
        for name in ("loss", "inv", "equi", "trans", "spread", "gradient"):
            assert theirs[name] == pytest.approx(mine[name], rel=1e-4), (mine["step"], name)


def test_one_process_writes_the_metrics_and_both_count(two: Path) -> None:
    assert steps(two) == list(range(1, 41))
    saved = json.loads((two / "run.json").read_text())
    assert saved["environment"]["processes"] == 2


def test_a_stopped_run_goes_on_to_the_same_bits(two: Path, tmp_path: Path) -> None:
    process = start(tmp_path, "--checkpoint-steps", "3")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("epoch 1  step 2 "):
            break
    process.send_signal(signal.SIGTERM)  # torchrun hands it to every process
    code, _, _ = finish(process)
    assert code != 0
    checkpoint, _ = RunDir(tmp_path).newest_checkpoint()
    assert checkpoint is not None
    assert 2 <= checkpoint.step < 40
    assert not (tmp_path / "encoder.safetensors").exists()

    code, _, err = finish(start(tmp_path))
    assert code == 0, err
    assert f"continuing after step {checkpoint.step}\n" in err
    assert steps(tmp_path) == list(range(1, 41))
    again, whole = weights(tmp_path), weights(two)
    assert [name for name in whole if not torch.equal(again[name], whole[name])] == []


def found_elsewhere(out: str) -> list[str]:
    said = []
    for begun, step in ((True, 4), (True, 4 + covary.dist.rank()), (covary.dist.is_main(), 0)):
        try:
            covary.resuming.check_same_checkpoint(begun, step, RunDir(Path(out)))
        except InputError as error:
            said.append(str(error))
    return said


def test_processes_that_find_different_checkpoints_are_refused(tmp_path: Path) -> None:
    for said in run_ranks(found_elsewhere, 2, str(tmp_path)):
        assert ["(step 4, step 5)" in said[0], "(step 0, no run)" in said[1], len(said)] == [True, True, 2]


def test_a_batch_that_does_not_split_is_refused_once(tmp_path: Path) -> None:
    code, _, err = finish(start(tmp_path / "out", "--batch-size", "6"))
    assert code != 0
    assert [line for line in err.splitlines() if line.startswith("covary: ")] == [
        "covary: batch_size 6 does not split over 2 processes; expected a multiple of 4."
    ]
    assert "exitcode  : 2 " in err
    assert str(Path(covary.__file__).parent) not in err  # no traceback of ours
    assert not (tmp_path / "out").exists()
