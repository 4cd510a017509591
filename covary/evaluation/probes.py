"""Probes: small networks fitted on frozen rows, the epoch of least validation loss kept."""

import copy
import itertools
from collections.abc import Callable

import torch
from torch import Tensor, nn

from covary.evaluation.ridge import standardisation
from covary.keyed import derive, permutation

LR = 1e-3  # of Adam, as SIE's probe (arXiv 2302.10283)
BATCH = 256


def fit_mlp(
    inputs: Tensor,
    targets: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    outputs: int,
    validation: Tensor,
    hidden: int,
    epochs: int,
    seed: int,
) -> Callable[[Tensor], Tensor]:
    """Return a network p -> hidden -> hidden -> outputs with ReLU between, fitted by Adam.

    Inputs are standardised (``ridge.standardisation``); the rate falls to 0 along a cosine; the weights of the epoch
    with the least loss on the validation rows are kept. A function of (seed, inputs, targets) on one machine.

    inputs: float (n, p). targets: (n, ...), as ``loss`` takes them. validation: int64, rows, some but not all.
    """
    held_out = torch.zeros(len(inputs), dtype=torch.bool, device=inputs.device)
    held_out[validation.to(inputs.device)] = True
    (x, y), (x_val, y_val) = ((inputs[rows], targets[rows]) for rows in (~held_out, held_out))
    shift, scale = standardisation(x)
    x, x_val = (x - shift) / scale, (x_val - shift) / scale
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(derive(seed, "probe"))
        sizes = [inputs.shape[1], hidden, hidden]
        layers = [m for a, b in itertools.pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
        network = nn.Sequential(*layers, nn.Linear(hidden, outputs)).to(inputs.device)
        optimizer = torch.optim.Adam(network.parameters(), lr=LR)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
        best, kept = float("inf"), network
        for epoch in range(epochs):
            order = permutation(len(x), seed=seed, stream="probe", epoch=epoch).to(x.device)
            for rows in order.split(BATCH):
                optimizer.zero_grad()
                loss(network(x[rows]), y[rows]).backward()
                optimizer.step()
            schedule.step()
            with torch.no_grad():
                error = loss(network(x_val), y_val).item()
            if error < best:
                best, kept = error, copy.deepcopy(network)

    @torch.no_grad()
    def predict(rows: Tensor) -> Tensor:
        return kept((rows - shift) / scale)

    return predict
