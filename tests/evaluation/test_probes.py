"""The ridge probe against its normal equations and scikit-learn, the network against what it can and cannot learn."""

import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import Ridge

from covary.evaluation.probes import fit_mlp
from covary.evaluation.ridge import PENALTIES, fit_ridge, standardisation


def rows(n: int, p: int, q: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, p, generator=generator, dtype=torch.float64) * torch.linspace(1, 3, p) + 2
    return x, x @ torch.randn(p, q, generator=generator, dtype=torch.float64) + torch.randn(
        n, q, generator=generator, dtype=torch.float64
    )


@pytest.mark.parametrize(("n", "p"), [(40, 6), (30, 80)])
def test_ridge_equals_scikit_learn_at_the_chosen_penalty(n: int, p: int) -> None:
    x, y = rows(n, p, 3)
    held_out = torch.arange(0, n, 5)
    fit = fit_ridge(x, y, held_out)
    shift, scale = standardisation(x)
    oracle = Ridge(alpha=fit.penalty * n).fit(((x - shift) / scale).numpy(), y.numpy())
    torch.testing.assert_close(
        fit(x), torch.from_numpy(oracle.predict(((x - shift) / scale).numpy())), rtol=1e-8, atol=1e-8
    )

    kept = torch.tensor([i for i in range(n) if i % 5])
    shift, scale = standardisation(x[kept])
    scores = []
    for penalty in PENALTIES:
        model = Ridge(alpha=penalty * len(kept)).fit(((x[kept] - shift) / scale).numpy(), y[kept].numpy())
        guess = torch.from_numpy(model.predict(((x[held_out] - shift) / scale).numpy()))
        scores.append((guess - y[held_out]).square().sum().item())
    assert fit.penalty == PENALTIES[scores.index(min(scores))]


def test_numbers_that_hardly_vary_cannot_outweigh_the_others() -> None:
    x, y = rows(40, 6, 2)
    x[:, 3], x[:, 4] = 5.0, 5.0 + 1e-9 * x[:, 4]
    fit = fit_ridge(x, y, torch.arange(8))
    other = x.clone()
    other[:, 3:5] += 0.01
    assert (fit(other) - fit(x)).abs().max() < 0.1
    assert torch.isfinite(fit_ridge(torch.ones(10, 3), torch.randn(10, 1), torch.arange(2))(torch.ones(2, 3))).all()


def test_the_network_learns_what_no_line_can_and_repeats_itself() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(600, 2, generator=generator) * 2 - 1
    y = (x[:, :1] * x[:, 1:] > 0).float()
    state = torch.get_rng_state()
    fits = [
        fit_mlp(x, y, F.mse_loss, outputs=1, validation=torch.arange(60), hidden=32, epochs=60, seed=3)
        for _ in range(2)
    ]
    assert torch.equal(fits[0](x), fits[1](x))
    assert torch.equal(torch.get_rng_state(), state)
    assert F.mse_loss(fits[0](x), y) < 0.12 < 0.2 < F.mse_loss(fit_ridge(x, y, torch.arange(60))(x), y)


def test_the_epoch_of_least_validation_loss_is_kept() -> None:
    generator = torch.Generator().manual_seed(0)
    x, noise = torch.randn(60, 40, generator=generator), torch.randn(60, 1, generator=generator)
    seen = []

    def loss(guess: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        value = F.mse_loss(guess, target)
        if not value.requires_grad:  # on the validation rows, once an epoch
            seen.append(value.item())
        return value

    fit = fit_mlp(x, noise, loss, outputs=1, validation=torch.arange(20), hidden=64, epochs=40, seed=0)
    assert len(seen) == 40
    assert F.mse_loss(fit(x[:20]), noise[:20]).item() == pytest.approx(min(seen))
    assert min(seen) < 0.95 * seen[-1]  # noise learned by heart: the last epoch is not the best


def test_where_inputs_lie_makes_no_difference() -> None:
    x, y = rows(80, 4, 1)
    x, y = x.float(), y.float()
    fits = [
        fit_mlp(given, y, F.mse_loss, outputs=1, validation=torch.arange(20), hidden=16, epochs=15, seed=0)
        for given in (x, x + 100)
    ]
    torch.testing.assert_close(fits[0](x), fits[1](x + 100), rtol=0, atol=0.02)
