"""Transformation prediction: errors against loops and scikit-learn, and what a probe must and cannot find."""

import pytest
import torch
from sklearn.metrics import mean_squared_error, r2_score

from covary.errors import InputError
from covary.evaluation.prediction import Pairs, PredictionOptions, baseline, errors, predict_transformations
from covary.evaluation.transformations import TYPES

NAMES = ("crop.height", "crop.width", "jitter.brightness", "jitter.hue", "jitter.contrast")


def test_errors_equal_scikit_learn() -> None:
    generator = torch.Generator().manual_seed(0)
    guesses, labels = (torch.randn(50, 5, generator=generator, dtype=torch.float64) for _ in range(2))
    found = errors(guesses, labels, NAMES)
    a, b = guesses.numpy(), labels.numpy()
    for group, rows in {"crop": [0, 1], "color": [2, 3, 4], "all": [0, 1, 2, 3, 4]}.items():
        assert found[f"mse.{group}"] == pytest.approx(mean_squared_error(b[:, rows], a[:, rows]))
        assert found[f"r2.{group}"] == pytest.approx(r2_score(b[:, rows], a[:, rows], multioutput="variance_weighted"))
    for row, name in enumerate(("crop.height", "crop.width", "color.brightness", "color.hue", "color.contrast")):
        assert found[f"mse.{name}"] == pytest.approx(mean_squared_error(b[:, row], a[:, row]))
        assert found[f"r2.{name}"] == pytest.approx(r2_score(b[:, row], a[:, row]))
    assert len(found) == 16


def pairs(tells: bool) -> Pairs:
    """Inputs that hold the labels and the types, or nothing of them."""
    generator = torch.Generator().manual_seed(1)

    def split(n: int):
        labels = torch.rand(n, 5, generator=generator) - 0.5
        types = torch.randint(0, len(TYPES), (n,), generator=generator)
        noise = torch.randn(n, 6, generator=generator)
        mixed = labels @ torch.randn(5, 6, generator=torch.Generator().manual_seed(5)) + 0.01 * noise
        typed = torch.nn.functional.one_hot(types, 6) + 0.1 * noise
        return (mixed, labels, typed, types) if tells else (noise, labels, noise, types)

    train, test = split(300), split(200)
    return Pairs(*((a, b) for a, b in zip(train, test, strict=True)))


@pytest.mark.parametrize("probe", ["linear", "mlp"])
def test_a_probe_finds_what_is_there_and_nothing_else(probe: str) -> None:
    options, validation = PredictionOptions(hidden=32, epochs=40), torch.arange(30)
    there, absent = (
        predict_transformations(pairs(tells), probe, NAMES, validation=validation, options=options, seed=0)
        for tells in (True, False)
    )
    chance = baseline(pairs(True), NAMES)
    assert chance["mse.all"] == pytest.approx(1 / 12, rel=0.1)
    assert chance["r2.all"] == pytest.approx(0, abs=0.05)
    assert chance["type_accuracy"] == 0.2
    assert there["mse.all"] < {"linear": 0.1, "mlp": 0.6}[probe] * chance["mse.all"]
    assert there["type_accuracy"] > {"linear": 0.95, "mlp": 0.8}[probe]
    assert absent["mse.all"] > 0.9 * chance["mse.all"]
    assert absent["type_accuracy"] < 0.35
    assert chance.keys() == there.keys()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"probes": ("linear", "mpl")}, "probe 'mpl' is unknown; expected linear or mlp. Did you mean 'mlp'"),
        ({"probes": ()}, "expected one or two different ones"),
        ({"train_images": 3}, "train_images is 3; expected 20 or more, or 0 for all"),
        ({"epochs": 0}, "epochs is 0; expected 1 or more"),
    ],
)
def test_wrong_options_are_refused(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        PredictionOptions(**options)


def test_the_baseline_is_the_mean_of_the_training_labels() -> None:
    train, test = torch.full((4, 2), 1.0), torch.tensor([[0.0, 0.0], [1.0, 4.0]])
    nothing, types = torch.zeros(0, 1), torch.zeros(0, dtype=torch.int64)
    found = baseline(Pairs((nothing, nothing), (train, test), (nothing, nothing), (types, types)), NAMES[:2])
    assert found["mse.all"] == pytest.approx((1 + 0 + 1 + 9) / 4)
    assert found["r2.all"] == pytest.approx(1 - 11 / (0.5 + 8))


def test_numbers_that_do_not_vary_have_no_r2() -> None:
    labels = torch.tensor([[1.0, 0.0], [1.0, 2.0]])
    found = errors(labels, labels, ("crop.height", "jitter.hue"))
    assert "r2.crop" not in found
    assert found["mse.crop"] == 0
    assert found["r2.all"] == 1
