"""Every known set, read from a tiny copy in its own on-disk format."""

import json
import os
import pickle
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pictures import class_folders, picture, write
from PIL import Image

from covary.data import Fit, ImageStore, load, native_size
from covary.data.class_splits import Drawn, chooser
from covary.data.folder import first_folder
from covary.data.imagenet100 import WNIDS
from covary.data.torchvision_sets import SETS
from covary.errors import InputError

Maker = Callable[[Path], None]


def arrays(seeds: range, side: int) -> np.ndarray:
    """uint8 (n, 3, side, side)"""
    images = [np.asarray(picture(seed, width=side, height=side)).transpose(2, 0, 1) for seed in seeds]
    return np.stack(images)


def savemat(path: Path, **values: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pytest.importorskip("scipy.io", reason="needs the data extra").savemat(path, values)


def text(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def pickled(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(value))


def cifar10(root: Path) -> None:
    folder = root / "cifar-10-batches-py"
    for batch in range(1, 6):
        data = arrays(range(2 * batch, 2 * batch + 2), 32).reshape(2, -1)
        pickled(folder / f"data_batch_{batch}", {"data": data, "labels": [0, batch]})
    pickled(folder / "test_batch", {"data": arrays(range(50, 53), 32).reshape(3, -1), "labels": [7, 8, 9]})
    pickled(folder / "batches.meta", {"label_names": [f"class {index}" for index in range(10)]})


def cifar100(root: Path) -> None:
    folder = root / "cifar-100-python"
    pickled(folder / "train", {"data": arrays(range(4), 32).reshape(4, -1), "fine_labels": [0, 5, 99, 5]})
    pickled(folder / "test", {"data": arrays(range(9, 10), 32).reshape(1, -1), "fine_labels": [3]})
    pickled(folder / "meta", {"fine_label_names": [f"class {index}" for index in range(100)]})


def stl10(root: Path) -> None:
    folder = root / "stl10_binary"
    folder.mkdir(parents=True)
    for name, seeds in (("train", range(4)), ("test", range(10, 13)), ("unlabeled", range(20, 26))):
        arrays(seeds, 96).transpose(0, 1, 3, 2).tofile(folder / f"{name}_X.bin")  # stored column by column
    np.array([1, 2, 10, 1], dtype=np.uint8).tofile(folder / "train_y.bin")
    np.array([3, 4, 5], dtype=np.uint8).tofile(folder / "test_y.bin")
    text(folder / "class_names.txt", *(f"class {index}" for index in range(10)))
    text(folder / "fold_indices.txt", "0")


def svhn(root: Path) -> None:
    for name, seeds, labels in (("train", range(3), [10, 1, 9]), ("test", range(7, 9), [2, 10])):
        images = arrays(seeds, 32).transpose(2, 3, 1, 0)
        savemat(root / "svhn" / f"{name}_32x32.mat", X=images, y=np.array(labels)[:, None])


def flowers102(root: Path) -> None:
    folder = root / "flowers-102"
    for index in range(1, 7):
        write(folder / "jpg" / f"image_{index:05d}.jpg", picture(index))
    savemat(folder / "imagelabels.mat", labels=np.array([1, 2, 3, 4, 5, 102]))
    savemat(folder / "setid.mat", trnid=np.array([1, 2]), valid=np.array([4, 6]), tstid=np.array([3, 5]))


def oxford_pets(root: Path) -> None:
    folder = root / "oxford-iiit-pet"
    names = ["Abyssinian_1", "great_dane_2", "Abyssinian_3", "great_dane_4", "great_dane_5"]
    for index, name in enumerate(names):
        write(folder / "images" / f"{name}.jpg", picture(index))
    lines = [f"{name} {1 + name.startswith('g')} 1 1" for name in names]
    text(folder / "annotations" / "trainval.txt", *lines[:3])
    text(folder / "annotations" / "test.txt", *lines[3:], lines[0])


def food101(root: Path) -> None:
    folder = root / "food-101"
    class_folders(folder / "images", {"apple_pie": 3, "waffles": 2}, suffix=".jpg")
    splits = {"train": {"apple_pie": ["apple_pie/0", "apple_pie/2"], "waffles": ["waffles/1"]}}
    splits["test"] = {"apple_pie": ["apple_pie/1"], "waffles": ["waffles/0"]}
    for name, images in splits.items():
        text(folder / "meta" / f"{name}.json", json.dumps(images))


def dtd(root: Path) -> None:
    folder = root / "dtd" / "dtd"
    class_folders(folder / "images", {"banded": 3, "woven": 3}, suffix=".jpg")
    for index, name in enumerate(("train", "val", "test")):
        text(folder / "labels" / f"{name}1.txt", f"banded/{index}.jpg", f"woven/{index}.jpg")


def aircraft(root: Path) -> None:
    folder = root / "fgvc-aircraft-2013b" / "data"
    for index in range(4):
        write(folder / "images" / f"00{index}.jpg", picture(index))
    text(folder / "variants.txt", "707-320", "A300 B4")
    text(folder / "images_variant_train.txt", "000 A300 B4", "001 707-320")
    text(folder / "images_variant_val.txt", "002 707-320")
    text(folder / "images_variant_test.txt", "003 A300 B4")


def cars(root: Path) -> None:
    folder = root / "stanford_cars"
    kind = [("fname", object), ("class", np.uint8)]
    for name, labels in (("train", [1, 2, 2]), ("test", [2, 1])):
        for index in range(len(labels)):
            write(folder / f"cars_{name}" / f"{index}.jpg", picture(index + 10 * (name == "test")))
        rows = np.array([(f"{index}.jpg", label) for index, label in enumerate(labels)], dtype=kind)
        place = (
            folder / "devkit" / "cars_train_annos.mat" if name == "train" else folder / "cars_test_annos_withlabels.mat"
        )
        savemat(place, annotations=rows)
    savemat(folder / "devkit" / "cars_meta.mat", class_names=np.array(["AM General Hummer", "Acura RL"], dtype=object))


def caltech101(root: Path) -> None:
    counts = {"accordion": 34, "airplanes": 31, "BACKGROUND_Google": 4}
    class_folders(root / "caltech101" / "101_ObjectCategories", counts, suffix=".jpg")


def eurosat(root: Path) -> None:
    class_folders(root / "eurosat" / "2750", {"Forest": 10, "River": 10}, suffix=".jpg")


def sun397(root: Path) -> None:
    for name in ("a/abbey", "a/apartment_building/outdoor", "y/yard"):
        for index in range(5):
            write(root / "SUN397" / name / f"sun_{index}.jpg", picture(10 * len(name) + index))
    text(root / "SUN397" / "ClassName.txt", "/a/abbey", "/a/apartment_building/outdoor", "/y/yard")
    text(root / "SUN397" / "Training_01.txt", "/a/abbey/sun_0.jpg", "/a/apartment_building/outdoor/sun_3.jpg")
    text(root / "SUN397" / "Testing_01.txt", "/a/abbey/sun_4.jpg", "/y/yard/sun_1.jpg", "/y/yard/sun_2.jpg")


def mit67(root: Path) -> None:
    class_folders(root / "mit67" / "Images", {"bakery": 3, "bar": 2, "tv_studio": 2}, suffix=".jpg")
    text(root / "mit67" / "TrainImages.txt", "tv_studio/0.jpg", "bakery/2.jpg", "bar/1.jpg", "bakery/0.jpg")
    text(root / "mit67" / "TestImages.txt", "bakery/1.jpg", "tv_studio/1.jpg")


@pytest.fixture(autouse=True)
def small_copies_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take a file's presence for its checksum, and let nothing reach a network."""
    for module in ("cifar", "stl10", "svhn", "flowers102"):
        monkeypatch.setattr(
            f"torchvision.datasets.{module}.check_integrity", lambda path, md5=None: os.path.isfile(path)
        )

    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", offline)


def stored(root: Path, name: str, split: str, *, labelled: bool = False) -> ImageStore:
    return load(name, split=split, fit=Fit.train(96), root=root, cache=root / "cache", labelled=labelled)


# name -> maker, labels of train, labels of test, number of classes
OFFICIAL: dict[str, tuple[Maker, list[int], list[int], int]] = {
    "cifar10": (cifar10, [0, 1, 0, 2, 0, 3, 0, 4, 0, 5], [7, 8, 9], 10),
    "cifar100": (cifar100, [0, 5, 99, 5], [3], 100),
    "stl10": (stl10, [0, 1, 9, 0, -1, -1, -1, -1, -1, -1], [2, 3, 4], 10),
    "svhn": (svhn, [0, 1, 9], [2, 0], 10),
    "flowers102": (flowers102, [0, 1, 3, 101], [2, 4], 102),
    "oxford-pets": (oxford_pets, [0, 1, 0], [1, 1, 0], 2),
    "food101": (food101, [0, 0, 1], [0, 1], 2),
    "dtd": (dtd, [0, 1, 0, 1], [0, 1], 2),
    "aircraft": (aircraft, [1, 0, 0], [1], 2),
    "cars": (cars, [0, 1, 1], [1, 0], 2),
}
HELD_OUT: dict[str, tuple[Maker, dict[str, int]]] = {
    "eurosat": (eurosat, {"Forest": 2, "River": 2}),
}
CHOSEN: dict[str, tuple[Maker, tuple[str, ...], list[str], list[str]]] = {  # maker, classes, names of train, of test
    "mit67": (
        mit67,
        ("bakery", "bar", "tv_studio"),
        ["bakery/0.jpg", "bakery/2.jpg", "bar/1.jpg", "tv_studio/0.jpg"],
        ["bakery/1.jpg", "tv_studio/1.jpg"],
    ),
    "sun397": (
        sun397,
        ("abbey", "apartment_building/outdoor", "yard"),
        ["a/abbey/sun_0.jpg", "a/apartment_building/outdoor/sun_3.jpg"],
        ["a/abbey/sun_4.jpg", "y/yard/sun_1.jpg", "y/yard/sun_2.jpg"],
    ),
}


def test_every_known_set_is_tested() -> None:
    assert OFFICIAL.keys() | HELD_OUT.keys() | CHOSEN.keys() | {"caltech101"} == SETS.keys()


@pytest.mark.parametrize("name", OFFICIAL)
def test_sets_with_official_splits(name: str, tmp_path: Path) -> None:
    make, train_labels, test_labels, classes = OFFICIAL[name]
    make(tmp_path)
    train, test = stored(tmp_path, name, "train"), stored(tmp_path, name, "test")
    assert train.labels.tolist() == train_labels
    assert test.labels.tolist() == test_labels
    assert train.classes == test.classes
    assert len(train.classes) == classes
    assert not train.skipped
    labelled = stored(tmp_path, name, "train", labelled=True)
    assert labelled.labels.tolist() == [label for label in train_labels if label >= 0]


@pytest.mark.parametrize("name", HELD_OUT)
def test_sets_without_official_splits(name: str, tmp_path: Path) -> None:
    make, held = HELD_OUT[name]
    make(tmp_path)
    train, test = stored(tmp_path, name, "train"), stored(tmp_path, name, "test")
    assert test.classes == train.classes == tuple(held)
    assert np.bincount(test.labels).tolist() == list(held.values())
    assert not {*train.names} & {*test.names}
    assert np.bincount(train.labels).tolist() == [4 * count for count in held.values()]
    assert stored(tmp_path, name, "train", labelled=True).fingerprint == train.fingerprint


@pytest.mark.parametrize("name", CHOSEN)
def test_sets_with_official_lists(name: str, tmp_path: Path) -> None:
    make, classes, *names = CHOSEN[name]
    make(tmp_path)
    for split, expected in zip(("train", "test"), names, strict=True):
        store = stored(tmp_path, name, split)
        assert list(store.names) == expected
        assert store.classes == classes
        assert stored(tmp_path, name, split, labelled=True).fingerprint == store.fingerprint


def test_caltech101_trains_on_thirty_images_of_each_class_and_tests_on_the_rest(tmp_path: Path) -> None:
    caltech101(tmp_path)
    train, test = stored(tmp_path, "caltech101", "train"), stored(tmp_path, "caltech101", "test")
    assert train.classes == test.classes == ("accordion", "airplanes")
    assert (np.bincount(train.labels).tolist(), np.bincount(test.labels).tolist()) == ([30, 30], [4, 1])
    assert not {*train.names} & {*test.names}


def test_without_its_lists_sun397_is_drawn_fifty_and_fifty_per_class(tmp_path: Path) -> None:
    for name, count in (("a/abbey", 110), ("y/yard", 101)):
        for index in range(count):
            write(tmp_path / "SUN397" / name / f"sun_{index}.jpg", picture(index))
    train, test = stored(tmp_path, "sun397", "train"), stored(tmp_path, "sun397", "test")
    assert np.bincount(train.labels).tolist() == np.bincount(test.labels).tolist() == [50, 50]
    assert not {*train.names} & {*test.names}


def test_a_draw_depends_on_names_alone() -> None:
    draw = chooser(Path("none"), "train", lists=None, drawn=Drawn(train=3), class_of=first_folder)
    names = [f"{c}/{i}.jpg" for c in "ab" for i in range(9)]
    drawn = draw(names)
    assert sorted(draw(names[::-1])) == drawn
    assert draw(names[9:]) == drawn[3:]


def test_lists_that_are_missing_or_wrong(tmp_path: Path) -> None:
    mit67(tmp_path)
    lists = tmp_path / "mit67"
    text(lists / "TestImages.txt", "bakery/1.jpg", "bakery/9.jpg")
    with pytest.raises(InputError, match=r"1 of the 2 images that .*TestImages.txt names are .*such as bakery/9"):
        stored(tmp_path, "mit67", "test")
    (lists / "TestImages.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"the list .*TestImages.txt cannot be read"):
        stored(tmp_path, "mit67", "test")
    (lists / "TestImages.txt").unlink()
    (lists / "TrainImages.txt").unlink()
    with pytest.raises(InputError, match=r"mit67 lacks TrainImages.txt and TestImages.txt; put the official lists"):
        stored(tmp_path, "mit67", "train")
    sun397(tmp_path)
    (tmp_path / "SUN397" / "Testing_01.txt").unlink()
    with pytest.raises(InputError, match=r"SUN397 lacks Testing_01.txt; put the official lists"):
        stored(tmp_path, "sun397", "train")


def test_cars_says_that_its_download_is_gone(tmp_path: Path) -> None:
    pytest.importorskip("scipy.io", reason="needs the data extra")
    with pytest.raises(InputError, match=r"cars is not in .*stanford_cars and cannot be downloaded .*URL is broken"):
        stored(tmp_path, "cars", "train")


@pytest.mark.parametrize(("name", "side"), [("cifar10", 32), ("cifar100", 32), ("stl10", 96), ("svhn", 32)])
def test_pixels_of_array_sets(name: str, side: int, tmp_path: Path) -> None:
    OFFICIAL[name][0](tmp_path)
    first = {"cifar10": 2}.get(name, 0)
    image = stored(tmp_path, name, "train").images([1])[0][0]
    assert np.array_equal(image.permute(1, 2, 0), np.asarray(picture(first + 1, width=side, height=side)))
    assert native_size(name) == side


def test_names_of_classes(tmp_path: Path) -> None:
    oxford_pets(tmp_path)
    svhn(tmp_path)
    assert stored(tmp_path, "oxford-pets", "train").classes == ("Abyssinian", "Great Dane")
    assert stored(tmp_path, "svhn", "train").classes == tuple("0123456789")


def test_a_changed_file_builds_another_store(tmp_path: Path) -> None:
    cifar100(tmp_path)
    before = stored(tmp_path, "cifar100", "train").fingerprint
    pickled(
        tmp_path / "cifar-100-python" / "train", {"data": arrays(range(2), 32).reshape(2, -1), "fine_labels": [1, 2]}
    )
    assert stored(tmp_path, "cifar100", "train").fingerprint != before


@pytest.mark.parametrize("name", SETS)
def test_offline_and_not_there(name: str, tmp_path: Path) -> None:
    line = f"{name} is not in {tmp_path / SETS[name].folder} and cannot be downloaded"
    with pytest.raises(InputError) as caught:
        stored(tmp_path, name, "train")
    assert str(caught.value).startswith(line)
    assert "name another --root" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_kind_of_network_error_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be downloaded \(URLError: Name or service not known\)"):
        stored(tmp_path, "food101", "train")


def test_a_root_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cifar10 is not in .*file"):
        load("cifar10", split="train", fit=Fit.train(32), root=tmp_path / "file", cache=tmp_path / "cache")


def test_the_root_comes_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cifar100(tmp_path)
    monkeypatch.setenv("COVARY_DATA", str(tmp_path))
    assert len(load("cifar100", split="test", fit=Fit.train(32), cache=tmp_path / "cache")) == 1


def test_images_are_read_by_the_same_rules_as_files(tmp_path: Path) -> None:
    food101(tmp_path)
    grey = picture(3).convert("L")
    path = tmp_path / "food-101" / "images" / "apple_pie" / "0.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6
    grey.save(path, exif=exif)
    store = stored(tmp_path, "food101", "train")
    assert store.sizes[0].tolist() == [12, 10]


def imagenet(root: Path, wnids: list[str]) -> Path:
    class_folders(root / "train", dict.fromkeys(wnids, 2), suffix=".JPEG")
    class_folders(root / "val", dict.fromkeys(wnids, 1), suffix=".JPEG", start=500)
    return root


def test_the_hundred_classes() -> None:
    assert len(set(WNIDS.split())) == 100
    assert sorted(WNIDS.split()) == WNIDS.split()


def test_imagenet100_takes_its_classes_out_of_imagenet(tmp_path: Path) -> None:
    wnids = WNIDS.split()
    imagenet(tmp_path / "imagenet", [*wnids, "n00000001", "n99999999"])
    train, test = stored(tmp_path, "imagenet100", "train"), stored(tmp_path, "imagenet100", "test")
    assert train.classes == test.classes == tuple(wnids)
    assert (len(train), len(test)) == (200, 100)
    assert {name.partition("/")[0] for name in train.names} == set(wnids)


def test_imagenet100_with_a_class_list_of_ones_own(tmp_path: Path) -> None:
    imagenet(tmp_path / "in", ["n1", "n2", "n3"])
    text(tmp_path / "list.txt", "n3", "n1")
    spec = f"imagenet100:folder={tmp_path / 'in'},classes={tmp_path / 'list.txt'}"
    assert stored(tmp_path, spec, "train").classes == ("n1", "n3")


def test_imagenet100_that_is_not_there_or_not_whole(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="imagenet is not there; 'imagenet100' needs the ImageNet folder"):
        stored(tmp_path, "imagenet100", "train")
    imagenet(tmp_path / "imagenet", WNIDS.split()[:97])
    with pytest.raises(InputError, match=f"lacks 3 of 100 classes .*such as {WNIDS.split()[97]}"):
        stored(tmp_path, "imagenet100", "train")
    with pytest.raises(InputError, match=r"the class list .*none.txt cannot be read"):
        stored(tmp_path, f"imagenet100:classes={tmp_path / 'none.txt'}", "train")
    text(tmp_path / "one.txt", "n1")
    with pytest.raises(InputError, match=r"names 1 class\(es\); expected two or more"):
        stored(tmp_path, f"imagenet100:classes={tmp_path / 'one.txt'}", "train")
