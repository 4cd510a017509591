import os
from pathlib import Path

import numpy as np
import pytest
from pictures import class_folders, picture, write

from covary.data import Fit, ImageStore, load, native_size
from covary.data.folder import list_images
from covary.data.source import held_out
from covary.errors import InputError


def stored(root: Path, split: str = "train", **options: object) -> ImageStore:
    return load(str(root), split=split, fit=Fit.train(32), cache=root.parent / "cache", **options)


def test_a_flat_folder_is_unlabelled(tmp_path: Path) -> None:
    for index in range(5):
        write(tmp_path / "x" / f"{index}.jpg", picture(index))
    store = stored(tmp_path / "x")
    assert store.classes is None
    assert store.labels is None
    assert len(store) == 5
    with pytest.raises(InputError, match="has no labels, which an evaluation needs"):
        stored(tmp_path / "x", labelled=True)


def test_the_first_folder_is_the_class_however_deep(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "x", {"cat": 1, "dog/young": 2, "dog": 1})
    store = stored(root)
    assert store.classes == ("cat", "dog")
    assert dict(zip(store.names, store.labels, strict=True)) == {
        "cat/0.png": 0,
        "dog/0.png": 1,
        "dog/young/0.png": 1,
        "dog/young/1.png": 1,
    }


def test_one_folder_is_no_class(tmp_path: Path) -> None:
    assert stored(class_folders(tmp_path / "x", {"photos": 2})).classes is None


def test_images_beside_class_folders_are_unlabelled(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "x", {"a": 2, "b": 2, ".": 2}, start=0)
    store = stored(root)
    assert sorted(store.labels) == [-1, -1, 0, 0, 1, 1]
    kept = {*stored(root, labelled=True).names, *stored(root, "test", labelled=True).names}
    assert len(kept) == 4
    assert all(name.startswith(("a/", "b/")) for name in kept)


@pytest.mark.parametrize("test", ["test", "val", "validation"])
def test_train_and_test_folders(tmp_path: Path, test: str) -> None:
    class_folders(tmp_path / "x" / "train", {"a": 2, "b": 2})
    class_folders(tmp_path / "x" / test, {"b": 1, "c": 2}, start=50)
    train, held = stored(tmp_path / "x"), stored(tmp_path / "x", "test")
    assert (len(train), len(held)) == (4, 3)
    assert train.classes == held.classes == ("a", "b", "c")
    assert held.labels.tolist() == [1, 2, 2]
    assert len(stored(tmp_path / "x", labelled=True)) == 4


def test_a_class_called_train_is_a_class(tmp_path: Path) -> None:
    assert stored(class_folders(tmp_path / "x", {"train": 2, "plane": 2})).classes == ("plane", "train")


def test_the_hold_out(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "x", {"a": 20, "b": 10, "c": 1})
    everything, train, test = stored(root), stored(root, labelled=True), stored(root, "test")
    assert len(everything) == 31
    assert sorted((*train.names, *test.names)) == sorted(everything.names)
    assert np.bincount(test.labels, minlength=3).tolist() == [4, 2, 0]
    assert stored(root, "test", labelled=True).fingerprint == test.fingerprint
    row = test.names.index(test.names[-1])
    assert (test.images([row])[0] == everything.images([everything.names.index(test.names[-1])])[0]).all()


def test_the_hold_out_is_a_function_of_names_and_labels() -> None:
    names = [f"{label}/{index}.png" for label in "ab" for index in range(50)]
    labels = np.repeat([0, 1], 50)
    chosen = held_out(names, labels)
    assert np.bincount(labels[chosen]).tolist() == [10, 10]
    order = np.random.default_rng(0).permutation(100)
    assert (held_out([names[row] for row in order], labels[order]) == chosen[order]).all()
    assert [name for name, held in zip(names, chosen, strict=True) if held][:3] == list(GOLDEN)
    assert held_out(["x"], None).tolist() == [False]
    assert held_out(["x", "y"], None).sum() == 1


