import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import TensorDataset, random_split

from covary.data.find import NAMES
from covary.errors import InputError
from covary.evaluation.linear import LinearOptions, stratified
from covary.evaluation.transfer import IN_DOMAIN, TABLE10, TRANSFER, HeldOut, expand, hold_out

# STL, arXiv 2501.08712, table 10: classes, train, validation, test, metric
TABLE = {
    "cifar10": (10, 45_000, 5_000, 10_000, "top1"),
    "cifar100": (100, 45_000, 5_000, 10_000, "top1"),
    "food101": (101, 68_175, 7_575, 25_250, "top1"),
    "mit67": (67, 4_690, 670, 1_340, "top1"),
    "oxford-pets": (37, 2_940, 740, 3_669, "mean_per_class"),
    "flowers102": (102, 1_020, 1_020, 6_149, "mean_per_class"),
    "caltech101": (101, 2_525, 505, 5_647, "mean_per_class"),
    "cars": (196, 6_494, 1_650, 8_041, "top1"),
    "aircraft": (100, 3_334, 3_333, 3_333, "mean_per_class"),
    "dtd": (47, 1_880, 1_880, 1_880, "top1"),
    "sun397": (397, 15_880, 3_970, 19_850, "top1"),
}
SEEDS = {"cifar10": 43, "cifar100": 44, "food101": 42, "mit67": 51, "oxford-pets": 49, "stl10": 50}  # AugSelf


def training_images(name: str) -> tuple[Tensor, list[str]]:
    """Labels, in no order, and names of as many training images as a set has, those of the official parts in turn."""
    split = TABLE10[name]
    n = split.train + split.validation
    labels = torch.arange(n) % split.classes
    labels = labels[torch.randperm(n, generator=torch.Generator().manual_seed(1))]
    return labels, [f"{'train' if row < split.train else 'val'}/{row}" for row in range(n)]


def held_out(name: str, **change: object) -> HeldOut:
    labels, names = training_images(name)
    split = TABLE10[name]
    given = {"classes": split.classes, "tests": split.test, "options": LinearOptions(), "seed": 0} | change
    return hold_out(name, labels, names, **given)


def test_the_sets_are_those_of_the_table() -> None:
    found = {name: (s.classes, s.train, s.validation, s.test, s.metric) for name, s in TABLE10.items()}
    assert found == {**TABLE, "stl10": (10, 4_500, 500, 8_000, "top1")}
    assert tuple(TABLE) == TRANSFER
    assert {*TABLE10, *IN_DOMAIN} <= {*NAMES}


@pytest.mark.parametrize("name", TABLE10)
def test_validation_images_are_as_many_as_the_table_says_and_the_metric_is_its(name: str) -> None:
    found = held_out(name)
    assert len(found.rows) == TABLE10[name].validation
    assert torch.equal(found.rows, found.rows.unique())
    assert (found.rows[0] >= 0, found.rows[-1] < TABLE10[name].train + TABLE10[name].validation) == (True, True)
    assert found.metric == TABLE10[name].metric
    assert torch.equal(found.rows, held_out(name, seed=5).rows)
    assert ("INFERRED" in found.words) == (name in ("caltech101", "cars", "sun397"))


@pytest.mark.parametrize("name", SEEDS)
def test_seeded_splits_are_random_splits(name: str) -> None:
    """Food-101 as AugSelf reads it: class after class."""
    labels, _ = training_images(name)
    order = np.argsort(labels.numpy(), kind="stable") if name == "food101" else np.arange(len(labels))
    split = TABLE10[name]
    images = TensorDataset(torch.from_numpy(order))
    _, validation = random_split(
        images, [split.train, split.validation], generator=torch.Generator().manual_seed(SEEDS[name])
    )
    assert held_out(name).rows.tolist() == sorted(int(images[index][0]) for index in validation.indices)
    assert f"random_split with seed {SEEDS[name]}" in held_out(name).words


@pytest.mark.parametrize("name", ["flowers102", "aircraft", "dtd"])
def test_official_validation_images_are_validation_images(name: str) -> None:
    split = TABLE10[name]
    assert held_out(name).rows.tolist() == list(range(split.train, split.train + split.validation))


@pytest.mark.parametrize(("name", "each"), [("caltech101", 5), ("sun397", 10), ("cars", None)])
def test_drawn_validation_images_are_alike_in_all_classes(name: str, each: int | None) -> None:
    labels, _ = training_images(name)
    images = torch.bincount(labels)
    share = images * TABLE10[name].validation / len(labels)
    drawn = torch.bincount(labels[held_out(name).rows], minlength=len(images))
    assert ((drawn - share).abs() < 1).all()
    if each:
        assert drawn.unique().tolist() == [each]


@pytest.mark.parametrize("data", ["shapes", "imagenet100", "./cifar10"])
def test_other_data_is_split_by_class_and_scored_by_top1(data: str) -> None:
    labels = torch.arange(200) % 7
    options = LinearOptions(validation=0.2)
    found = hold_out(data, labels, ["x"] * 200, classes=7, tests=9, options=options, seed=3)
    assert torch.equal(found.rows, stratified(labels, fraction=0.2, seed=3))
    assert found.metric == "top1"
    assert found.words == f"0.2 of each class, seed 3, INFERRED: table 10 has no split of {data}"


def test_options_go_before_the_table() -> None:
    found = held_out("flowers102", options=LinearOptions(split="stratified", metric="top1"))
    assert (found.metric, found.words) == ("top1", "0.1 of each class, seed 0, not as table 10")
    assert torch.equal(found.rows, stratified(training_images("flowers102")[0], fraction=0.1, seed=0))
    assert held_out("flowers102", options=LinearOptions(split="paper", metric="top1")).metric == "top1"


def test_sets_of_other_sizes_are_refused() -> None:
    with pytest.raises(InputError, match=r"mit67 has 67 classes and 4,690 training, 670 validation and 9 test "):
        held_out("mit67", tests=9)
    with pytest.raises(InputError, match=r"has 66 classes .*; table 10 has 67 .*, or --linear.split stratified"):
        held_out("mit67", classes=66)
    options = LinearOptions()
    for name in TABLE10:  # few images: fewer than are for validation
        with pytest.raises(InputError, match="Give the whole set"):
            hold_out(name, torch.arange(12) % 3, ["val/a"] * 12, classes=3, tests=4, options=options, seed=0)
    assert len(held_out("mit67", tests=9, options=LinearOptions(split="stratified")).rows) == 67 * 8


def test_the_papers_split_of_other_data_is_refused() -> None:
    with pytest.raises(InputError, match=r"table 10 has no split of shapes; expected one of cifar10, cifar100, "):
        hold_out("shapes", torch.arange(4), ["x"] * 4, classes=4, tests=1, options=LinearOptions(split="paper"), seed=0)


def test_table10_stands_for_the_eleven() -> None:
    assert expand(["table10"]) == list(TABLE)
    assert expand(["shapes", "dtd", "table10", "shapes"]) == [
        "shapes",
        "dtd",
        *(name for name in TABLE if name != "dtd"),
    ]
