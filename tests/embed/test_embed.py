import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from PIL import Image

import covary.embed
from covary.cli import main
from covary.embed import embed
from covary.errors import InputError
from covary.evaluation import Options
from covary.evaluation.source import resolve
from covary.evaluation.subject import Subject

pq = pytest.importorskip("pyarrow.parquet", reason="needs the data extra")

ROOT = Path(covary.embed.__file__).parents[1]
SOURCE = "untrained:resnet8"


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(covary.embed, "PIECE", 10)


@pytest.fixture
def spec(tmp_path: Path) -> str:
    """Class folders with 24 training and 21 test images."""
    for split, counts in (("train", (13, 11)), ("test", (9, 12))):
        (tmp_path / "sorted" / split).mkdir(parents=True)
        for label, count in zip(("cat", "dog"), counts, strict=True):
            photos(tmp_path / "sorted" / split / label, count, seed=count)
    return str(tmp_path / "sorted")


def photos(folder: Path, count: int, *, seed: int = 0) -> Path:
    generator = np.random.default_rng(seed)
    folder.mkdir()
    for number in range(count):
        Image.fromarray(generator.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(folder / f"{number:02d}.png")
    return folder


def test_a_table_holds_the_features_that_evaluate_takes(tmp_path: Path, spec: str) -> None:
    done = embed(SOURCE, data=spec, out=tmp_path / "t.parquet", image_size=16, cache=tmp_path)
    table = pq.read_table(done.path)
    subject = Subject(
        source=resolve(SOURCE),
        data=spec,
        device=torch.device("cpu"),
        batch_size=256,
        seed=0,
        options=Options(),
        image_size=16,
        cache=tmp_path,
    )
    wanted = torch.cat([subject.train_features, subject.test_features]).numpy()
    found = np.stack(table["embedding"].to_numpy(zero_copy_only=False))
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert table["id"].to_pylist() == list(range(len(wanted)))
    assert table["split"].to_pylist() == ["train"] * len(subject.train) + ["test"] * len(subject.test)
    assert table["label"].to_pylist() == [*subject.train_labels.tolist(), *subject.test_labels.tolist()]
    classes = subject.train.classes
    assert classes is not None
    assert table["class"].to_pylist() == [classes[label] for label in table["label"].to_pylist()]
    facts = json.loads(table.schema.metadata[b"covary"])
    assert (facts["weights"], facts["image_size"]) == (subject.source.weights, 16)
    assert (done.images, done.features, done.computed) == (len(wanted), 128, len(wanted))
    assert not (tmp_path / "t.parquet.parts").exists()


def test_both_forms_hold_the_same_and_need_no_labels(tmp_path: Path) -> None:
    folder = photos(tmp_path / "photos", 13)
    for name in ("t.parquet", "t.npz"):
        embed(SOURCE, data=str(folder), out=tmp_path / name, image_size=16, cache=tmp_path / "cache")
    table, arrays = pq.read_table(tmp_path / "t.parquet"), np.load(tmp_path / "t.npz", allow_pickle=False)
    np.testing.assert_array_equal(np.stack(table["embedding"].to_numpy(zero_copy_only=False)), arrays["embedding"])
    assert sorted(arrays["path"]) == sorted(file.name for file in folder.iterdir())
    assert table["path"].to_pylist() == arrays["path"].tolist()
    assert set(table["label"].to_pylist()) == {None}
    assert set(arrays["label"]) == {-1}
    assert str(tmp_path) not in str(arrays["facts"])


@pytest.mark.parametrize("name", ["t.parquet", "t.npz"])
def test_killed_it_goes_on_without_loss_or_repeat(tmp_path: Path, spec: str, name: str) -> None:
    script = (
        "import os, signal, sys, covary.embed as e\n"
        "e.PIECE, real, written = 10, e.write_tensors, []\n"
        "def write(file, tensors):\n"
        "    real(file, tensors)\n"
        "    written.append(file)\n"
        "    len(written) == 2 and os.kill(os.getpid(), signal.SIGKILL)\n"
        "e.write_tensors = write\n"
        "e.embed(sys.argv[1], data=sys.argv[2], out=sys.argv[3], image_size=16, cache=sys.argv[4])\n"
    )
    words = [SOURCE, spec, str(tmp_path / name), str(tmp_path / "cache")]
    killed = subprocess.run([sys.executable, "-c", script, *words], cwd=ROOT, capture_output=True, text=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / name).exists()
    done = embed(SOURCE, data=spec, out=tmp_path / name, image_size=16, cache=tmp_path / "cache")
    assert done.computed == done.images - 20
    embed(SOURCE, data=spec, out=tmp_path / f"whole-{name}", image_size=16, cache=tmp_path / "cache")
    assert (tmp_path / name).read_bytes() == (tmp_path / f"whole-{name}").read_bytes()


def test_pieces_of_another_table_are_refused(tmp_path: Path, spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    out, cache = tmp_path / "t.npz", tmp_path / "cache"
    with monkeypatch.context() as patched:
        patched.setattr(covary.embed, "check_finite", stop)
        with pytest.raises(KeyboardInterrupt):
            embed(SOURCE, data=spec, out=out, image_size=16, cache=cache)
    with pytest.raises(InputError, match=r"t\.npz\.parts holds pieces of another table \(another weights\)"):
        embed(SOURCE, data=spec, out=out, image_size=16, cache=cache, seed=1)
    with pytest.raises(InputError, match=r"another images, image_size\)"):
        embed(SOURCE, data=spec, out=out, image_size=8, cache=cache)


def test_bad_input_is_one_line_before_any_work(tmp_path: Path, spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "there.npz").write_text("mine")
    with pytest.raises(InputError, match=r"expected a file that ends in \.parquet or \.npz"):
        embed(SOURCE, data=spec, out=tmp_path / "t.csv")
    with pytest.raises(InputError, match="exists and is not replaced"):
        embed(SOURCE, data=spec, out=tmp_path / "there.npz")
    with pytest.raises(InputError, match="batch_size is 0; expected 1 or more"):
        embed(SOURCE, data=spec, out=tmp_path / "t.npz", batch_size=0)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'covary\[data\]'"):
        embed(SOURCE, data=spec, out=tmp_path / "t.parquet")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["sorted", "there.npz"]


def test_the_command_says_what_it_wrote(tmp_path: Path, spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "t.npz")
    words = ["embed", SOURCE, "--data", spec, "--split", "test", "--image-size", "16"]
    words += ["--cache", str(tmp_path), "--out", out]
    assert main(words) == 0
    assert f"{out}  21 images, 128 numbers each" in capsys.readouterr().out
    assert main(words) == 2


@pytest.mark.parametrize("name", ["t.parquet", "t.npz"])
def test_odd_names_and_files_that_are_no_images(tmp_path: Path, name: str) -> None:
    folder = photos(tmp_path / "photos", 25)
    (folder / "00.png").rename(folder / os.fsdecode(b"caf\xe9.png"))
    (folder / "01.png").write_bytes(b"no image")
    done = embed(SOURCE, data=str(folder), out=tmp_path / name, image_size=16, cache=tmp_path / "cache")
    assert (done.images, done.skipped) == (24, 1)
    table = pq.read_table(done.path)["path"].to_pylist() if name == "t.parquet" else np.load(done.path)["path"].tolist()
    assert "caf\\xe9.png" in table
    assert sorted(file.name for file in tmp_path.iterdir()) == sorted(["cache", "photos", name])


def test_a_command_that_was_killed_while_it_wrote_the_table_leaves_nothing_behind(tmp_path: Path, spec: str) -> None:
    out, cache = tmp_path / "t.npz", tmp_path / "cache"
    parts = tmp_path / "t.npz.parts"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(covary.embed, "sync_folder", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            embed(SOURCE, data=spec, out=out, image_size=16, cache=cache)
    assert (parts / "whole").is_file()
    assert embed(SOURCE, data=spec, out=out, image_size=16, cache=cache).computed == 0
    assert not parts.exists()


def test_weights_of_another_library(tmp_path: Path, spec: str, capsys: pytest.CaptureFixture[str]) -> None:
    encoder = resolve(SOURCE).encoder
    torch.save({"state_dict": {f"backbone.{k}": v for k, v in encoder.state_dict().items()}}, tmp_path / "last.ckpt")
    words = ["--data", spec, "--image-size", "16", "--cache", str(tmp_path / "cache"), "--out"]
    assert main(["embed", SOURCE, *words, str(tmp_path / "a.npz")]) == 0
    assert main(["embed", str(tmp_path / "last.ckpt"), "--encoder", "resnet8", *words, str(tmp_path / "b.npz")]) == 0
    assert "read 54 of 54 tensors of the encoder from 'state_dict.backbone.'" in capsys.readouterr().err
    a, b = np.load(tmp_path / "a.npz"), np.load(tmp_path / "b.npz")
    np.testing.assert_array_equal(a["embedding"], b["embedding"])