GOLDEN = ("a/2.png", "a/7.png", "a/12.png")  # so that no release moves anyone's test images


def test_links_are_followed_and_loops_listed_once(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "x", {"a": 1, "b": 1})
    outside = class_folders(tmp_path / "outside", {"deep": 2})
    (root / "a" / "loop").symlink_to(root)
    (root / "a" / "again").symlink_to(root / "b")
    (root / "c").symlink_to(outside)
    (outside / "back").symlink_to(root / "a")
    (root / "b" / "file.png").symlink_to(root / "a" / "0.png")
    assert list_images(root).images == ("a/0.png", "b/0.png", "b/file.png", "c/deep/0.png", "c/deep/1.png")


def test_a_dangling_link_is_a_broken_image(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "x", {"a": 20, "b": 19})
    (root / "b" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    store = stored(root)
    assert [name for name, _ in store.skipped] == ["b/gone.png"]
    assert store.skipped[0][1].startswith("FileNotFoundError")


def test_other_and_hidden_files(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "x", {"a": 1, "b": 1, ".thumbnails": 3})
    write(root / "a" / ".hidden.png", picture(0))
    (root / "notes.txt").write_text("x")
    (root / "a" / "list.csv").write_text("x")
    store = stored(root)
    assert len(store) == 2
    assert store.ignored == 2


@pytest.mark.parametrize(
    "name",
    ["with space.png", "ünïcödé 猫.png", "new\nline.png", "UPPER.PNG", "two.dots.jpeg", os.fsdecode(b"\xff.png")],
)
def test_names_of_all_kinds(tmp_path: Path, name: str) -> None:
    try:
        write(tmp_path / "x" / name, picture(0))
    except (OSError, UnicodeEncodeError):
        pytest.skip("this file system has no such names")
    store = stored(tmp_path / "x")
    assert store.names == (name,)
    assert stored(tmp_path / "x").names == (name,)


def test_no_image(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "notes.txt").write_text("x")
    with pytest.raises(InputError, match=r"holds no image \(1 other files\); expected files that end in .bmp"):
        stored(tmp_path / "x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read(tmp_path: Path) -> None:
    root = class_folders(tmp_path / "x", {"a": 1})
    (root / "a").chmod(0)
    with pytest.raises(InputError, match="cannot be listed"):
        stored(root)


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ("cifr10", "neither a folder nor a known name; .* Did you mean 'cifar10'?"),
        ("/no/such/folder", "'/no/such/folder' is neither a folder"),
        ("shape:n=3", "Did you mean 'shapes'?"),
        (__file__, "is a file, not a folder"),
        ("cifar10:n=3", "'n=3' is not an option of the data 'cifar10:n=3'"),
        ("shapes:m=3", "not an option of the data 'shapes:m=3' .options: n=…."),
        ("shapes:n=0", "'n=0' in the data 'shapes:n=0' is not a whole number of at least 1"),
        ("shapes:n=many", "not a whole number"),
    ],
)
def test_unknown_data(spec: str, line: str) -> None:
    with pytest.raises(InputError, match=line) as caught:
        load(spec, split="train", fit=Fit.train(32))
    assert "\n" not in str(caught.value)


def test_unknown_split() -> None:
    with pytest.raises(InputError, match="split 'val' is unknown"):
        load("shapes", split="val", fit=Fit.train(32))  # pyright: ignore


def test_native_size_is_the_median_shorter_side(tmp_path: Path) -> None:
    for index, side in enumerate([10, 20, 30]):
        write(tmp_path / "x" / f"{index}.png", picture(0, width=side, height=side + 5))
    assert native_size(str(tmp_path / "x")) == 20
    write(tmp_path / "y" / "0.png", picture(0, width=500, height=400))
    assert native_size(str(tmp_path / "y")) == 224
    assert native_size("shapes:n=7") == native_size("cifar10") == 32
    assert native_size("stl10") == 96
    assert native_size("food101") == 224
