import re
import urllib.error
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torchvision.datasets

from covary.errors import InputError, MissingData
from covary.evaluation.detection import voc

NOWHERE = Path("/nonexistent")


def test_boxes_are_counted_from_zero_and_cut_at_the_edges(drawn: Path, write_annotation: Callable) -> None:
    write_annotation(drawn, "train0", [("blue", 1, 1, 96, 64), ("red", 11, 21, 12, 22), ("red", 90, -3, 200, 4)])
    write_annotation(drawn, "test1", [("red", 5, 5, 6, 6)], difficult=1)
    images = voc.load(str(drawn), root=NOWHERE)
    assert images.classes == ("red", "blue")
    assert (len(images.train), len(images.test)) == (6, 3)
    first = images.train[0]
    assert first.image == drawn / "JPEGImages" / "train0.png"
    assert first.boxes.tolist() == [[0, 0, 96, 64], [10, 20, 12, 22], [89, 0, 96, 4]]
    assert first.labels.tolist() == [2, 1, 1]
    assert first.difficult.tolist() == [False] * 3
    assert images.test[1].difficult.tolist() == [True]


def test_an_image_without_objects_is_an_image(drawn: Path, write_annotation: Callable) -> None:
    write_annotation(drawn, "train0", [])
    first = voc.load(str(drawn), root=NOWHERE).train[0]
    assert first.boxes.shape == (0, 4)
    assert (first.labels.dtype, first.difficult.dtype) == (torch.int64, torch.bool)


def test_the_digest_tells_other_files(drawn: Path, write_annotation: Callable) -> None:
    before = voc.load(str(drawn), root=NOWHERE).identity
    assert voc.load(str(drawn), root=NOWHERE).identity == before
    write_annotation(drawn, "train0", [("blue", 1, 1, 96, 64)])
    assert voc.load(str(drawn), root=NOWHERE).identity != before


def damage(file: str, content: str | None) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        if content is None:
            (folder / file).unlink()
        else:
            (folder / file).write_text(content)

    return apply


OBJECT = "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax></bndbox></object>"


@pytest.mark.parametrize(
    ("breakage", "message"),
    [
        (damage("JPEGImages/train1.png", None), r"The image \S+train1.jpg cannot be read"),
        (damage("JPEGImages/train1.png", "no image"), r"The image \S+train1.png cannot be read"),
        (damage("Annotations/test2.xml", None), r"The annotation \S+test2.xml is broken"),
        (damage("Annotations/test2.xml", "<annotation>"), r"The annotation \S+test2.xml is broken"),
        (damage("Annotations/test2.xml", f"<a>{OBJECT.format('red', 'x')}</a>"), r"test2.xml is broken \(could not"),
        (
            damage("Annotations/test2.xml", "<a><object><name>red</name></object></a>"),
            r"test2.xml is broken \(an object has no bndbox/xmin\)",
        ),
        (
            damage("Annotations/test2.xml", f"<a>{OBJECT.format('bleu', 1)}</a>"),
            r"test2.xml has an object of the class 'bleu'; expected red, blue. Did you mean 'blue'\?",
        ),
        (damage("Annotations/test2.xml", f"<a>{OBJECT.format('red', 10)}</a>"), r"Box 1 of \S+test2.xml is empty"),
        (
            damage("Annotations/test2.xml", f"<a>{OBJECT.format('red', 'nan')}</a>"),
            r"Box 1 of \S+test2.xml .*not finite",
        ),
        (
            damage("Annotations/test2.xml", f"<a>{OBJECT.format('red', '-inf')}</a>"),
            r"Box 1 of \S+test2.xml .*not finite",
        ),
        (
            damage("Annotations/test2.xml", f"<a>{OBJECT.format('red', '-1e39')}</a>"),
            r"Box 1 of \S+test2.xml .*not finite",
        ),
        (damage("classes.txt", "\n"), r"\S+classes.txt names no class; write a class a line, or remove it"),
        (damage("classes.txt", "red\nblue\nred\n"), r"\S+classes.txt names the class 'red' twice; keep one"),
        (
            damage("ImageSets/Main/test.txt", "test0\ntrain4\n"),
            r"The image \S+train4.png is both to train on and to test on; strike it off one of the lists in \S+Main\.$",
        ),
        (damage("ImageSets/Main/test.txt", None), r"\S+test.txt cannot be read"),
        (damage("ImageSets/Main/test.txt", "\n"), r"\S+test.txt names no image with an object"),
    ],
)
def test_what_is_broken_is_named(drawn: Path, breakage: Callable[[Path], None], message: str) -> None:
    breakage(drawn)
    with pytest.raises(InputError) as caught:
        voc.load(str(drawn), root=NOWHERE)
    assert re.search(message, str(caught.value))
    assert "\n" not in str(caught.value)


