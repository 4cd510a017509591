"""D10: what is exported loads without covary, by the lines that were printed, and gives the same numbers."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from itertools import count as from_zero
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

import covary
from covary.evaluation.source import resolve
from covary.export import FORMATS, Exported, export
from covary.export.libraries import Network
from covary.export.trained import Trained
from covary.methods import CodeMover
from covary.methods.simclr import SimCLR
from covary.methods.stl import STL, STLMethod
from covary.nets.resnet import Stem
from covary.training import Session
from reliability import reader
from reliability.row import Count, Figure, Row, replaced

LIMITS = {"onnx": 1e-4}
LIMIT = 1e-5
WEIGHTS_ALONE = (".safetensors", ".onnx", ".json", ".md")
PICKLES = (b"\x80", b"PK\x03\x04")  # a pickle's first byte, and a zip's as torch.save writes it
BASE = SimCLR(head_hidden=8, embedding=8)
CODES = partial(STL, base=BASE, code=4, code_hidden=8)


@dataclass(frozen=True)
class Case:
    """A run of one step, and the formats that its encoder has."""

    encoder: str
    stem: Stem
    size: int
    method: STL | SimCLR
    formats: tuple[str, ...]


CASES = (
    Case("timm:test_resnet", "imagenet", 48, CODES(), ("timm", "huggingface", "transformation")),
    Case("resnet18", "imagenet", 32, CODES(), ("torchvision", "timm", "huggingface", "transformation")),
    Case("resnet18", "cifar", 16, CODES(rank=3), ("torchvision", "timm", "transformation", "onnx")),
    Case("resnet8", "imagenet", 32, CODES(), ("transformation", "onnx")),
    Case("resnet8", "cifar", 16, CODES(rank=2), ("transformation",)),
    Case("timm:test_vit", "imagenet", 160, CODES(), ("timm", "huggingface", "transformation", "onnx")),
    Case("timm:test_efficientnet", "imagenet", 64, BASE, ("timm", "huggingface")),
    Case("timm:test_convnext", "imagenet", 64, BASE, ("timm", "huggingface")),
    Case("timm:test_byobnet", "imagenet", 64, BASE, ("timm",)),
    Case("timm:test_mambaout", "imagenet", 64, BASE, ("timm", "huggingface")),
)
EXPORTS = sum(len(case.formats) for case in CASES)


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Export runs in every format that they have; load each where covary is not, and compare."""
    seen, largest = Count(), dict.fromkeys(FORMATS, 0.0)
    for run, case, format in exports(folder, seed):
        if seen.trials == trials:
            return seen.figure(**{f"largest difference as {name}": value for name, value in largest.items()})
        name = f"{case.encoder} {case.stem} as {format}"
        try:
            done = export(run, format=format, out=run / f"{format}{FORMATS[format].suffix}")
        except Exception as error:  # of a mutant: an export that fails is one that does not hold
            seen.add(name, held=False, seen=repr(error))
            continue
        found = load(done, given(run, done))
        largest[format] = max(largest[format], found.get("difference", 0.0))
        held = (
            found.get("difference", 1.0) <= LIMITS.get(format, LIMIT)
            and not found["unpickled"]
            and holds_no_pickle(done.path)
            and hashes_are_right(done.path)
        )
        seen.add(name, held=held, fired="error" in found or (found["clean"] and found["spread"] > 1e-4), seen=found)
    raise AssertionError("there is always a next export")


def exports(folder: Path, seed: int) -> Iterator[tuple[Path, Case, str]]:
    """Yield runs of one step, each with each of its formats; after the last the first again, with another seed."""
    for index in from_zero():
        case = CASES[index % len(CASES)]
        run = covary.pretrain(
            data="shapes:n=8",
            method=case.method,
            out=folder / f"run-{index}",
            encoder=case.encoder,
            stem=case.stem,
            image_size=case.size,
            batch_size=8,
            epochs=1,
            seed=seed + index // len(CASES),
            session=Session(device="cpu", knn_epochs=-1),
        )
        yield from ((run, case, format) for format in case.formats)


