"""B5: data sets of odd sizes, shapes and names: each is trained on, every image once, or refused with what is wrong.

An encoder has no classifier, so no class map is saved with it; both splits of a set are listed together instead.
"""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from covary.data import Batches, Fit, ImageStore, load
from reliability.commands import QUICK, TINY, Answer, command
from reliability.pictures import encoded, folder_of, picture
from reliability.row import Count, Figure, Row, replaced

BYTES = os.fsdecode(b"\xff\xfe caf\xe9")  # is no UTF-8
FIT = Fit.train(8)

Build = Callable[[Path], object]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A data set and a run on it.

    build:   what writes into the folder of the set.
    images:  how many there are to train on; 0 where the run is to be refused.
    says:    words of the refusal.
    classes: those of both splits.
    options: of the run.
    """

    name: str
    build: Build
    images: int = 0
    says: str = ""
    classes: tuple[str, ...] | None = None
    batch: int = 2
    options: tuple[str, ...] = TINY


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Train on each data set; look at the answer, the steps, the images and the classes."""
    count = Count()
    for index, case in enumerate(CASES[:trials]):
        here = folder / f"{index} {BYTES}"
        data, out = here / "data", here / "out"
        data.mkdir(parents=True)
        case.build(data)
        answer = train(case, data, out, folder / "cache")
        wrong = trained(case, answer, data, out, folder / "cache") if case.images else refused(case, answer, out)
        count.add(case.name, held=not wrong, fired=data.is_dir(), seen=wrong)
    return count.figure()


def train(case: Case, data: Path, out: Path, cache: Path) -> Answer:
    """Run a case; an exception is an answer of its own."""
    places = ("--data", str(data), "--out", str(out), "--cache", str(cache))
    try:
        return command("pretrain", *places, *case.options, "--batch-size", str(case.batch), "--log-steps", "1")
    except Exception as error:  # none may leave the command
        return Answer(-1, "", repr(error))


def refused(case: Case, answer: Answer, out: Path) -> list[object]:
    """Return what is wrong with a refusal."""
    fine = answer.code == 2 and answer.one_line and case.says in answer.err and not (out / "run.json").exists()
    return [] if fine else [answer]


