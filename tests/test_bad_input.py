"""What the user got wrong: one line that names it and says what to change, exit code 2, and nothing in the way of a
correct retry. Every case goes through the command line."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

import covary
from covary.cli import main
from covary.rundir import RunDir

SHAPES = ("--data", "shapes:n=16", "--image-size", "8")
QUICK = ("--encoder", "resnet8", "--batch-size", "8", "--epochs", "1", "--device", "cpu", "--knn-epochs", "-1")
SMALL_HEADS = ("--method.base.head-hidden", "8", "--method.code-hidden", "8", "--method.code", "4")
QUIET = ("--tracking.no-progress",)
BARE = ("pretrain", *SHAPES, *QUICK, *QUIET, "--out", "out")
RUN = ("pretrain", *SHAPES, *QUICK, *SMALL_HEADS, *QUIET, "--out", "out")
FOLDER = ("pretrain", *QUICK, *SMALL_HEADS, *QUIET, "--out", "out", "--data")
ON_SHAPES = ("--data", "shapes:n=16", "--device", "cpu", "--task", "knn")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Work in an empty folder without a network."""
    monkeypatch.chdir(tmp_path)

    def unreachable(*arguments: Any, **options: Any) -> Any:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setattr(socket.socket, "connect", unreachable)
    return tmp_path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that ended; tests work on copies."""
    out = tmp_path_factory.mktemp("finished") / "out"
    assert main([*RUN, "--out", str(out)]) == 0
    return out


def images(folder: str, count: int, *, broken: int = 0, empty: int = 0, classes: int = 0, mixed: bool = False) -> None:
    """Write a folder of small pictures, the last of them broken or empty."""
    draw = np.random.default_rng(0)
    for index in range(count):
        place = Path(folder, f"class{index % classes}") if classes else Path(folder)
        place.mkdir(parents=True, exist_ok=True)
        height, width = draw.integers(6, 40, size=2) if mixed else (12, 12)
        picture = Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8))
        picture.save(place / f"{index:03}.png")
    Path(folder).mkdir(exist_ok=True)
    for index in range(broken):
        Path(folder, f"broken{index}.png").write_bytes(b"\x89PNG\r\n\x1a\nno picture")
    for index in range(empty):
        Path(folder, f"empty{index}.png").touch()


def run_json(**changes: Any) -> Callable[[], None]:
    """Return an action that changes top-level keys of ``run.json``; None takes a key away."""

    def change() -> None:
        file = Path("out/run.json")
        content = {**json.loads(file.read_text()), **changes}
        file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))

    return change


def weights() -> None:
    """Write a weights file that fits no encoder, and one that is none."""
    save_file({"layer.weight": torch.zeros(2)}, "w.safetensors")
    Path("text.safetensors").write_text("no tensors")
    Path("weights.txt").touch()


def files() -> None:
    """Put a file where a folder belongs."""
    Path("file").touch()


def nothing() -> None:
    """Need nothing beforehand."""


# (case, what lies there, command, words of the message)
REFUSED: list[tuple[str, Callable[[], object], tuple[str, ...], tuple[str, ...]]] = [
    ("command misspelt", nothing, ("pretrian",), ("'pretrian'", "pretrain, evaluate", "Did you mean 'pretrain'?")),
    ("option misspelt", nothing, (*RUN, "--epoch", "3"), ("--epoch 3", "Did you mean --epochs?")),
    ("method's option misspelt", nothing, (*RUN, "--method.weight-eq", "1"), ("Did you mean --method.weight-equi?",)),
    ("stray word", nothing, (*RUN, "stray"), ("Unknown option: stray",)),
    ("text for a whole number", nothing, (*RUN, "--epochs", "x"), ("--epochs is 'x'", "a whole number")),
    ("text for a number", nothing, (*RUN, "--optim.lr", "x"), ("--optim.lr is 'x'", "expected a number")),
    ("no value", nothing, (*RUN, "--epochs"), ("--epochs", "Expected 1 value")),
    ("one value of two", nothing, (*RUN, "--augment.crop.scale", "1"), ("--augment.crop.scale", "Expected 2 values")),
    ("image size no number", nothing, (*RUN, "--image-size", "big"), ("--image-size is 'big'", "whole number above 0")),
    ("value out of range", nothing, (*RUN, "--optim.lr", "-1"), ("optim.lr is -1", "at least 0")),
    ("method's value out of range", nothing, (*RUN, "--method.base.temperature", "0"), ("temperature is 0",)),
    ("range upside down", nothing, (*RUN, "--augment.crop.scale", "1", "0.2"), ("crop.scale", "the smaller first")),
    ("choice unknown", nothing, (*RUN, "--device", "tpu"), ("'tpu'", "--device", "cpu")),
    ("no --out", nothing, ("pretrain", *SHAPES), ("--out is missing",)),
    ("no --data", nothing, ("pretrain", "--out", "out"), ("--data is missing; there is no default",)),
    ("data misspelt", nothing, ("pretrain", "--dta", "x", "--out", "out"), ("--dta x. Did you mean --data?",)),
    (
        "what must be given misspelt",
        nothing,
        ("pretrain", *SHAPES, "--oot", "out"),
        ("--out is missing", "Unknown option: --oot out. Did you mean --out?"),
    ),
    (
        "two options misspelt",
        nothing,
        (*RUN, "--epoch", "3", "--optim.lrr", "1"),
        ("--epoch 3 --optim.lrr 1. Did you mean ", "--epochs", "--optim.lr", " and "),
    ),
    ("method unknown", nothing, (*RUN, "--method", "slt"), ("'slt'", "simclr, byol, ", "Did you mean 'stl'?")),
    ("recipe unknown", nothing, (*RUN, "--recipe", "dmo"), ("'dmo'", "Did you mean 'demo'?")),
    ("preset unknown", nothing, (*RUN, "--preset", "papper"), ("'papper'", "Did you mean 'paper'?")),
    ("encoder unknown", nothing, (*RUN, "--encoder", "resnet81"), ("'resnet81'", "Did you mean 'resnet8'?")),
    ("timm's encoder unknown", nothing, (*RUN, "--encoder", "timm:resnet81"), ("timm", "'resnet81'", "Did you mean")),
    ("SPEC unknown", nothing, (*FOLDER, "cifra10"), ("'cifra10'", "Did you mean 'cifar10'?")),
    ("SPEC's option unknown", nothing, (*FOLDER, "shapes:m=5"), ("'m=5'", "n=")),
    ("folder missing", nothing, (*FOLDER, "photos/mine"), ("'photos/mine'", "a folder of images")),
    ("folder empty", lambda: images("data", 0), (*FOLDER, "data"), ("data holds no image", ".png")),
    ("a file for a folder", files, (*FOLDER, "file"), ("'file' is a file, not a folder",)),
    ("no tar shard", nothing, (*FOLDER, "wds:no-{0..3}.tar"), ("no-{0..3}.tar", "check the path")),
    (
        "one image",
        lambda: images("data", 1),
        (*FOLDER, "data", "--batch-size", "2"),
        ("batch size 2", "1 image", "data"),
    ),
    (
        "batch of one",
        nothing,
        ("pretrain", *SHAPES, *QUICK, "--out", "out", "--method", "simclr", "--batch-size", "1"),
        ("batch_size is 1", "at least 2"),
    ),
    ("batch above the data", nothing, (*RUN, "--batch-size", "32"), ("batch size 32", "16 images", "at most 16")),
    ("odd batch of partners", nothing, (*RUN, "--batch-size", "7"), ("batch_size is 7", "a multiple of 2", "partners")),
    ("partners share nothing", nothing, (*RUN, "--augment.targets"), ("targets are empty", "crop jitter")),
    ("no partners", nothing, (*RUN, "--augment.no-partners"), ("needs partners", "leave out --augment.no-partners")),
    (
        "partners share what is off",
        nothing,
        (*RUN, "--augment.targets", "rotation"),
        ("none (rotation) is switched on", "augment.targets"),
    ),
    ("views beyond two", nothing, (*RUN, "--augment.views", "3"), ("takes 2 views", "leave out augment.views 3")),
    (
        "base of a base",
        nothing,
        (*BARE, "--method", "byol", "--base", "simclr"),
        ("'byol' builds on no base", "--base"),
    ),
    (
        "base and a preset of another",
        nothing,
        (*RUN, "--base", "byol", "--preset", "official_code"),
        ("'official_code' has a base of its own", "leave out --base byol"),
    ),
    (
        "preset that a method has not",
        nothing,
        (*BARE, "--method", "sie", "--preset", "official_code"),
        ("it has paper",),
    ),
    (
        "targets where none are learned",
        nothing,
        (*BARE, "--method", "byol", "--targets", "crop"),
        ("'byol' learns from no target operations", "leave out --targets crop"),
    ),
    (
        "row and another base",
        nothing,
        (*RUN, "--recipe", "small/simclr", "--base", "byol"),
        ("says method, base and targets itself", "leave out base byol", "--recipe small,"),
    ),
    (
        "AugMix where labels are learned",
        nothing,
        (*BARE, "--method", "equimod", "--augment.augmix.p", "1"),
        ("'equimod' predicts what was done", "AugMix"),
    ),
    (
        "temperature of a base without",
        nothing,
        (*RUN, "--base", "byol", "--method.temperature-equi", "0.1"),
        ("base 'byol' has no temperature",),
    ),
    (
        "option of another form",
        nothing,
        (*BARE, "--method", "sie", "--method.gamma", "1"),
        ("gamma is 1.0", "form 'base' does not read it", "leave it out"),
    ),
    (
        "option of a loss without weight",
        nothing,
        (*RUN, "--method.weight-equi", "0", "--method.temperature-equi", "0.5"),
        ("temperature_equi is 0.5", "weight_equi is 0"),
    ),
    (
        "no weight at all",
        nothing,
        (*BARE, "--method", "vicreg", *("--method.invariance=0", "--method.variance=0", "--method.covariance=0")),
        ("all 0", "at least one above 0"),
    ),
    ("every file broken", lambda: images("data", 0, broken=3), (*FOLDER, "data"), ("data", "repair or remove")),
    (
        "too many files broken",
        lambda: images("data", 18, broken=1, empty=1),
        (*FOLDER, "data"),
        ("2 of 20 images cannot be read", "5%", "broken0.png", "empty0.png", "the file is empty", "repair or remove"),
    ),
    (
        "download without a network",
        nothing,
        (*FOLDER, "cifar10", "--root", "sets"),
        ("cifar10", "cannot be downloaded"),
    ),
    ("output is a file", files, (*RUN, "--out", "file"), ("run folder file", "a file is in its place", "--out")),
    ("output below a file", files, (*RUN, "--out", "file/run"), ("file/run", "a file is in its place", "--out")),
    ("output cannot be written", nothing, (*RUN, "--out", "/proc/run"), ("/proc/run cannot be written", "--out")),
    ("cache cannot be written", nothing, (*FOLDER, "shapes:n=9", "--cache", "/proc/x"), ("/proc/x", "COVARY_CACHE")),
    ("no package wandb", nothing, (*RUN, "--tracking.wandb", "x"), ("wandb", "install covary[track]")),
    ("source unknown", nothing, ("evaluate", "runs/none", *ON_SHAPES), ("'runs/none' is no run folder, weights file",)),
    (
        "folder without a run",
        lambda: images("data", 1),
        ("evaluate", "data", *ON_SHAPES),
        ("data is no run folder", "run.json"),
    ),
    ("weights without a name", weights, ("evaluate", "w.safetensors", *ON_SHAPES), ("w.safetensors", "encoder")),
    (
        "weights of another network",
        weights,
        ("evaluate", "w.safetensors", *ON_SHAPES, "--encoder", "resnet8"),
        ("w.safetensors do not fit", "54 missing", "1 unexpected (layer.weight)"),
    ),
    (
        "weights damaged",
        weights,
        ("evaluate", "text.safetensors", *ON_SHAPES, "--encoder", "resnet8"),
        ("text.safetensors is no readable safetensors file",),
    ),
    (
        "weights of no kind",
        weights,
        ("evaluate", "weights.txt", *ON_SHAPES, "--encoder", "resnet8"),
        ("expected .safetensors",),
    ),
    (
        "task unknown",
        nothing,
        ("evaluate", "untrained:resnet8", *ON_SHAPES, "--task", "kn"),
        ("'kn'", "Did you mean 'knn'?"),
    ),
    ("no source", nothing, ("evaluate", "--data", "shapes"), ("SOURCE is missing",)),
    (
        "no labels",
        lambda: images("data", 8),
        ("evaluate", "untrained:resnet8", *ON_SHAPES, "--data", "data"),
        ("data has no labels", "a folder of its own"),
    ),
    (
        "one class",
        lambda: images("data", 8, classes=1),
        ("evaluate", "untrained:resnet8", *ON_SHAPES, "--data", "data"),
        ("data", "the images of each class in a folder of its own"),
    ),
    ("results in a folder", nothing, ("evaluate", "untrained:resnet8", *ON_SHAPES, "--out", "."), ("is a folder",)),
    ("results below a file", files, ("evaluate", "untrained:resnet8", *ON_SHAPES, "--out", "file/x"), ("is a file",)),
]

# (case, what happened to the run folder since, changed options, words of the message)
REFUSED_TO_CONTINUE: list[tuple[str, Callable[[], object], tuple[str, ...], tuple[str, ...]]] = [
    ("option changed", nothing, ("--seed", "1"), ("seed: 0 -> 1", "another --out")),
    ("run.json torn", lambda: Path("out/run.json").write_text("{"), (), ("out/run.json cannot be read",)),
    (
        "run.json with a key twice",
        lambda: Path("out/run.json").write_text(Path("out/run.json").read_text().replace("{", '{"schema": 1,', 1)),
        (),
        ("out/run.json cannot be read", "the key 'schema' is there twice"),
    ),
    ("run.json of another version", run_json(schema=9), (), ("out/run.json has schema 9", "reads 1")),
    ("run.json without the run", run_json(run=None), (), ("'run' is missing", "restore it")),
    ("run.json with an empty run", run_json(run={}), (), ("out/run.json: run.data is missing",)),
    ("run.json without the images", run_json(environment={}), (), ("environment.fingerprint is None", "restore it")),
]

# (case, what lies there, command)
WORKS: list[tuple[str, Callable[[], object], tuple[str, ...]]] = [
    ("two images", lambda: images("data", 2), (*FOLDER, "data", "--batch-size", "2")),
    ("three images, one left over", lambda: images("data", 3), (*FOLDER, "data", "--batch-size", "2")),
    ("images of mixed sizes", lambda: images("data", 8, mixed=True), (*FOLDER, "data")),
    ("one file in twenty broken", lambda: images("data", 19, broken=1), (*FOLDER, "data")),
    ("one file in twenty empty", lambda: images("data", 19, empty=1), (*FOLDER, "data")),
    ("underscores in an option", nothing, ("pretrain", *[w.replace("image-size", "image_size") for w in RUN[1:]])),
]


def refusal(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that must be refused; return its one line."""
    capsys.readouterr()
    assert main(arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1, printed.err
    assert printed.err.startswith("covary: ")
    return printed.err


def assert_holds(line: str, words: tuple[str, ...]) -> None:
    for part in words:
        assert part in line


@pytest.mark.parametrize(("prepare", "arguments", "words"), [pytest.param(*row, id=name) for name, *row in REFUSED])
def test_refused_with_one_line(
    capsys: pytest.CaptureFixture[str],
    prepare: Callable[[], object],
    arguments: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    prepare()
    assert_holds(refusal(arguments, capsys), words)
    assert not Path("out").exists()  # a correct retry is a new run


@pytest.mark.parametrize(
    ("change", "options", "words"), [pytest.param(*row, id=name) for name, *row in REFUSED_TO_CONTINUE]
)
def test_refused_to_continue_with_one_line(
    capsys: pytest.CaptureFixture[str],
    finished: Path,
    change: Callable[[], object],
    options: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    shutil.copytree(finished, "out")
    whole = Path("out/run.json").read_text()
    change()
    assert_holds(refusal((*RUN, *options), capsys), words)
    Path("out/run.json").write_text(whole)
    assert main(RUN) == 0


@pytest.mark.parametrize(("prepare", "arguments"), [pytest.param(*row, id=name) for name, *row in WORKS])
def test_works(prepare: Callable[[], object], arguments: tuple[str, ...]) -> None:
    prepare()
    assert main(arguments) == 0
    assert Path("out/encoder.safetensors").exists()


def test_a_refused_start_leaves_nothing_in_the_way(capsys: pytest.CaptureFixture[str]) -> None:
    images("data", 9, broken=1)
    refusal((*FOLDER, "data"), capsys)
    Path("data/broken0.png").unlink()
    refusal((*FOLDER, "data", "--batch-size", "16"), capsys)
    refusal((*FOLDER, "data", "--encoder", "resnet81"), capsys)
    assert main([*FOLDER, "data"]) == 0


def test_images_changed_since_the_run_began_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    images("data", 8)
    assert main([*FOLDER, "data"]) == 0
    Path("data/000.png").unlink()
    images("data", 8, mixed=True)
    assert_holds(refusal((*FOLDER, "data", "--image-size", "12"), capsys), ("images of data have changed", "restore"))


def test_nothing_begins_anew_over_checkpoints_of_which_none_is_whole(
    finished: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished, "out")
    checkpoint, _ = RunDir(Path("out")).newest_checkpoint()
    assert checkpoint is not None
    state = Path(f"out/checkpoints/step-{checkpoint.step}/state.safetensors")
    state.write_bytes(b"torn")
    before = {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()}
    said = refusal(RUN, capsys)
    assert_holds(
        said, ("No checkpoint of out is whole", "state.safetensors differs", "remove out/checkpoints to start")
    )
    assert {path: path.read_bytes() for path in Path("out").rglob("*") if path.is_file()} == before


def test_images_that_are_left_out_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    images("data", 19, empty=1)
    assert main([*FOLDER, "data"]) == 0
    said = capsys.readouterr().err
    reason = "ValueError: the file is empty"
    assert (
        f"1 images cannot be read and are left out, such as 'empty0.png' ({reason}); skipped.jsonl lists them" in said
    )
    ledger = Path("out/skipped.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in ledger] == [{"name": "empty0.png", "reason": reason}]


def test_an_unfinished_run_is_no_source(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(finished, "out")
    Path("out/encoder.safetensors").unlink()
    assert_holds(
        refusal(("evaluate", "out", *ON_SHAPES), capsys), ("out is not finished", "run its pretrain command again")
    )


def test_a_network_too_large_for_the_memory_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*RUN, "--method.base.head-hidden", "100000000000"]) == 1
    line = capsys.readouterr().err
    assert_holds(line, ("covary: The memory is too small", "--batch-size", "--dry-run"))
    assert line.count("\n") == 1
    assert main(RUN) == 0


def test_the_process_exits_with_2() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "covary.cli", "pretrain", "--data", "photos/mine", "--out", "out"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(covary.__file__).parents[1])},
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("covary: the data 'photos/mine' is neither a folder nor a known name")
    assert done.stderr.count("\n") == 1
