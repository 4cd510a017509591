"""Before the numbers: what tells images from others of the same SPEC, and which options a task reads."""

from pathlib import Path

import torch
from PIL import Image

from covary import config
from covary.evaluation import Options
from covary.evaluation.tasks import TASKS
from covary.recipes import start_run
from covary.reproduction.stages import OPTIONS, Place, check_images, options_of
from covary.reproduction.tables import CODES


def place(folder: Path) -> Place:
    return Place(device=torch.device("cpu"), root=folder, cache=folder, options=Options(), say=lambda line: None)


def annotate(folder: Path, name: str, right: int) -> None:
    (folder / "Annotations" / f"{name}.xml").write_text(
        "<annotation><object><name>cat</name><bndbox><xmin>1</xmin><ymin>1</ymin>"
        f"<xmax>{right}</xmax><ymax>9</ymax></bndbox></object></annotation>"
    )


def test_every_task_reads_its_options_and_what_is_no_task_reads_none() -> None:
    assert OPTIONS.keys() == TASKS.keys()
    everything = config.to_json(Options())
    assert sorted(OPTIONS.values()) == sorted(everything)
    for task, field in (("few-shot", "few_shot"), ("transform-prediction", "prediction"), ("linear", "linear")):
        assert options_of([task], Options()) == {field: everything[field]}
    assert options_of(["cost", CODES], Options()) == {}


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