def test_difficult_objects_are_enough_to_train_on_but_not_to_test_on(drawn: Path, write_annotation: Callable) -> None:
    for index in range(6):
        write_annotation(drawn, f"train{index}", [("red", 5, 5, 9, 9)], difficult=1)
    write_annotation(drawn, "test0", [("red", 5, 5, 9, 9)], difficult=1)
    write_annotation(drawn, "test1", [])
    assert len(voc.load(str(drawn), root=NOWHERE).test) == 3
    write_annotation(drawn, "test2", [("blue", 5, 5, 9, 9)], difficult=1)
    with pytest.raises(InputError, match=r"\S+test.txt names no image with an object that is not difficult, and"):
        voc.load(str(drawn), root=NOWHERE)


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is not in PASCAL VOC's layout \(\S+Main is missing\)"):
        voc.load(str(tmp_path), root=NOWHERE)
    with pytest.raises(InputError, match=r"Did you mean 'voc07\+12'\?"):
        voc.load("voc0712", root=NOWHERE)


def test_voc0712_trains_on_two_years_and_tests_on_one(tmp_path: Path, draw: Callable, monkeypatch) -> None:
    for year, count in (("2007", 2), ("2012", 3)):
        draw(tmp_path / "VOCdevkit" / f"VOC{year}", train=count, test=1)
    monkeypatch.setattr(voc, "VOC_CLASSES", ("red", "blue"))
    images = voc.load("voc07+12", root=tmp_path)
    assert [one.image.parts[-3] for one in images.train] == ["VOC2007"] * 2 + ["VOC2012"] * 3
    assert [one.image.parts[-3] for one in images.test] == ["VOC2007"]
    assert images.classes == ("red", "blue")


def test_voc0712_is_downloaded_where_it_is_missing(tmp_path: Path, draw: Callable, monkeypatch) -> None:
    asked = []

    def download(root: Path, *, year: str, image_set: str, download: bool) -> None:
        asked.append((year, image_set))
        if year == "2012":
            raise urllib.error.URLError("no network")

    monkeypatch.setattr(torchvision.datasets, "VOCDetection", download)
    draw(tmp_path / "VOCdevkit" / "VOC2007")
    (tmp_path / "VOCdevkit" / "VOC2007" / "ImageSets" / "Main" / "test.txt").unlink()
    with pytest.raises(MissingData) as caught:
        voc.load("voc07+12", root=tmp_path)
    assert asked == [("2007", "test"), ("2012", "trainval")]
    assert str(caught.value) == (
        f"voc07+12 is not in {tmp_path}/VOCdevkit/VOC2012 (trainval) and cannot be downloaded (URLError: no network); "
        "put PASCAL VOC's files there, or name another --root."
    )


def test_real_images(shared_data: Path) -> None:
    images = voc.load(str(shared_data / "det_bccd"), root=NOWHERE)
    assert images.classes == ("RBC", "WBC", "Platelets")
    assert (len(images.train), len(images.test)) == (292, 72)
    assert sum(len(one.labels) for one in (*images.train, *images.test)) == 4886
