import math
from pathlib import Path

import numpy as np
import pytest
import torch

from covary.data import Fit, load, native_size, normalization, shapes
from covary.data.sdf import SHAPES
from covary.errors import InputError


def drawn(
    name: str, *, size: int = 64, rotation: float = 0.0, x: float = 0.5, y: float = 0.5, scale: float = 0.45
) -> np.ndarray:
    """A black shape on a plain mid-grey background: float (size, size), the red channel."""
    values = dict.fromkeys(shapes.FACTORS, 0.0)
    values |= {"x": x, "y": y, "scale": scale, "rotation": rotation, "background_luma": 0.5, "contrast": -0.4}
    image = shapes.render(
        np.array([list(values.values())]),
        np.array([shapes.CLASSES.index(name)]),
        np.zeros((1, size, size)),
        size,
    )
    return image[0].mean(axis=2)


def covered(image: np.ndarray) -> np.ndarray:
    """How much of each pixel a shape of ``drawn`` covers."""
    high, low = image.max(), image.min()
    return (high - image) / (high - low)


@pytest.mark.parametrize("name", SHAPES)
def test_each_shape_has_area_one_its_centroid_at_the_origin_and_is_within_reach(name: str) -> None:
    grid = (np.arange(1000) + 0.5) / 1000 * 2.2 - 1.1
    x, y = np.meshgrid(grid, grid)
    inside = SHAPES[name](x, y) < 0
    assert inside.mean() * 2.2**2 == pytest.approx(1, abs=5e-3)
    assert abs(x[inside].mean()) < 5e-3
    assert abs(y[inside].mean()) < 5e-3
    assert np.hypot(x, y)[inside].max() < shapes.REACH


@pytest.mark.parametrize("name", SHAPES)
def test_distances_are_distances(name: str) -> None:
    """A signed distance changes by at most the way walked, and by all of it away from the boundary's normal fan."""
    points = np.random.default_rng(0).uniform(-1, 1, (2, 4000))
    step = np.random.default_rng(1).normal(size=(2, 4000)) * 0.01
    change = np.abs(SHAPES[name](*(points + step)) - SHAPES[name](*points))
    assert (change <= np.hypot(*step) + 1e-12).all()


@pytest.mark.parametrize("name", SHAPES)
def test_coverage_is_close_to_supersampling(name: str) -> None:
    fine = covered(drawn(name, size=512, rotation=0.4)).reshape(32, 16, 32, 16).mean(axis=(1, 3))
    assert np.abs(covered(drawn(name, size=32, rotation=0.4)) - fine).max() < 0.35
    assert np.abs(covered(drawn(name, size=32, rotation=0.4)) - fine).mean() < 0.01


def test_the_factors_place_scale_and_turn_the_shape() -> None:
    def moments(**factors: float) -> tuple[float, float, float]:
        weight = covered(drawn("square", **factors))
        y, x = np.mgrid[:64, :64] + 0.5
        return (weight * x).sum() / weight.sum() / 64, (weight * y).sum() / weight.sum() / 64, weight.sum() / 64**2

    assert moments(x=0.4, y=0.6, scale=0.3) == pytest.approx((0.4, 0.6, 0.09), abs=2e-3)
    assert moments(scale=0.45)[2] == pytest.approx(0.45**2, abs=2e-3)
    turned = drawn("tee", rotation=np.pi / 2)
    assert np.abs(turned - np.rot90(drawn("tee"), -1)).max() <= 1


def test_images_do_not_depend_on_how_many_are_asked_for(tmp_path: Path) -> None:
    few, many = (load(f"shapes:n={n}", split="train", fit=Fit.train(16), cache=tmp_path) for n in (30, 700))
    assert torch.equal(few.images(range(30))[0], many.images(range(30))[0])
    assert torch.equal(torch.from_numpy(few.labels), torch.from_numpy(many.labels[:30]))


def test_default_counts_sizes_classes_and_disjoint_splits(tmp_path: Path) -> None:
    train = load("shapes", split="train", fit=Fit.train(8), cache=tmp_path)
    test = load("shapes", split="test", fit=Fit.evaluate(8), cache=tmp_path)
    assert (len(train), len(test)) == (10_000, 2_000)
    assert train.uniform
    assert train.canvas([0]) == test.canvas([0]) == (8, 8)
    assert train.classes == shapes.CLASSES
    assert len(shapes.CLASSES) >= 10
    assert np.ptp(np.bincount(train.labels)) <= 1
    assert not {bytes(digest) for digest in train.digests} & {bytes(digest) for digest in test.digests}
    assert len(load("shapes:n=50", split="test", fit=Fit.evaluate(8), cache=tmp_path)) == 2_000
    assert native_size("shapes") == 32


def test_the_same_pixels_on_every_machine(tmp_path: Path) -> None:
    """Golden, from this code : change VERSION with it."""
    store = load("shapes:n=100", split="train", fit=Fit.train(32), cache=tmp_path)
    assert store.fingerprint == FINGERPRINT


FINGERPRINT = "4253665fd997fbd17dd43ff0698575aa"


