"""A method from a user's own file, from the command line and from Python."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

import covary
from covary.cli import main
from covary.methods import METHODS, load_method
from covary.training import Session

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_method.py"
COMMAND = [
    *("pretrain", "--data", "shapes:n=16", "--image-size", "8", "--encoder", "resnet8", "--batch-size", "8"),
    *("--epochs", "1", "--device", "cpu", "--knn-epochs", "-1"),
    *("--method", str(EXAMPLE), "--method.weight-uniform", "0.5"),
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("own")
    assert main([*COMMAND, "--out", str(out)]) == 0
    return out


def test_is_trained_and_saved_under_its_name(run: Path) -> None:
    saved = json.loads((run / "run.json").read_text())["run"]
    assert saved["method"] == {"name": "align-uniform", "weight_uniform": 0.5}
    (line,) = (json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())
    assert line["step"] == 2
    assert line["loss"] == pytest.approx(line["align"] + 0.5 * line["uniform"], rel=1e-5)


def test_the_same_command_again_finds_it_done(run: Path) -> None:
    before = (run / "method.safetensors").read_bytes()
    assert main([*COMMAND, "--out", str(run)]) == 0
    assert (run / "method.safetensors").read_bytes() == before


def test_another_option_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*COMMAND, "--method.weight-uniform", "2", "--out", str(run)]) == 2
    assert "method.weight_uniform: 0.5 -> 2.0" in capsys.readouterr().err
    assert main([*COMMAND, "--method.weight", "2", "--out", str(run)]) == 2
    assert "Unknown option: --method.weight" in capsys.readouterr().err


def test_its_options_have_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*COMMAND, "--help"])
    printed = capsys.readouterr().out
    assert "--method.weight-uniform" in printed
    assert "Weight of the uniformity loss." in printed


def test_the_run_is_evaluated(run: Path) -> None:
    assert main(["evaluate", str(run), "--task", "knn", "--data", "shapes:n=24"]) == 0
    (result,) = (run / "results").iterdir()
    assert 0 <= json.loads(result.read_text())["metrics"]["top1"] <= 1


def test_from_python_it_is_the_same_run(run: Path, tmp_path: Path) -> None:
    config: Any = load_method(str(EXAMPLE), known=METHODS)
    options: Any = {
        "data": "shapes:n=16",
        "image_size": 8,
        "encoder": "resnet8",
        "batch_size": 8,
        "epochs": 1,
        "session": Session(device="cpu", knn_epochs=-1),
    }
    by_value = covary.pretrain(method=config(weight_uniform=0.5), out=tmp_path / "value", **options)
    assert (by_value / "encoder.safetensors").read_bytes() == (run / "encoder.safetensors").read_bytes()
    by_file = covary.pretrain(method=str(EXAMPLE), out=tmp_path / "file", **options)
    saved = json.loads((by_file / "run.json").read_text())["run"]
    assert saved["method"] == {"name": "align-uniform", "weight_uniform": 1.0}
    assert load_file(by_file / "method.safetensors").keys() == load_file(by_value / "method.safetensors").keys()
