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
    weight = torch.randn(4, 11, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for penalty, numbers in ((0.01, 1), (1.0, 7 * 4), (100.0, 10**6)):
        monkeypatch.setitem(logistic.LOGITS_AT_ONCE, "cpu", numbers)
        found = logistic._Problem(z, labels, 4).at(weight, penalty)
        value, gradient, variance = 0.0, np.zeros((4, 11)), np.zeros(4)
        for row, label in zip(z.numpy(), labels.tolist(), strict=True):
            scores = weight.numpy() @ row
            probabilities = np.exp(scores) / np.exp(scores).sum()
            value -= np.log(probabilities[label])
            gradient += np.outer(probabilities - np.eye(4)[label], row)
            variance += probabilities * (1 - probabilities) / len(z)
        value += penalty * weight.square().sum().item()
        gradient += 2 * penalty * weight.numpy()
        np.testing.assert_allclose(found.objective, value, rtol=1e-12)
        np.testing.assert_allclose(found.gradient.numpy(), gradient, rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(found.variance.numpy(), variance, rtol=1e-9)


def test_the_direction_is_that_of_the_inverse_built_as_a_matrix() -> None:
    """BFGS's update of a dense inverse Hessian (Nocedal and Wright, equation 6.17), pair by pair, oldest first."""
    generator = torch.Generator().manual_seed(5)
    root = torch.randn(6, 6, dtype=torch.float64, generator=generator)
    memory, hessian = logistic._Memory(), root @ root.mT + torch.eye(6)
    for move in torch.randn(12, 6, dtype=torch.float64, generator=generator):
        memory.push(move.view(2, 3), (hessian @ move).view(2, 3))
    memory.push(torch.ones(2, 3).double(), -torch.ones(2, 3).double())  # no positive curvature: not remembered
    assert len(memory.pairs) == logistic.MEMORY
    memory.shift(0.25)
    shifted = hessian + 0.5 * torch.eye(6)
    diagonal = torch.rand(2, 3, dtype=torch.float64, generator=generator) + 0.5
    move, change = (t.flatten() for t in memory.pairs[0])
    torch.testing.assert_close(change, shifted @ move)
    inverse = torch.diag(1 / diagonal.flatten()) * (move @ change) / (change @ (change / diagonal.flatten()))
    for move, change in ((s.flatten(), y.flatten()) for s, y in reversed(memory.pairs)):
        left = torch.eye(6) - torch.outer(move, change) / (move @ change)
        inverse = left @ inverse @ left.mT + torch.outer(move, move) / (move @ change)
    gradient = torch.randn(2, 3, dtype=torch.float64, generator=generator)
    expected = -(inverse @ gradient.flatten()).view(2, 3)
    torch.testing.assert_close(memory.direction(gradient, diagonal), expected, rtol=1e-9, atol=1e-12)


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


def test_the_path_leads_where_each_penalty_leads_alone() -> None:
    x, labels = problem("badly scaled")
    path = minimise(x, labels, classes=4, penalties=PENALTIES, tolerance=1e-12, max_steps=5000)
    for p, penalty in enumerate(PENALTIES):
        alone = minimise(x, labels, classes=4, penalties=[penalty], tolerance=1e-12, max_steps=5000)
        assert path.objective[p].item() == pytest.approx(alone.objective.item(), rel=1e-6)


def test_a_path_is_cheaper_than_its_penalties_alone() -> None:
    x, labels = problem("after relu")
    penalties = torch.logspace(-6, 5, 45, dtype=torch.float64).tolist()
    path = minimise(x, labels, classes=4, penalties=penalties, tolerance=1e-10, max_steps=5000)
    alone = [
        minimise(x, labels, classes=4, penalties=[p], tolerance=1e-10, max_steps=5000).steps.item() for p in penalties
    ]
    assert path.steps.sum().item() < 0.6 * sum(alone)


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
