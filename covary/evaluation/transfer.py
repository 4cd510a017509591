"""The sets of out-domain evaluation: how the paper splits each one and scores it (STL, arXiv 2501.08712, table 10).

The sizes equal those of AugSelf (arXiv 2111.09613), whose code draws the validation images of six sets by
``random_split`` with a seed for each set. Where the authors use saved indices, or the draw is not known, it is ours and
called INFERRED.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from covary.errors import InputError
from covary.evaluation.linear import LinearOptions, stratified
from covary.evaluation.metrics import Metric
from covary.keyed import permutation

Choose = Callable[[Tensor, Sequence[str], int], Tensor]  # labels, names, how many -> rows, ascending


@dataclass(frozen=True, kw_only=True)
class PaperSplit:
    """A set of table 10: numbers of classes and of images, and how the validation images are chosen.

    metric: the accuracy that chooses the penalty and that the table reports.
    choose: the rows of the labelled training images that are for validation.
    words:  the same, for the protocol line.
    """

    classes: int
    train: int
    validation: int
    test: int
    metric: Metric
    choose: Choose
    words: str


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The validation images of a linear evaluation (rows of the training images), its metric, and both in words."""

    rows: Tensor
    metric: Metric
    words: str


def _shuffled(seed: int, *, by_class: bool = False) -> Choose:
    """Return what draws the second part of ``torch.utils.data.random_split``, of images as they stand or by class."""

    def rows(labels: Tensor, names: Sequence[str], count: int) -> Tensor:
        order = labels.argsort(stable=True) if by_class else torch.arange(len(labels))
        drawn = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
        return order[drawn[len(labels) - count :]].sort().values

    return rows


def _official(labels: Tensor, names: Sequence[str], count: int) -> Tensor:
    """Return the images of the part ``val``, by which their names begin."""
    return torch.tensor([row for row, name in enumerate(names) if name.startswith("val/")], dtype=torch.int64)


def _spread(labels: Tensor, names: Sequence[str], count: int) -> Tensor:
    """Return images drawn at random, of each class its share of ``count`` up to rounding."""
    order = permutation(len(labels), seed=0, stream="table 10", epoch=0)
    by_class = order[labels[order].argsort(stable=True)]
    return by_class[(2 * torch.arange(count) + 1) * len(labels) // (2 * count)].sort().values


def _seeded(seed: int) -> str:
    return f"random_split with seed {seed}, as AugSelf"


_VAL = "the official validation images"
_DRAWN = "drawn of each class alike, INFERRED"

TABLE10: Mapping[str, PaperSplit] = {
    "cifar10": PaperSplit(
        classes=10,
        train=45_000,
        validation=5_000,
        test=10_000,
        metric="top1",
        choose=_shuffled(43),
        words=_seeded(43),
    ),
    "cifar100": PaperSplit(
        classes=100,
        train=45_000,
        validation=5_000,
        test=10_000,
        metric="top1",
        choose=_shuffled(44),
        words=_seeded(44),
    ),
    "food101": PaperSplit(
        classes=101,
        train=68_175,
        validation=7_575,
        test=25_250,
        metric="top1",
        choose=_shuffled(42, by_class=True),  # AugSelf reads the classes in order, torchvision as the file has them
        words=_seeded(42),
    ),
    "mit67": PaperSplit(
        classes=67,
        train=4_690,
        validation=670,
        test=1_340,
        metric="top1",
        choose=_shuffled(51),
        words=_seeded(51),
    ),
    "oxford-pets": PaperSplit(
        classes=37,
        train=2_940,
        validation=740,
        test=3_669,
        metric="mean_per_class",
        choose=_shuffled(49),
        words=_seeded(49),
    ),
    "flowers102": PaperSplit(
        classes=102,
        train=1_020,
        validation=1_020,
        test=6_149,
        metric="mean_per_class",
        choose=_official,
        words=_VAL,
    ),
    "caltech101": PaperSplit(
        classes=101,
        train=2_525,
        validation=505,
        test=5_647,
        metric="mean_per_class",
        choose=_spread,
        words=f"{_DRAWN}, as are the 30 of each class that are not for testing",
    ),
    "cars": PaperSplit(
        classes=196,
        train=6_494,
        validation=1_650,
        test=8_041,
        metric="top1",
        choose=_spread,
        words=_DRAWN,
    ),
    "aircraft": PaperSplit(
        classes=100,
        train=3_334,
        validation=3_333,
        test=3_333,
        metric="mean_per_class",
        choose=_official,
        words=_VAL,
    ),
    "dtd": PaperSplit(
        classes=47,
        train=1_880,
        validation=1_880,
        test=1_880,
        metric="top1",
        choose=_official,
        words=f"{_VAL} of partition 1",
    ),
    "sun397": PaperSplit(
        classes=397,
        train=15_880,
        validation=3_970,
        test=19_850,
        metric="top1",
        choose=_spread,
        words=f"{_DRAWN}, as is the rest where the official lists are not beside the images",
    ),
    "stl10": PaperSplit(
        classes=10,
        train=4_500,
        validation=500,
        test=8_000,
        metric="top1",
        choose=_shuffled(50),
        words=_seeded(50),
    ),
}
IN_DOMAIN = ("stl10", "imagenet100")
TRANSFER = tuple(name for name in TABLE10 if name not in IN_DOMAIN)


def expand(specs: Sequence[str]) -> list[str]:
    """Return SPECs without repetition, ``table10`` standing for the eleven out-domain sets."""
    return list(dict.fromkeys(name for spec in specs for name in (TRANSFER if spec == "table10" else (spec,))))


def hold_out(
    data: str, labels: Tensor, names: Sequence[str], *, classes: int, tests: int, options: LinearOptions, seed: int
) -> HeldOut:
    """Return which training images choose the penalty, and by which accuracy.

    options.split "auto": those of table 10 for its sets, a share of each class (``stratified``) for other data; "paper"
    and "stratified" insist on one. options.metric "auto": the set's of table 10, else top1.

    labels: int64 (n,) on the CPU, of the training images. names: n. tests: number of test images.

    Raises InputError: "paper" for data that is not in table 10, or whose sizes are not the table's.
    """
    paper = TABLE10.get(data)
    if options.split == "paper" and paper is None:
        raise InputError(
            f"linear split is 'paper', but table 10 has no split of {data}; expected one of {', '.join(TABLE10)}, "
            "or the split auto or stratified."
        )
    metric = options.metric if options.metric != "auto" else paper.metric if paper else "top1"
    if paper is None or options.split == "stratified":
        why = f"INFERRED: table 10 has no split of {data}" if paper is None else "not as table 10"
        words = f"{options.validation:g} of each class, seed {seed}, {why}"
        return HeldOut(rows=stratified(labels, fraction=options.validation, seed=seed), metric=metric, words=words)
    rows = paper.choose(labels, names, min(paper.validation, len(labels)))
    found = (classes, len(labels) - len(rows), len(rows), tests)
    expected = (paper.classes, paper.train, paper.validation, paper.test)
    if found != expected:
        raise InputError(
            f"{data} has {_sizes(found)}; table 10 has {_sizes(expected)}. "
            "Give the whole set, or --linear.split stratified for a split of our own."
        )
    return HeldOut(rows=rows, metric=metric, words=f"{paper.words}, table 10")


def _sizes(numbers: tuple[int, int, int, int]) -> str:
    return "{:,} classes and {:,} training, {:,} validation and {:,} test images".format(*numbers)