def test_factors_are_known_and_in_range() -> None:
    values = shapes.factors(split="train", count=2000)
    assert values.shape == (2000, len(shapes.FACTORS))
    column = dict(zip(shapes.FACTORS, values.T, strict=True))
    for name, (low, high) in shapes.FACTORS.items():
        assert low <= column[name].min() < column[name].max() <= high
    reach = shapes.REACH * column["scale"]
    for name in ("x", "y"):
        assert (column[name] - reach >= -1e-9).all()
        assert (column[name] + reach <= 1 + 1e-9).all()
    assert np.abs(column["contrast"]).min() >= shapes.LEAST_CONTRAST
    assert abs((column["contrast"] > 0).mean() - 0.5) < 0.05
    assert not np.array_equal(values, shapes.factors(split="test", count=2000))


@pytest.mark.parametrize(("name", "classes"), [(n, math.prod(bins.values())) for n, bins in shapes.LABELS.items()])
def test_other_labels_of_the_same_images(name: str, classes: int, tmp_path: Path) -> None:
    """Equally many images in each class of one factor; a class is a range of the factor."""
    plain = load("shapes:n=600", split="train", fit=Fit.train(8), cache=tmp_path)
    store = load(f"shapes:n=600,label={name}", split="train", fit=Fit.train(8), cache=tmp_path)
    assert np.array_equal(store.digests, plain.digests)
    assert len(store.classes) == len(set(store.classes)) == classes
    assert store.labels.tolist() == shapes.factor_labels(name, split="train", count=600).tolist()
    labels = shapes.factor_labels(name, split="train", count=10_000)
    if name != "position":
        assert np.ptp(np.bincount(labels, minlength=classes)) <= 1
        column = shapes.factors(split="train", count=10_000)[:, list(shapes.FACTORS).index(name)]
        ordered = [(column[labels == c].min(), column[labels == c].max()) for c in range(classes)]
        assert [end for pair in ordered for end in pair] == sorted(end for pair in ordered for end in pair)
    test = shapes.factor_labels(name, split="test", count=2000)
    assert np.bincount(test, minlength=classes).min() > 0.6 * 2000 / classes
    assert store.fingerprint != plain.fingerprint


def test_positions_are_rows_and_columns() -> None:
    values = dict(zip(shapes.FACTORS, shapes.factors(split="test", count=2000).T, strict=True))
    names = np.array(shapes.factor_classes("position"))[shapes.factor_labels("position", split="test", count=2000)]
    assert values["y"][np.char.startswith(names, "y 3 of 3")].min() > values["y"][names == "y 2 of 3, x 1 of 3"].max()
    assert values["x"][np.char.endswith(names, "x 1 of 3")].max() < values["x"][names == "y 1 of 3, x 2 of 3"].min()
    assert np.bincount(shapes.labels(2000)[names == "y 2 of 3, x 2 of 3"], minlength=12).min() > 5


def test_an_unknown_label_set_is_refused() -> None:
    with pytest.raises(InputError, match=r"'label=hues' in the data 'shapes:label=hues' is unknown; .*mean 'hue'\?"):
        load("shapes:label=hues", split="train", fit=Fit.train(8))


def test_pixels_and_colours_do_not_give_the_class_away(tmp_path: Path) -> None:
    """Ridge regression on pixels and on colour histograms, trained on 4,000 images, is near chance (1 in 12)."""
    train = load("shapes:n=4000", split="train", fit=Fit.train(32), cache=tmp_path)
    test = load("shapes", split="test", fit=Fit.train(32), cache=tmp_path)

    def accuracy(features: list[np.ndarray]) -> float:
        mean, scale = features[0].mean(0), features[0].std(0) + 1e-6
        x, y = ((part - mean) / scale for part in features)
        targets = np.eye(12)[train.labels] - 1 / 12
        weights = np.linalg.solve(x.T @ x + 100 * np.eye(x.shape[1]), x.T @ targets)
        return float(((y @ weights).argmax(1) == test.labels).mean())

    images = [store.images(range(len(store)))[0].numpy() for store in (train, test)]
    thumbnails = [part.reshape(len(part), 3, 16, 2, 16, 2).mean(axis=(3, 5)).reshape(len(part), -1) for part in images]
    histograms = [
        np.stack(
            [np.bincount(image.reshape(3, -1)[channel] // 16, minlength=16) for image in part for channel in range(3)]
        )
        .reshape(len(part), -1)
        .astype(np.float64)
        for part in images
    ]
    assert accuracy(thumbnails) < 0.2
    assert accuracy(histograms) < 0.2


def test_known_statistics(tmp_path: Path) -> None:
    store = load("shapes:n=2000", split="train", fit=Fit.train(32), cache=tmp_path)
    pixels = store.images(range(2000))[0].double() / 255
    mean, std = normalization("shapes")
    assert pixels.mean((0, 2, 3)).tolist() == pytest.approx(mean, abs=0.02)
    assert pixels.std((0, 2, 3)).tolist() == pytest.approx(std, abs=0.02)
    assert normalization("shapes:n=5") == normalization("shapes")
    assert normalization("/some/folder")[0] == (0.485, 0.456, 0.406)
