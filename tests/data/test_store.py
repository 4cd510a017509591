import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import class_folders, encoded, picture, write

from covary.data import Fit, ImageStore, build, load, stored
from covary.errors import InputError

FIT = Fit.train(32)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "images", {"a": 3, "b": 2})


def mixed(root: Path) -> Path:
    for index, (width, height) in enumerate([(12, 10), (7, 9), (20, 16), (12, 10)]):
        write(root / f"{index}.png", picture(index, width=width, height=height))
    return root


def same(a: ImageStore, b: ImageStore) -> bool:
    return a.fingerprint == b.fingerprint and torch.equal(a.pixels, b.pixels)


def test_images_come_back_as_they_are(images: Path, cache: Path) -> None:
    store = load(str(images), split="train", fit=FIT, cache=cache)
    found, sizes = store.images([4, 0])
    assert found.dtype == torch.uint8
    assert np.array_equal(found[0].permute(1, 2, 0), np.asarray(picture(4)))
    assert np.array_equal(found[1].permute(1, 2, 0), np.asarray(picture(0)))
    assert sizes.tolist() == [[10, 12], [10, 12]]
    assert store.uniform
    assert store.names == ("a/0.png", "a/1.png", "a/2.png", "b/0.png", "b/1.png")
    assert store.classes == ("a", "b")
    assert store.labels is not None
    assert store.labels.tolist() == [0, 0, 0, 1, 1]


def test_smaller_images_are_padded_with_zeros(tmp_path: Path, cache: Path) -> None:
    store = load(str(mixed(tmp_path / "mixed")), split="train", fit=FIT, cache=cache)
    assert not store.uniform
    found, sizes = store.images(torch.tensor([1, 0]))
    assert found.shape == (2, 3, 10, 12)
    assert sizes.tolist() == [[9, 7], [10, 12]]
    assert np.array_equal(found[0, :, :9, :7].permute(1, 2, 0), np.asarray(picture(1, width=7, height=9)))
    assert not found[0, :, 9:].any()
    assert not found[0, :, :, 7:].any()


@pytest.mark.parametrize("rows", [[0, 3], [3, 0], [1], [2, 2]])
def test_a_selection_has_the_pixels_of_its_rows(tmp_path: Path, cache: Path, rows: list[int]) -> None:
    store = load(str(mixed(tmp_path / "mixed")), split="train", fit=FIT, cache=cache)
    part = store.select(rows)
    assert len(part) == len(rows)
    assert part.uniform
    everything = np.arange(len(rows))
    assert torch.equal(part.images(everything)[0], store.images(rows)[0])
    assert part.fingerprint != store.fingerprint
    assert part.names == tuple(store.names[row] for row in rows)


