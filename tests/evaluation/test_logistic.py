import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn.functional import cross_entropy

from covary.evaluation import logistic
from covary.evaluation.logistic import minimise, predict, with_constant

PENALTIES = torch.logspace(-6, 5, 12, dtype=torch.float64).tolist()


def problem(kind: str) -> tuple[Tensor, Tensor]:
    """Features and labels of four classes that overlap, in a form that is hard in its own way."""
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(240) % 4
    centres = torch.randn(4, 10, generator=generator)
    x = centres[labels] + 1.5 * torch.randn(240, 10, generator=generator)
    if kind == "badly scaled":
        x = x * torch.logspace(-3, 3, 10) + 50
    if kind == "after relu":
        x = x.relu() + 3 * torch.rand(240, 1, generator=generator)
    if kind == "rank deficient":
        x = torch.cat([x, x[:, :3], torch.zeros(240, 2), torch.full((240, 1), 7.0)], dim=1)
    if kind == "fewer images than features":
        x = torch.cat([x, torch.randn(240, 300, generator=generator)], dim=1)[:60]
    return x, labels[: len(x)]


KINDS = ["plain", "badly scaled", "after relu", "rank deficient", "fewer images than features"]


def objective(weight: Tensor, x: Tensor, labels: Tensor, penalty: float) -> Tensor:
    return cross_entropy(with_constant(x) @ weight.mT, labels, reduction="sum") + penalty * weight.square().sum()


def test_a_step_is_the_objective_and_its_gradient_whatever_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels = problem("plain")
    z = with_constant(x)
    weights = torch.randn(3, 4, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    penalties = torch.tensor([0.01, 1.0, 100.0], dtype=torch.float64)
    for numbers in (1, 7 * 12, 10**6):
        monkeypatch.setitem(logistic.LOGITS_AT_ONCE, "cpu", numbers)
        found = logistic._evaluate(z, labels, weights, penalties)
        for p in range(3):
            value, gradient = 0.0, np.zeros((4, 11))
            variance = np.zeros(4)
            for row, label in zip(z.numpy(), labels.tolist(), strict=True):
                scores = weights[p].numpy() @ row
                probabilities = np.exp(scores) / np.exp(scores).sum()
                value -= np.log(probabilities[label])
                gradient += np.outer(probabilities - np.eye(4)[label], row)
                variance += probabilities * (1 - probabilities) / len(z)
            value += penalties[p].item() * weights[p].square().sum().item()
            gradient += 2 * penalties[p].item() * weights[p].numpy()
            np.testing.assert_allclose(found.objective[p].item(), value, rtol=1e-12)
            np.testing.assert_allclose(found.gradient[p].numpy(), gradient, rtol=1e-9, atol=1e-10)
            np.testing.assert_allclose(found.variance[p].numpy(), variance, rtol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_the_minimum_is_scikit_learns(kind: str) -> None:
    x, labels = problem(kind)
    penalties = PENALTIES[3:]
    found = minimise(x, labels, classes=4, penalties=penalties, tolerance=1e-13, max_steps=5000)
    assert found.converged.all()
    for p, penalty in enumerate(penalties):
        oracle = LogisticRegression(
            C=1 / (2 * penalty), fit_intercept=False, solver="newton-cg", tol=1e-7, max_iter=1000
        )
        oracle.fit(with_constant(x).numpy(), labels.numpy())
        theirs = objective(torch.from_numpy(oracle.coef_), x, labels, penalty).item()
        ours = objective(found.weight[p], x, labels, penalty).item()
        assert ours == pytest.approx(found.objective[p].item(), rel=1e-9)
        assert ours <= theirs * (1 + 1e-7)
        assert ours == pytest.approx(theirs, rel=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_vanishes_at_the_minimum(kind: str) -> None:
    x, labels = problem(kind)
    penalties = PENALTIES[4:]
    found = minimise(x, labels, classes=4, penalties=penalties, tolerance=1e-13, max_steps=5000)
    assert found.converged.all()
    for p, penalty in enumerate(penalties):
        weight = found.weight[p].requires_grad_()
        (gradient,) = torch.autograd.grad(objective(weight, x, labels, penalty), weight)
        gap = gradient.square().sum().item() / (4 * penalty)  # its upper bound: F is 2 lambda strongly convex
        assert gap <= 1e-4 * found.objective[p].item()


def test_the_estimated_gap_is_kept_at_the_tolerance_of_the_protocol() -> None:
    x, labels = problem("after relu")
    loose = minimise(x, labels, classes=4, penalties=PENALTIES, tolerance=1e-8, max_steps=5000)
    tight = minimise(x, labels, classes=4, penalties=PENALTIES, tolerance=1e-13, max_steps=5000)
    assert loose.converged.all()
    assert ((loose.objective - tight.objective) / tight.objective).max() <= 1e-6


def test_problems_do_not_influence_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels = problem("plain")
    together = minimise(x, labels, classes=4, penalties=PENALTIES, tolerance=1e-8, max_steps=5000)
    monkeypatch.setattr(logistic, "HISTORY_AT_ONCE", 1)
    alone = minimise(x, labels, classes=4, penalties=PENALTIES, tolerance=1e-8, max_steps=5000)
    torch.testing.assert_close(together.objective, alone.objective, rtol=1e-7, atol=0)


def test_a_fit_that_is_cut_short_says_so_and_is_better_than_its_start() -> None:
    x, labels = problem("plain")
    found = minimise(x, labels, classes=4, penalties=[1e-6, 1e5], tolerance=1e-9, max_steps=10)
    assert found.converged.tolist() == [False, True]
    assert found.steps[0] == 10
    assert found.objective[0] < objective(torch.zeros(4, 11, dtype=torch.float64), x, labels, 1e-6)


def test_separable_classes_stay_finite_at_the_smallest_penalty() -> None:
    labels = torch.arange(40) % 2
    found = minimise(1000.0 * labels[:, None], labels, classes=2, penalties=[1e-6], tolerance=1e-8, max_steps=5000)
    assert found.converged.all()
    assert found.weight.isfinite().all()
    assert torch.equal(predict(1000.0 * labels[:, None], found.weight)[0], labels)


def test_a_start_at_the_minimum_ends_at_once() -> None:
    x, labels = problem("badly scaled")
    first = minimise(x, labels, classes=4, penalties=[1.0], tolerance=1e-12, max_steps=5000)
    again = minimise(x, labels, classes=4, penalties=[1.0], tolerance=1e-6, max_steps=5000, start=first.weight[0])
    assert first.steps.item() > 5
    assert again.steps.item() == 1
    torch.testing.assert_close(again.weight, first.weight)


def test_predictions_are_the_largest_logit_and_of_equals_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.randn(50, 6, generator=torch.Generator().manual_seed(1))
    weight = torch.randn(2, 3, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    weight[1] = 0
    monkeypatch.setitem(logistic.LOGITS_AT_ONCE, "cpu", 6 * 7)
    found = predict(x, weight)
    scores = x.double().numpy() @ weight[0, :, :-1].numpy().T + weight[0, :, -1].numpy()
    assert found[0].tolist() == scores.argmax(1).tolist()
    assert found[1].tolist() == [0] * 50
