import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from covary.errors import InputError
from covary.evaluation.linear import LinearOptions, linear, stratified
from covary.evaluation.logistic import with_constant

FEW = LinearOptions(penalties=7, penalty_range=(1e-3, 1e3))


def sets(n: int = 300, tests: int = 200, noise: float = 2.0, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.tensor([0, 0, 0, 0, 1, 1, 2, 3]).repeat((n + tests) // 8 + 1)[: n + tests]
    x = torch.randn(4, 9, generator=generator)[labels] + noise * torch.randn(n + tests, 9, generator=generator)
    return x[:n], labels[:n], x[n:], labels[n:]


def test_the_grid_is_45_values_from_1e_minus_6_to_1e5() -> None:
    lambdas = LinearOptions().lambdas()
    assert len(lambdas) == 45
    assert lambdas == pytest.approx([10 ** (-6 + 11 * i / 44) for i in range(45)])


@pytest.mark.parametrize("metric", ["top1", "mean_per_class"])
def test_the_protocol_is_scikit_learns_fits_chosen_on_validation(metric: str) -> None:
    x, y, tx, ty = (t.numpy() for t in sets())
    validation = np.arange(0, 300, 3)
    rest = np.setdiff1d(np.arange(300), validation)

    def fit(rows: np.ndarray, penalty: float) -> LogisticRegression:
        model = LogisticRegression(
            C=1 / (2 * penalty), fit_intercept=False, solver="newton-cg", tol=1e-6, max_iter=1000
        )
        return model.fit(with_constant(torch.from_numpy(x[rows])).numpy(), y[rows])

    def score(model: LogisticRegression, features: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        hits = model.predict(with_constant(torch.from_numpy(features)).numpy()) == labels
        return {"top1": hits.mean(), "mean_per_class": np.mean([hits[labels == c].mean() for c in range(4)])}

    options = LinearOptions(penalties=7, penalty_range=(1e-3, 1e3), metric=metric, tolerance=1e-11)
    lambdas = options.lambdas()
    scores = [score(fit(rest, penalty), x[validation], y[validation])[metric] for penalty in lambdas]
    chosen = lambdas[scores.index(max(scores))]
    expected = score(fit(np.arange(300), chosen), tx, ty)

    found = linear(*sets(), validation=torch.from_numpy(validation), options=options)
    assert found.scores == pytest.approx(scores)
    assert found.penalty == chosen
    assert found.top1 == pytest.approx(expected["top1"])
    assert found.mean_per_class == pytest.approx(expected["mean_per_class"])
    assert found.accuracy == pytest.approx(expected[metric])
    assert found.images == (200, 100, 200)
    assert found.not_converged == 0


def test_the_two_metrics_can_choose_different_penalties() -> None:
    by = {
        metric: linear(*sets(noise=4.0, seed=1), options=LinearOptions(penalties=23, metric=metric)).penalty
        for metric in ("top1", "mean_per_class")
    }
    assert by["top1"] != by["mean_per_class"]


def test_of_penalties_that_score_alike_the_smaller_is_chosen() -> None:
    labels = torch.arange(40) % 2
    x = torch.where(labels[:, None] == 1, 5.0, -5.0) + torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    found = linear(x, labels, x, labels, options=FEW)
    assert set(found.scores) == {1.0}
    assert found.penalty == FEW.lambdas()[0]


def test_the_same_features_give_the_same_numbers() -> None:
    assert str(linear(*sets(), options=FEW, seed=4)) == str(linear(*sets(), options=FEW, seed=4))


def test_the_weight_returned_is_the_classifier_measured() -> None:
    *_, tx, ty = sets()
    found = linear(*sets(), options=FEW)
    hits = (with_constant(tx) @ found.weight.mT).argmax(1) == ty
    assert found.top1 == hits.double().mean().item()


def test_fits_that_did_not_converge_are_counted() -> None:
    found = linear(*sets(), options=LinearOptions(max_steps=3))
    assert found.not_converged > 10
    assert max(found.steps) == 3


def test_validation_takes_its_share_of_every_class() -> None:
    labels = torch.tensor([0] * 100 + [1] * 34 + [2] * 2 + [3] + [5] * 14)
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    rows = stratified(labels, fraction=0.1, seed=0)
    assert torch.bincount(labels[rows], minlength=6).tolist() == [10, 3, 1, 0, 0, 1]
    assert torch.equal(rows, rows.unique())
    assert torch.equal(rows, stratified(labels, fraction=0.1, seed=0))
    assert not torch.equal(rows, stratified(labels, fraction=0.1, seed=1))
    assert torch.bincount(labels[stratified(labels, fraction=0.99, seed=0)], minlength=6).tolist() == [
        99,
        33,
        1,
        0,
        0,
        13,
    ]


def test_every_image_is_as_likely_to_validate() -> None:
    labels = torch.arange(40) % 2
    drawn = torch.zeros(40)
    for seed in range(400):
        drawn[stratified(labels, fraction=0.25, seed=seed)] += 1
    assert drawn.mean() == 100
    assert (drawn - 100).abs().max() < 45  # five standard deviations of a binomial of 400 draws at 1/4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"penalties": 0}, "linear penalties is 0; expected 1 or more."),
        ({"penalty_range": (0.0, 1.0)}, "linear penalty_range is 0 to 1; expected 0 < smallest < largest."),
        ({"penalty_range": (2.0, 1.0)}, "linear penalty_range is 2 to 1"),
        ({"validation": 1.0}, "linear validation is 1; expected a share between 0 and 1."),
        ({"tolerance": 0.0}, "linear tolerance is 0; expected 1e-12 or more, below 1."),
        ({"max_steps": 0}, "linear max_steps is 0; expected 1 or more."),
        ({"metric": "top5"}, "linear metric is 'top5'; expected auto, top1, mean_per_class. Did you mean 'top1'?"),
        ({"split": "papers"}, "linear split is 'papers'; expected auto, paper, stratified. Did you mean 'paper'?"),
    ],
)
def test_impossible_options_are_refused(change: dict, message: str) -> None:
    with pytest.raises(InputError) as caught:
        LinearOptions(**change)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "Validation rows must be one or more of 0 to 299."),
        ([300], "Validation rows must be one or more of 0 to 299."),
        ([-1], "Validation rows must be one or more of 0 to 299."),
        (list(range(300)), "All training images are validation images; none is left to fit."),
    ],
)
def test_impossible_validation_rows_are_refused(rows: list[int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        linear(*sets(), validation=torch.tensor(rows, dtype=torch.int64), options=FEW)


def test_too_few_images_or_classes_are_refused() -> None:
    x = torch.randn(3, 2)
    with pytest.raises(InputError, match="There is one class"):
        linear(x, torch.zeros(3, dtype=torch.int64), x, torch.zeros(3, dtype=torch.int64))
    with pytest.raises(InputError, match="No class has two training images"):
        linear(x, torch.arange(3), x, torch.arange(3))