def test_the_store_is_built_once(images: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(str(images), split="train", fit=FIT, cache=cache)
    monkeypatch.setattr(build, "_write", None)
    assert same(first, load(str(images), split="train", fit=FIT, cache=cache))


def test_a_changed_file_or_geometry_builds_another(images: Path, cache: Path) -> None:
    first = load(str(images), split="train", fit=FIT, cache=cache)
    assert load(str(images), split="train", fit=Fit.evaluate(8), cache=cache).canvas([0]) == (8, 8)
    write(images / "a" / "1.png", picture(99))
    second = load(str(images), split="train", fit=FIT, cache=cache)
    assert second.fingerprint != first.fingerprint
    assert np.array_equal(second.images([1])[0][0].permute(1, 2, 0), np.asarray(picture(99)))


def test_the_fingerprint_is_of_content_and_labels(images: Path, cache: Path, tmp_path: Path) -> None:
    before = load(str(images), split="train", fit=FIT, cache=cache).fingerprint
    moved = images.rename(tmp_path / "moved")
    assert load(str(moved), split="train", fit=FIT, cache=cache).fingerprint == before
    (moved / "a" / "2.png").rename(moved / "b" / ".2.png")
    assert load(str(moved), split="train", fit=FIT, cache=cache).fingerprint != before
    (moved / "b" / ".2.png").rename(moved / "b" / "00.png")  # same pixels in the same order, another label
    assert load(str(moved), split="train", fit=FIT, cache=cache).fingerprint != before


def test_decoding_in_threads_keeps_the_order(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = class_folders(tmp_path / "many", {"a": 40, "b": 30})
    monkeypatch.setattr(stored, "CHUNK", 3)
    store = load(str(root), split="train", fit=FIT, cache=cache)
    for row, name in enumerate(store.names):
        label, index = name.removesuffix(".png").split("/")
        seed = int(index) + 40 * (label == "b")
        assert np.array_equal(store.images([row])[0][0].permute(1, 2, 0), np.asarray(picture(seed)))


def broken(root: Path, *, good: int) -> Path:
    class_folders(root, {"a": good})
    (root / "a").mkdir(parents=True, exist_ok=True)
    (root / "a" / "bad.png").write_bytes(b"")
    (root / "a" / "cut.png").write_bytes(encoded(picture(0))[:50])
    return root


def test_few_broken_files_are_skipped_with_their_reasons(tmp_path: Path, cache: Path) -> None:
    store = load(str(broken(tmp_path / "x", good=38)), split="train", fit=FIT, cache=cache)
    assert len(store) == 38
    assert [name for name, _ in store.skipped] == ["a/bad.png", "a/cut.png"]
    assert store.skipped[0][1] == "ValueError: the file is empty"
    again = load(str(tmp_path / "x"), split="train", fit=FIT, cache=cache)
    assert again.skipped == store.skipped


def test_many_broken_files_are_refused_unless_allowed(tmp_path: Path, cache: Path) -> None:
    root = str(broken(tmp_path / "x", good=37))
    line = r"2 of 39 images cannot be read, more than the 5% allowed \('a/bad.png': ValueError: the file is empty; "
    with pytest.raises(InputError, match=line):
        load(root, split="train", fit=FIT, cache=cache)
    assert len(load(root, split="train", fit=FIT, cache=cache, max_bad=0.1)) == 37
    with pytest.raises(InputError, match=line):  # the store is there now, and is refused all the same
        load(root, split="train", fit=FIT, cache=cache)


def test_what_has_no_end_is_never_read(tmp_path: Path, cache: Path) -> None:
    root = class_folders(tmp_path / "x", {"a": 2})
    os.mkfifo(root / "pipe.png")
    (root / "device.png").symlink_to("/dev/zero")
    (root / "gone.png").symlink_to("nowhere")
    with (root / "long.png").open("wb") as file:
        file.truncate(stored.MAX_BYTES + 1)
    store = load(str(root), split="train", fit=FIT, cache=cache, max_bad=1)
    reasons = dict(store.skipped)
    assert len(store) == 2
    assert reasons["pipe.png"] == reasons["device.png"] == "ValueError: neither a file nor a link to one"
    assert reasons["gone.png"].startswith("FileNotFoundError: ")
    assert reasons["long.png"] == "ValueError: 268,435,456 bytes are more than the limit of 268,435,455"


def test_what_was_made_rgb_is_counted(tmp_path: Path, cache: Path) -> None:
    root = class_folders(tmp_path / "x", {"a": 2})
    write(root / "grey.png", picture(1).convert("L"))
    write(root / "alpha.png", picture(2).convert("RGBA"))
    store = load(str(root), split="train", fit=FIT, cache=cache)
    assert store.converted == {"L": 1, "RGBA": 1}
    assert store.account == ("made RGB: 1 RGBA, 1 L",)


def test_nothing_readable(tmp_path: Path, cache: Path) -> None:
    with pytest.raises(InputError, match="1 of 2 images cannot be read"):
        load(str(broken(tmp_path / "x", good=0)), split="train", fit=FIT, cache=cache)
    with pytest.raises(InputError, match="holds no image that can be read"):
        load(str(tmp_path / "x"), split="train", fit=FIT, cache=cache, max_bad=1)
    assert not list((cache / "stores").glob("*.building"))


@pytest.mark.parametrize(
    "file", ["pixels.bin", "sizes.npy", "labels.npy", "digests.npy", "spans.npy", "meta.json", "index.blake2b"]
)
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_store_that_is_not_whole_is_built_anew(images: Path, cache: Path, file: str, damage: str) -> None:
    expected = load(str(images), split="train", fit=FIT, cache=cache).images(range(5))[0]
    (path,) = (cache / "stores").glob(f"*/{file}")
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-7])
    assert torch.equal(load(str(images), split="train", fit=FIT, cache=cache).images(range(5))[0], expected)