def trained(case: Case, answer: Answer, data: Path, out: Path, cache: Path) -> list[object]:
    """Return what is wrong with a run."""
    if answer.code != 0:
        return [answer]
    steps = [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()]
    splits = ("train", "test") if (data / "val").is_dir() else ("train",)
    stores = [load(str(data), split=split, fit=FIT, cache=cache, max_bad=1) for split in splits]
    wrong: list[object] = []
    if answer.out != f"{out}\n" or answer.err.count("\n") > 5:
        wrong.append(answer)
    if len(stores[0]) != case.images or steps != list(range(1, case.images // case.batch + 1)):
        wrong.append(f"{len(stores[0])} images {stores[0].names}, steps {steps}")
    if any(store.classes != case.classes for store in stores):
        wrong.append(f"classes {[store.classes for store in stores]}")
    return wrong


def images(count: int) -> Build:
    """Return what writes so many images."""
    return lambda root: folder_of(root, count)


def named(*names: str) -> Build:
    """Return what writes an image under each path."""

    def build(root: Path) -> None:
        for seed, name in enumerate(names):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(encoded(picture(seed, width=10, height=9)))

    return build


def and_also(first: Build, *others: Build) -> Build:
    """Return what writes one thing after another."""
    return lambda root: [build(root) for build in (first, *others)]


def link(name: str, target: str) -> Build:
    """Return what makes a symbolic link."""
    return lambda root: (root / name).symlink_to(target)


def hard_link(name: str, target: str) -> Build:
    """Return what gives a file a second name."""
    return lambda root: (root / name).hardlink_to(root / target)


def folder(name: str) -> Build:
    """Return what makes an empty folder."""
    return lambda root: (root / name).mkdir(parents=True)


def broken(name: str) -> Build:
    """Return what writes a file that is no image under the name of one."""
    return lambda root: (root / name).write_bytes(b"no image")


def sized() -> list[Case]:
    """Sets of a few images and batches that are one, odd, all or more, with partners and without."""
    simclr = (*QUICK, "--method", "simclr", "--method.head-hidden", "8")
    cases = []
    for count, batch in product(range(5), range(1, 5)):
        if batch % 2:
            fitting, says = 0, "a multiple of 2"
        elif count == 0:
            fitting, says = 0, "holds no image"
        else:
            fitting, says = count * (batch <= count), f"batch size {batch} is larger than the {count} images"
        cases.append(
            Case(name=f"{count} images, batch {batch}", build=images(count), images=fitting, says=says, batch=batch)
        )
    for count, batch, says in ((1, 1, "at least 2"), (3, 3, ""), (2, 3, "batch size 3 is larger")):
        name = f"{count} images, batch {batch}, SimCLR"
        cases.append(
            Case(name=name, build=images(count), images=0 if says else 3, says=says, batch=batch, options=simclr)
        )
    return cases


two = named("a/1.png", "a/2.png", "b/3.png", "b/4.png")
ab = ("a", "b")
CASES = [
    Case(name="a link to its own folder", build=and_also(two, link("a/loop", ".")), images=4, classes=ab),
    *sized(),
    Case(name="an empty class", build=and_also(two, folder("c")), images=4, classes=ab),
    Case(
        name="a class in val alone",
        build=named("train/a/1.png", "train/c/2.png", "val/a/3.png", "val/b/4.png", "val/c/5.png"),
        images=2,
        classes=("a", "b", "c"),
    ),
    Case(
        name="a class in train alone",
        build=named("train/a/1.png", "train/b/2.png", "train/c/3.png", "val/a/4.png", "val/c/5.png"),
        images=3,
        classes=("a", "b", "c"),
    ),
    Case(name="one class", build=named("a/1.png", "a/2.png"), images=2),
    Case(name="nested", build=named("a/x/y/1.png", "a/z/2.png", "b/x/3.png"), images=3, classes=ab),
    Case(name="beside the classes", build=and_also(two, named("5.png")), images=4 + 1, classes=ab),
    Case(name="a link to the set", build=and_also(two, link("a/up", "..")), images=4, classes=ab),
    Case(
        name="two links that loop",
        build=and_also(two, link("a/loop", "../b"), link("b/loop", "../a")),
        images=4,
        classes=ab,
    ),
    Case(name="a link to a class", build=and_also(two, link("c", "a")), images=4, classes=ab),
    Case(name="a link to an image", build=and_also(two, link("b/5.png", "3.png")), images=5, classes=ab),
    Case(name="a file with two names", build=and_also(two, hard_link("b/5.png", "b/3.png")), images=5, classes=ab),
    Case(name="unicode", build=named("é/日本.png", "é/\u0065\u0301.png", "ß/🙂.png"), images=3, classes=("ß", "é")),
    Case(name="spaces", build=named(" a/1 .png", " a/ .png", "b c/2.png"), images=3, classes=(" a", "b c")),
    Case(name="newlines", build=named("a\nb/1\n.png", "c/\r.png"), images=2, classes=("a\nb", "c")),
    Case(name="no UTF-8", build=named(f"{BYTES}/1{BYTES}.png", "a/2.png"), images=2, classes=("a", BYTES)),
    Case(name="quotes and markup", build=named("'\"/[red].png", "%s/{0}.png"), images=2, classes=("%s", "'\"")),
    Case(name="long names", build=named(f"{'a' * 255}/{'b' * 251}.png", "c/1.png"), images=2, classes=("a" * 255, "c")),
    Case(name="a dash, capitals", build=named("-rf/--out.PNG", "a/B.JPEG"), images=2, classes=("-rf", "a")),
    Case(name="a folder named as an image", build=named("a.png/1.png", "b/2.png"), images=2, classes=("a.png", "b")),
    Case(name="an empty train", build=and_also(folder("train"), named("val/a/1.png")), says="train holds no image"),
    Case(name="hidden files alone", build=named(".a.png", ".git/b.png"), says="holds no image"),
    Case(name="other files alone", build=lambda root: (root / "a.txt").touch(), says="holds no image (1 other files)"),
    Case(
        name="a broken file of a hostile name",
        build=and_also(two, broken(f"\n[red]{BYTES}.png")),
        images=4,
        classes=ab,
        options=(*TINY, "--max-bad", "0.5"),
    ),
    Case(
        name="too many broken files of hostile names",
        build=and_also(two, broken(f"\n[red]{BYTES}.png")),
        says="\\n[red]\\udcff",
    ),
]


class Unchecked(Batches):
    """Batches that drop what is left of an epoch, be it all."""

    def __init__(self, store: ImageStore, *, batch_size: int, **options: object) -> None:
        super().__init__(store, batch_size=min(batch_size, len(store)), **options)  # pyright: ignore[reportArgumentType]
        self.steps_per_epoch = len(store) // batch_size


ROW = Row(
    id="B5",
    promise="A set of odd size, shape or names is trained on, every image once, or refused; never a run of no steps",
    trials={"ci": len(CASES), "release": len(CASES)},
    check=check,
    mutants={
        "a run of no steps": replaced("covary.training.Batches", Unchecked),
        "links are followed for ever": replaced("covary.data.folder._first_visit", lambda *_: True),
    },
    mutant_trials=8,
)
