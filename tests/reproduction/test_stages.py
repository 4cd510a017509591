"""Before the numbers: what tells images, with boxes or without, from others of the same SPEC."""

from pathlib import Path

import torch
from PIL import Image

from covary.evaluation import Options
from covary.recipes import start_run
from covary.reproduction.stages import Place, check_images


def place(folder: Path) -> Place:
    return Place(device=torch.device("cpu"), root=folder, cache=folder, options=Options(), say=lambda line: None)


def annotate(folder: Path, name: str, right: int) -> None:
    (folder / "Annotations" / f"{name}.xml").write_text(
        "<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin>"
        f"<xmax>{right}</xmax><ymax>9</ymax></bndbox></object></annotation>"
    )


def test_images_with_other_boxes_are_other_images(tmp_path: Path) -> None:
    folder = tmp_path / "boxed"
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    for name, split in (("a", "trainval"), ("b", "test")):
        Image.new("RGB", (32, 32)).save(folder / "JPEGImages" / f"{name}.png")
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text(f"{name}\n")
        annotate(folder, name, 9)

    def content() -> str:
        checked = check_images(
            [("detection", str(folder))], run=start_run(recipe="demo/stl"), place=place(tmp_path / "rest")
        )
        return checked.fingerprints["detection", str(folder)]

    before = content()
    assert content() == before
    annotate(folder, "b", 20)
    assert content() != before