def test_an_index_that_was_changed_is_built_anew(images: Path, cache: Path) -> None:
    expected = load(str(images), split="train", fit=FIT, cache=cache)
    (path,) = (cache / "stores").glob("*/labels.npy")
    changed = bytearray(path.read_bytes())
    changed[-8] ^= 1  # the last label
    path.write_bytes(changed)
    assert load(str(images), split="train", fit=FIT, cache=cache).labels.tolist() == expected.labels.tolist()


def test_an_interrupted_build_leaves_nothing(images: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(build, "sync_folder", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load(str(images), split="train", fit=FIT, cache=cache)
    assert [path.suffix for path in (cache / "stores").iterdir()] == [".lock"]
    assert len(load(str(images), split="train", fit=FIT, cache=cache)) == 5


BUILD = """
import sys, time
from covary.data import Fit, build, load
write = build.write_index
def slow(*args, **kwargs):
    print("building", flush=True)
    time.sleep(float(sys.argv[3]))
    write(*args, **kwargs)
build.write_index = slow
print(load(sys.argv[1], split="train", fit=Fit.train(32), cache=__import__("pathlib").Path(sys.argv[2])).fingerprint)
"""


def builder(images: Path, cache: Path, *, pause: float) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(build.__file__).parents[2]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", BUILD, str(images), str(cache), str(pause)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_two_processes_build_one_store(images: Path, cache: Path) -> None:
    outputs = [process.communicate(timeout=120)[0] for process in [builder(images, cache, pause=1) for _ in range(2)]]
    fingerprint = load(str(images), split="train", fit=FIT, cache=cache).fingerprint
    assert sorted(outputs) == sorted([f"building\n{fingerprint}\n", f"{fingerprint}\n"])


def test_what_a_killed_builder_left_is_swept_and_never_believed(images: Path, cache: Path, tmp_path: Path) -> None:
    process = builder(images, cache, pause=600)
    assert process.stdout is not None
    assert process.stdout.readline() == "building\n"
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(list((cache / "stores").glob("*.building"))) == 1
    other = class_folders(tmp_path / "other", {"c": 2})
    assert len(load(str(other), split="train", fit=FIT, cache=cache)) == 2
    assert not list((cache / "stores").glob("*.building"))
    assert len(load(str(images), split="train", fit=FIT, cache=cache)) == 5


def test_a_living_builder_is_left_in_peace(images: Path, cache: Path, tmp_path: Path) -> None:
    process = builder(images, cache, pause=600)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "building\n"
        load(str(class_folders(tmp_path / "other", {"c": 2})), split="train", fit=FIT, cache=cache)
        assert len(list((cache / "stores").glob("*.building"))) == 1
    finally:
        process.kill()
        process.communicate()


def test_a_full_disk_and_a_cache_that_cannot_be_written(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="point COVARY_CACHE to a folder that you may write to"):
        load(str(images), split="train", fit=FIT, cache=tmp_path / "file")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(build, "write_index", full)
    with pytest.raises(
        InputError, match=r"no space left for the images of .*, or take --residence encoded where files"
    ):
        load(str(images), split="train", fit=FIT, cache=tmp_path / "cache")


def test_the_index_is_plain_json_and_arrays_without_pickles(images: Path, cache: Path) -> None:
    load(str(images), split="train", fit=FIT, cache=cache)
    (folder,) = (path for path in (cache / "stores").iterdir() if path.is_dir())
    assert json.loads((folder / "meta.json").read_text())["classes"] == ["a", "b"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "digests.npy",
        "index.blake2b",
        "labels.npy",
        "meta.json",
        "pixels.bin",
        "sizes.npy",
        "spans.npy",
    ]


def test_progress_shows_only_when_it_takes_long(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    from covary.data.progress import progress

    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with progress("quick", 2) as advance:
        advance()
    assert capsys.readouterr().err == ""
    now = iter([0.0, *[3.0] * 10])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    with progress("slow", 2) as advance:
        advance()
        advance()
    assert "slow" in capsys.readouterr().err
