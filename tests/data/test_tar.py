import gzip
import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from pictures import encoded, picture

from covary.data import Fit, ImageStore, load, native_size
from covary.data.labels import class_names
from covary.data.tar import braces
from covary.errors import InputError


def shard(path: Path, files: dict[str, bytes], mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def samples(seeds: range, label: str = "cls") -> dict[str, bytes]:
    files = {}
    for seed in seeds:
        files[f"some/{seed:04d}.png"] = encoded(picture(seed))
        if label == "cls":
            files[f"some/{seed:04d}.cls"] = str(seed % 3).encode()
        if label == "json":
            files[f"some/{seed:04d}.json"] = json.dumps({"caption": "x", "label": ["bee", "ape"][seed % 2]}).encode()
    return files


def stored(tmp_path: Path, pattern: str, split: str = "train", **options: object) -> ImageStore:
    return load(f"wds:{tmp_path}/{pattern}", split=split, fit=Fit.train(32), cache=tmp_path / "cache", **options)


@pytest.mark.parametrize("suffix", ["tar", "tar.gz"])
def test_shards_with_numbers_as_labels(tmp_path: Path, suffix: str) -> None:
    for index in range(2):
        seeds = range(5 * index, 5 * index + 5)
        shard(tmp_path / f"s-00{index}.{suffix}", samples(seeds), "w:gz" if suffix == "tar.gz" else "w")
    store = stored(tmp_path, "s-{000..001}." + suffix)
    assert store.labels.tolist() == [seed % 3 for seed in range(10)]
    assert store.classes == ("0", "1", "2")
    assert store.names[5] == f"s-001.{suffix}/some/0005"
    assert np.array_equal(store.images([7])[0][0].permute(1, 2, 0), np.asarray(picture(7)))
    assert stored(tmp_path, "s-*." + suffix).fingerprint == store.fingerprint
    assert native_size(f"wds:{tmp_path}/s-*.{suffix}") == 10


def test_a_label_by_number_beyond_any_count_of_classes_is_refused() -> None:
    with pytest.raises(InputError, match="has the label 1000000000000; expected at most 1,000,000"):
        class_names([0, 10**12], name="x")


def test_words_in_json_and_no_labels(tmp_path: Path) -> None:
    shard(tmp_path / "json.tar", samples(range(4), "json"))
    store = stored(tmp_path, "json.tar")
    assert store.classes == ("ape", "bee")
    assert store.labels.tolist() == [1, 0, 1, 0]
    shard(tmp_path / "none.tar", samples(range(4), "none"))
    assert stored(tmp_path, "none.tar").classes is None


def test_splits_by_pattern_and_by_holding_out(tmp_path: Path) -> None:
    shard(tmp_path / "train-0.tar", samples(range(15)))
    shard(tmp_path / "val-0.tar", samples(range(20, 22)))
    assert len(stored(tmp_path, "{split}-*.tar")) == 15
    assert stored(tmp_path, "{split}-*.tar", "test").labels.tolist() == [2, 0]
    assert len(stored(tmp_path, "train-*.tar")) == 15
    assert len(stored(tmp_path, "train-*.tar", labelled=True)) == 12
    assert len(stored(tmp_path, "train-*.tar", "test")) == 3


def test_samples_without_an_image_and_dots_in_names(tmp_path: Path) -> None:
    shard(
        tmp_path / "s.tar", {"a.txt": b"x", "b.b.png": encoded(picture(0)), "c.PNG": encoded(picture(1)), "c.cls": b"4"}
    )
    store = stored(tmp_path, "s.tar")
    assert store.names == ("s.tar/c",)
    assert store.labels.tolist() == [4]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("plain.tar", ["plain.tar"]),
        ("s-{008..010}.tar", ["s-008.tar", "s-009.tar", "s-010.tar"]),
        ("{a,b}/{0..1}", ["a/0", "a/1", "b/0", "b/1"]),
        ("{split}-{1..2}", ["{split}-1", "{split}-2"]),
        ("x{a,{0..1}}", ["xa", "x0", "xa", "x1"]),
        ("{3..1}", []),
    ],
)
def test_braces(pattern: str, words: list[str]) -> None:
    assert braces(pattern) == words


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no tar shard matches '.*none-.*' for the train split"):
        stored(tmp_path, "none-{0..3}.tar")
    path = shard(tmp_path / "s.tar", samples(range(3)))
    path.write_bytes(path.read_bytes()[:700])
    with pytest.raises(InputError, match=r"the tar shard .*s.tar cannot be read"):
        stored(tmp_path, "s.tar")
    shard(tmp_path / "j.tar", {"a.png": encoded(picture(0)), "a.json": b'{"label": [1]}'})
    with pytest.raises(InputError, match=r"the label \[1\]; expected a number or a word"):
        stored(tmp_path, "j.tar")
    shard(tmp_path / "m.tar", {**samples(range(1)), "z.png": encoded(picture(0)), "z.cls": b"word"})
    with pytest.raises(InputError, match=r"labels some images by word .'word'. and some by number .0."):
        stored(tmp_path, "m.tar")
    shard(tmp_path / "n.tar", {"z.png": encoded(picture(0)), "z.cls": b"-3"})
    with pytest.raises(InputError, match="has the label -3; expected 0 and above"):
        stored(tmp_path, "n.tar")


@pytest.mark.parametrize("kind", [tarfile.GNUTYPE_LONGNAME, tarfile.XHDTYPE, tarfile.XGLTYPE])
def test_a_name_that_would_fill_the_memory_is_not_read(tmp_path: Path, kind: bytes) -> None:
    header = tarfile.TarInfo("name")
    header.type, header.size = kind, 20_000_000
    with gzip.open(tmp_path / "a.tar.gz", "wb") as file:
        file.write(header.tobuf(tarfile.GNU_FORMAT) + bytes(20_000_768))
    with pytest.raises(InputError, match="a name of 20,000,000 bytes is declared"):
        stored(tmp_path, "a.tar.gz")


def test_a_pipe_is_no_shard(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.tar")
    with pytest.raises(InputError, match="is no file"):
        stored(tmp_path, "a.tar")