@torch.no_grad()
def given(run: Path, done: Exported) -> Path:
    """Write what an export is asked, and what covary itself makes of it."""
    source, draw = resolve(run), torch.Generator().manual_seed(0)
    size = source.image_size
    assert size
    if done.path.name.startswith("transformation"):
        method = source.method
        assert isinstance(method, STLMethod)
        mover = method.mover()
        assert isinstance(mover, CodeMover)
        width = method.get_submodule("encoder")(torch.zeros(2, 3, size, size)).shape[1]
        before, after = torch.randn(2, 9, width, generator=draw)
        code = mover.code(before, after)
        numbers = {"before": before, "after": after, "code": code, "moved": mover.move(code, before)}
    else:
        images = {f"images.{n}": torch.randn(n, 3, size, size, generator=draw) for n in (1, 5)}
        features = {name.replace("images", "features"): source.encoder.eval()(x) for name, x in images.items()}
        numbers = images | features
    file = run / "given.safetensors"
    safetensors.torch.save_file({name: x.contiguous() for name, x in numbers.items()}, file)
    return file


def load(done: Exported, given: Path) -> dict[str, Any]:
    """Let the process without covary load an export by its lines, and use it."""
    process = started()
    assert process.stdin
    assert process.stdout
    process.stdin.write(json.dumps({"lines": done.lines, "given": str(given)}) + "\n")
    process.stdin.flush()
    return {"unpickled": 0, **json.loads(process.stdout.readline())}


@cache
def started() -> subprocess.Popen[str]:
    """Start the process without covary; it ends with this one, when nothing more can come to it."""
    command = [sys.executable, "-I", reader.__file__]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def files(path: Path) -> list[Path]:
    """Return the files of an export."""
    return sorted(path.iterdir()) if path.is_dir() else [path]


def holds_no_pickle(path: Path) -> bool:
    """Whether no file of an export is a pickle or a zip, by ending and by first bytes."""
    return all(f.suffix in WEIGHTS_ALONE and not f.read_bytes()[:8].startswith(PICKLES) for f in files(path))


def hashes_are_right(path: Path) -> bool:
    """Whether the model card of a folder names the SHA-256 of each file of weights; true of a file, which has none."""
    weights = [file for file in files(path) if file.suffix == ".safetensors"]
    card = (path / "README.md").read_text(encoding="utf-8") if path.is_dir() else ""
    rows = [f"| {file.name} | `{hashlib.sha256(file.read_bytes()).hexdigest()}` |" for file in weights]
    return not path.is_dir() or (bool(rows) and all(row in card for row in rows))


def parameters_alone(trained: Trained, network: Network, *, format: str) -> tuple[bytes, float]:
    """Write what training changes by gradient, as hand-written exports do, and compare nothing."""
    return safetensors.torch.save(dict(trained.encoder.named_parameters())), 0.0


def half(trained: Trained, network: Network, *, format: str) -> tuple[bytes, float]:
    """Write the weights in half precision, and compare nothing."""
    state = trained.encoder.state_dict()
    rounded = {name: x.half().float() if x.is_floating_point() else x for name, x in state.items()}
    return safetensors.torch.save(rounded), 0.0


def of_nothing(content: bytes) -> str:
    """Hash something else than what is written."""
    return hashlib.sha256().hexdigest()


ROW = Row(
    id="D10",
    promise="An export loads without covary by the lines it printed, with the same features and never as a pickle",
    trials={"ci": EXPORTS, "release": 3 * EXPORTS},
    check=check,
    mutants={
        "parameters without BatchNorm's statistics": replaced("covary.export.state_dict.weights", parameters_alone),
        "half precision, not compared": replaced("covary.export.state_dict.weights", half),
        "a card with another hash": replaced("covary.export.hub._sha256", of_nothing),
    },
    mutant_trials=3,
)
