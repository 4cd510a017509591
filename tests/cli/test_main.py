"""The commands as processes and functions: help, exit codes, signals, the dry run."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import covary
import covary.cli.pretrain
from covary import rundir
from covary.cli import complain, main
from covary.rundir import RunDir
from covary.training import TrainingError

ROOT = str(Path(covary.__file__).parents[1])
TINY = [
    *("--data", "shapes:n=16", "--image-size", "8", "--encoder", "resnet8", "--batch-size", "8"),
    *("--device", "cpu", "--knn-epochs", "-1"),
]
SMALL_HEADS = ["--method.base.head-hidden", "8", "--method.code-hidden", "8", "--method.code", "4"]


def pretrain(out: Path, *more: str) -> list[str]:
    return ["pretrain", *TINY, *SMALL_HEADS, "--out", str(out), *more]


def run_command(arguments: list[str], said: Path) -> None:
    """Be the process of a command whose standard error goes into a file."""
    descriptor = os.open(said, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(descriptor, sys.stderr.fileno())
    torch.set_num_threads(1)
    sys.exit(main(arguments))


@contextmanager
def process(arguments: list[str], said: Path) -> Iterator[BaseProcess]:
    """Start a command in a process of its own, forked from a server that has imported torch already."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["covary.cli.pretrain"])
    child = server.Process(target=run_command, args=(arguments, said))
    child.start()
    try:
        yield child
    finally:
        child.kill()
        child.join()


def wait_for(text: str, said: Path, child: BaseProcess) -> None:
    """Wait until the process has said a text."""
    while not (said.exists() and text in said.read_text()):
        assert child.is_alive(), said.read_text() if said.exists() else "nothing was said"
        time.sleep(0.01)


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys, covary; from covary.cli import main; code = main(['--help']) or main(['pretrian']) - 2;"
        "print(sorted({'torch', 'torchvision', 'numpy', 'tyro', 'matplotlib', 'PIL'} & set(sys.modules)));"
        "sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ROOT}
    )
    assert done.returncode == 0, done.stderr
    assert "usage: covary COMMAND" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("arguments", [[], ["-h"], ["--help"]])
