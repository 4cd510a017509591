"""Exports: their lines load them, nothing of the machine is in them, mistakes leave nothing behind."""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from covary.cli import main
from covary.errors import InputError
from covary.evaluation.result import Result, write
from covary.evaluation.source import resolve
from covary.export import FORMATS, Exported, export
from covary.methods import STL, CodeMover
from covary.methods.stl import STLMethod
from covary.rundir import RunDir
from tests.export.conftest import MakeRun
from tests.tiny import small


def by_its_lines(done: Exported) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec("\n".join(done.lines), names)
    return names


@pytest.mark.parametrize(
    ("encoder", "stem", "format"),
    [
        ("resnet18", "imagenet", "torchvision"),
        ("resnet18", "cifar", "torchvision"),
        ("resnet18", "cifar", "timm"),
        ("timm:test_resnet", "imagenet", "timm"),
        ("timm:test_resnet", "imagenet", "huggingface"),
        ("resnet8", "cifar", "onnx"),
    ],
)
@torch.no_grad()
def test_its_lines_load_it(make_run: MakeRun, tmp_path: Path, encoder: str, stem: str, format: str) -> None:
    run = make_run(encoder, stem=stem)
    before = torch.random.get_rng_state()
    done = export(run, format=format, out=tmp_path / f"a folder/out{FORMATS[format].suffix}")
    assert torch.equal(torch.random.get_rng_state(), before)
    images = torch.randn(3, 3, 32, 32)
    model = by_its_lines(done)["model"]
    found = torch.as_tensor(model(images.numpy() if format == "onnx" else images))
    torch.testing.assert_close(found, resolve(run).encoder.eval()(images), rtol=0, atol=1e-5)
    assert done.difference <= 1e-5
    assert done.bytes == sum(f.stat().st_size for f in [done.path, *done.path.glob("*")] if f.is_file())
    assert [path.name for path in done.path.parent.iterdir()] == [done.path.name]


@pytest.mark.parametrize("rank", [None, 3])
@torch.no_grad()
def test_the_transformation_without_covary(make_run: MakeRun, tmp_path: Path, rank: int | None) -> None:
    run = make_run(method=replace(small(STL), rank=rank))
    done = export(run, format="transformation", out=tmp_path / "t.safetensors")
    names, method = by_its_lines(done), resolve(run).method
    assert isinstance(method, STLMethod)
    mover = method.mover()
    assert isinstance(mover, CodeMover)
    before, after = torch.randn(2, 5, 96)
    code = names["read"](before, after)
    torch.testing.assert_close(code, mover.code(before, after))
    torch.testing.assert_close(names["move"](code, before), mover.move(code, before))
    with safe_open(done.path, framework="pt") as file:
        assert json.loads(file.metadata()["description"]).keys() == {"code", "f_T", "moved"}


def test_a_folder_for_the_hub(make_run: MakeRun, tmp_path: Path) -> None:
    secret = tmp_path / "my|`photos"
    run = make_run(method=small(STL))
    content = json.loads((run / "run.json").read_text())
    content["run"]["data"] = str(secret)
    (run / "run.json").write_text(json.dumps(content))
    result = Result(
        task="knn", protocol="", source=str(run), data=str(secret), metrics={"top1": 0.51239, "k": 20.0},
        seconds=0.0, covary="0", commit=None,
    )  # fmt: skip
    write(RunDir(run).result_file("knn", str(secret)), [result])
    out = export(run, format="huggingface", out=tmp_path / "hub").path
    assert sorted(os.listdir(out)) == ["README.md", "config.json", "model.safetensors", "transformation.safetensors"]
    card = (out / "README.md").read_text()
    for file in out.glob("*.safetensors"):
        assert f"| {file.name} | `{hashlib.sha256(file.read_bytes()).hexdigest()}` |" in card
    assert "| knn | my\\|\\`photos | top1 | 0.5124 |" in card
    assert "license: " in card
    assert "choose a licence" in card
    assert not [file for file in out.iterdir() if str(tmp_path).encode() in file.read_bytes()]
    preprocessing = json.loads((out / "config.json").read_text())["pretrained_cfg"]
    assert preprocessing["input_size"] == [3, 32, 32]
    assert (preprocessing["interpolation"], preprocessing["crop_pct"]) == ("bicubic", 1.0)


def test_a_graph_tells_its_images_and_nothing_of_the_machine(make_run: MakeRun, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    run = make_run("resnet8", stem="cifar")
    out = export(run, format="onnx", out=tmp_path / "e.onnx").path
    model, source = onnx.load(out), resolve(run)
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(told["mean"]) == list(source.mean or ())
    assert (told["image_size"], told["encoder"]) == ("32", "resnet8")
    assert b"site-packages" not in out.read_bytes()
    assert b"resnet.py" not in out.read_bytes()


@pytest.mark.parametrize(
    ("encoder", "stem", "format", "told"),
    [
        ("resnet8", "cifar", "torchvision", "expected --format onnx."),
        ("timm:test_resnet", "imagenet", "torchvision", "expected --format timm, huggingface, onnx."),
        ("resnet18", "cifar", "huggingface", "expected --format torchvision, timm, onnx."),
        ("resnet8", "cifar", "transformation", "expected a run of stl"),
        ("resnet8", "cifar", "tim", "Did you mean 'timm'?"),
    ],
)
def test_a_format_without_a_form(
    make_run: MakeRun, tmp_path: Path, encoder: str, stem: str, format: str, told: str
) -> None:
    run = make_run(encoder, stem=stem)
    suffix = FORMATS[format].suffix if format in FORMATS else ""
    with pytest.raises(InputError) as caught:
        export(run, format=format, out=tmp_path / f"out{suffix}")
    assert told in str(caught.value)
    assert not list(tmp_path.glob("*out*"))


def test_mistakes_are_one_line(make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, taken = make_run(), tmp_path / "taken.safetensors"
    taken.write_text("mine")

    def says(path: Path, out: Path) -> str:
        assert main(["export", str(path), "--format", "timm", "--out", str(out)]) == 2
        line = capsys.readouterr().err
        assert line.count("\n") == 1
        return line

    assert "exists and is not replaced" in says(run, taken)
    assert taken.read_text() == "mine"
    assert "expected a file that ends in .safetensors" in says(run, tmp_path / "out.pt")
    assert "cannot be written" in says(run, taken / "out.safetensors")
    assert "is no run folder" in says(tmp_path / "nothing", tmp_path / "out.safetensors")
    (run / "encoder.safetensors").unlink()
    assert "is not finished" in says(run, tmp_path / "out.safetensors")


def test_missing_packages(make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_run("resnet8")
    monkeypatch.setattr("covary.export.packages.importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"onnx and onnxruntime and onnxscript; .*'covary\[export\]'"):
        export(run, format="onnx", out=tmp_path / "e.onnx")


@pytest.mark.parametrize("format", ["timm", "huggingface", "onnx"])
def test_another_network_is_not_written(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    run = make_run()
    monkeypatch.setattr("covary.export.difference.of_encoders", lambda *given, **options: float("nan"))
    with pytest.raises(InputError, match="nothing was written"):
        export(run, format=format, out=tmp_path / f"out{FORMATS[format].suffix}")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_it_prints_the_lines(make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "e.safetensors"
    assert main(["export", str(make_run()), "--format", "timm", "--out", str(out)]) == 0
    first, *rest = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{out}  timm  ")
    assert "largest difference 0.0e+00" in first
    names: dict[str, Any] = {}
    exec("\n".join(line[2:] for line in rest), names)
    assert not names["model"].training
