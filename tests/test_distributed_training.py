"""``torchrun`` with two gloo processes: the run of one process, resumed, refused, all through the command line."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import covary
from covary.cli import main
from covary.rundir import RunDir

COMMAND = [
    *("pretrain", "--data", "shapes:n=32", "--image-size", "8", "--encoder", "resnet8", "--stem", "cifar"),
    *(
        "--batch-size",
        "8",
        "--epochs",
        "10",
        "--optim.lr",
        "0.003",
        "--device",
        "cpu",
        "--precision",
        "fp32",
        "--knn-epochs",
        "-1",
    ),
    *("--method.head-hidden", "16", "--method.code-hidden", "16", "--method.code", "8", "--log-steps", "1"),
]
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


def steps(out: Path) -> list[int]:
    return [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run in two processes, uninterrupted."""
    out = tmp_path_factory.mktemp("two")
    code, printed, err = finish(start(out))
    assert code == 0, err
    assert printed == f"{out}\n"
    assert err.count("step 40 ") == 1
    return out


def test_two_processes_train_what_one_trains(two: Path, tmp_path: Path) -> None:
    assert main([*COMMAND, "--out", str(tmp_path)]) == 0
    one = weights(tmp_path)
    for name, tensor in weights(two).items():
        if tensor.is_floating_point():
            difference = (tensor - one[name]).norm() / one[name].norm().clamp(min=1e-6)
            assert difference < 1e-4, (name, difference)
        else:
            assert torch.equal(tensor, one[name]), name
    start_of_training = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    assert start_of_training["gradient"] > 0  # there was something to agree on


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


def test_a_batch_that_does_not_split_is_refused_once(tmp_path: Path) -> None:
    code, _, err = finish(start(tmp_path / "out", "--batch-size", "6"))
    assert code != 0
    lines = [line for line in err.splitlines() if line.startswith("covary: ")]
    assert lines == ["covary: batch_size 6 does not split over 2 processes; expected a multiple of 4."]
    assert "exitcode  : 2 " in err
    assert "covary/" not in err.replace(str(tmp_path), "")  # no traceback of ours
    assert not (tmp_path / "out").exists()