def test_help_names_every_command(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert all(f"\n  {command} " in printed for command in covary.cli.COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"{covary.__version__}\n"


@pytest.mark.parametrize(
    ("command", "texts"),
    [
        (
            "pretrain",
            ("--data", "--method.weight-equi", "Weight of the equivariance loss", "--augment.crop.scale", "--dry-run"),
        ),
        ("evaluate", ("SOURCE", "--task", "--linear.penalties", "--knn.k", "Encoder that a weights file belongs to")),
        ("bench", ("--settings", "resnet50@224", "--parts", "augmentation", "Images of a step", "--repeats")),
    ],
)
def test_help_of_a_command_lists_options_with_their_docs(
    command: str, texts: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert [text for text in texts if text not in printed] == []


def test_help_lists_the_options_of_the_chosen_method(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["pretrain", "--method", "simclr", "--help"])
    printed = capsys.readouterr().out
    assert "--method.temperature" in printed
    assert "--method.weight-equi" not in printed


def test_a_dry_run_shows_everything_and_trains_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*pretrain(tmp_path / "out", "--epochs", "3"), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    for text in ('"encoder": "resnet8"', '"stem": "cifar"', "steps        6 (2 an epoch)", "parameters", "memory"):
        assert text in printed
    picture = tmp_path / "out" / "figures" / "first-batch.png"
    with Image.open(picture) as image:
        assert min(image.size) > 200
        assert len(image.convert("RGB").getcolors(1 << 24) or []) > 50
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["figures"]
    assert main(pretrain(tmp_path / "out", "--epochs", "1")) == 0  # nothing stands in the way of the run


@pytest.mark.parametrize("row", ["e-ssl", "augself-all", "sie", "stl+augmix", "byol-stl", "barlow-twins-equimod"])
def test_a_dry_run_of_every_kind_of_row(row: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = ("--data", "shapes:n=64", "--batch-size", "32")
    assert main(["pretrain", "--recipe", f"small/{row}", *images, "--out", str(tmp_path), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "steps        20 (2 an epoch)" in printed
    assert ("teacher" in printed) == row.startswith("byol")


def test_a_dry_run_without_the_images_shows_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COVARY_DATA", str(tmp_path / "nothing"))
    assert main(["pretrain", "--recipe", "imagenet100/stl", "--out", str(tmp_path / "out"), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "parameters   5" in printed
    assert "images       " in printed
    assert "needs the ImageNet folder" in printed
    assert "steps" not in printed.split("parameters")[1]


def test_parameters_of_the_dry_run_are_those_of_the_method(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from safetensors.torch import load_file

    assert main([*pretrain(tmp_path, "--epochs", "1"), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert main(pretrain(tmp_path, "--epochs", "1")) == 0
    buffers = ("running_mean", "running_var", "num_batches_tracked")
    tensors = load_file(tmp_path / "method.safetensors")
    count = sum(tensor.numel() for name, tensor in tensors.items() if not name.endswith(buffers))
    assert f"parameters   {count:,} (encoder " in printed


def test_the_last_line_printed_is_the_run_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(pretrain(tmp_path / "out", "--epochs", "1")) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out'}\n"


def test_joint_pass_changes_the_first_loss(tmp_path: Path) -> None:
    options = {"default": [], "apart": ["--no-joint-pass"], "joint": ["--joint-pass"]}
    losses: dict[str, float] = {}
    for name, given in options.items():
        assert main(pretrain(tmp_path / name, "--epochs", "1", "--log-steps", "1", *given)) == 0
        first = json.loads((tmp_path / name / "metrics.jsonl").read_text().splitlines()[0])
        assert first["step"] == 1
        losses[name] = first["loss"]
    assert losses["default"] == losses["apart"] != pytest.approx(losses["joint"], rel=1e-4)


def test_a_run_that_cannot_go_on_ends_with_1(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*arguments: Any) -> Path:
        raise TrainingError("the loss\nis not finite")

    monkeypatch.setattr(covary.cli.pretrain, "train", fail)
    assert main(pretrain(tmp_path)) == 1
    assert capsys.readouterr() == ("", "covary: the loss is not finite\n")


def test_a_full_disk_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, content: bytes) -> None:
        if path.name == "state.safetensors":
            raise OSError(28, "No space left on device")
        path.write_bytes(content)

    with monkeypatch.context() as patch:
        patch.setattr(rundir, "_write_synced", full)
        assert main(pretrain(tmp_path, "--epochs", "1", "--tracking.no-progress")) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("covary: The checkpoint of step 2 cannot be written")
    assert "(No space left on device)" in line
    assert main(pretrain(tmp_path, "--epochs", "1")) == 0


def test_one_process_of_a_machine_complains(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    complain("a")
    monkeypatch.setenv("LOCAL_RANK", "0")
    complain("b")
    monkeypatch.setenv("LOCAL_RANK", "1")
    complain("c")
    monkeypatch.delenv("LOCAL_RANK")
    monkeypatch.setenv("SLURM_LOCALID", "3")
    complain("d")
    assert capsys.readouterr().err == "covary: a\ncovary: b\n"


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_process_after_a_checkpoint_and_the_command_goes_on(
    tmp_path: Path, signum: signal.Signals
) -> None:
    arguments, said = pretrain(tmp_path / "out", "--epochs", "2000", "--log-steps", "1"), tmp_path / "said"
    with process(arguments, said) as child:
        wait_for("epoch 2 ", said, child)
        os.kill(child.pid or 0, signum)
        child.join(timeout=60)
        assert child.exitcode == 128 + signum
    checkpoint, damaged = RunDir(tmp_path / "out").newest_checkpoint()
    assert checkpoint is not None
    assert damaged == []
    last = said.read_text().splitlines()[-1]
    assert last == f"covary: stopped by {signum.name} at step {checkpoint.step}; run the same command to continue"
    said.unlink()
    with process(arguments, said) as child:
        wait_for(f"continuing after step {checkpoint.step:,}\n", said, child)


def test_an_error_of_the_system_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: list[str]) -> int:
        raise PermissionError(13, "Permission denied", "place/file")

    monkeypatch.setattr("covary.cli.report.main", fail)
    assert main(["report"]) == 1
    assert capsys.readouterr().err == "covary: place/file: Permission denied\n"


def test_a_reader_that_ends_early_ends_the_command_quietly() -> None:
    command = f"'{sys.executable}' -m covary.cli pretrain --help"
    done = subprocess.run(["bash", "-c", f"{command} | true; echo ${{PIPESTATUS[0]}}"], capture_output=True, text=True)
    assert (done.stdout, done.stderr) in (("141\n", ""), ("0\n", ""))


def test_two_image_sizes_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "pretrain",
        "--data",
        "shapes",
        "--image-size",
        "16",
        "--augment.size",
        "32",
        "--out",
        str(tmp_path / "run"),
    ]
    assert main(words) == 2
    assert (
        "--image-size is 16 and --augment.size 32, which is the same thing; give one of them."
        in capsys.readouterr().err
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("words", [["--help"], ["--version"], []])
def test_a_reader_that_has_ended_is_no_fault(words: list[str]) -> None:
    code = "import sys; from covary.cli import main; sys.exit(main(sys.argv[1:]))"
    reading, writing = os.pipe()
    os.close(reading)
    environment = {**os.environ, "PYTHONPATH": ROOT}
    command = [sys.executable, "-c", code, *words]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, env=environment)
    os.close(writing)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")
