"""Collectives, and the claim they exist for: several processes compute the gradient of the whole batch in one.

One group of processes per world size computes everything; each test reads its part.
"""

import functools
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
import torch
from ranks import my_rows, run_ranks
from tiny import VARIANTS, tiny_method, tiny_views
from torch import Tensor, nn

from covary import dist
from covary.errors import InputError
from covary.losses import (
    barlow_twins,
    covariance,
    info_nce,
    moco_v3,
    negative_cosine,
    normalized_mse,
    same_or_not,
    squared_error,
    turns,
    variance,
    vicreg,
)
from covary.methods import METHODS
from covary.nets import convert_batchnorm
from covary.types import Views

pytestmark = pytest.mark.xdist_group("dist")

ROWS = 16
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "info_nce": lambda a, b: info_nce(a, b, temperature=0.2),
    "moco_v3": lambda a, b: moco_v3(a, b, temperature=0.2),
    "barlow_twins": barlow_twins,
    "variance": lambda a, b: variance(a) + variance(b),
    "covariance": lambda a, b: covariance(a) + covariance(b),
    "vicreg": vicreg,
    "negative_cosine": negative_cosine,
    "normalized_mse": normalized_mse,
    "squared_error": squared_error,
    "same_or_not": lambda a, b: same_or_not(a, b.sigmoid()),
    "turns": lambda a, b: turns(a[:, :4], b[:, :4].argmax(dim=1)),
}
GATHERS = ("info_nce", "moco_v3")  # look at the rows of other processes
STATISTICS = ("barlow_twins", "variance", "covariance", "vicreg")  # are no mean over rows
NORMS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "rows": (lambda: nn.BatchNorm1d(5), (ROWS, 5)),
    "images": (lambda: nn.BatchNorm2d(5), (ROWS, 5, 3, 2)),
    "cumulative": (lambda: nn.BatchNorm1d(5, momentum=None), (ROWS, 5)),
    "untracked": (lambda: nn.BatchNorm1d(5, track_running_stats=False), (ROWS, 5)),
}
CPU = torch.device("cpu")


def random(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in module.named_parameters() if p.grad is not None}


class LossOfLinear(nn.Module):
    """A loss of the two outputs of a layer, so that its gradient reaches parameters.

    The layer is bent because some losses are blind to a shift: the gradient of a bias would be zero.
    """

    def __init__(self, loss: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.loss = loss
        self.linear = nn.Linear(5, 7, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        return self.loss(*self.linear(x).tanh())


def of_loss(name: str) -> dict[str, Any]:
    module = LossOfLinear(LOSSES[name])
    wrapped = dist.wrap(module, CPU)  # the average is taken as long as this lives
    loss = wrapped(my_rows(random(2, ROWS, 5, seed=2), dim=1))
    loss.backward()
    return {"values": {"loss": loss.detach()}, "gradients": gradients(module)}


def of_norm(name: str) -> dict[str, Any]:
    build, shape = NORMS[name]
    torch.manual_seed(3)
    norm = build().double()
    nn.init.normal_(norm.weight)
    norm = convert_batchnorm(norm, CPU) if dist.world_size() > 1 else norm
    module = dist.wrap(norm, CPU)
    for seed in (4, 5):
        x = my_rows(3 + 2 * random(*shape, seed=seed)).requires_grad_()
        y = module(x)
        dist.mean_over_ranks((y + my_rows(random(*shape, seed=6))).pow(3).mean()).backward()
    buffers = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    x_grad = x.grad / dist.world_size()  # what DistributedDataParallel does to a parameter's
    return {"values": buffers, "gradients": gradients(norm), "rows": {"y": y.detach(), "x.grad": x_grad}}


def of_method(name: str) -> dict[str, Any]:
    method = convert_batchnorm(tiny_method(name), CPU)
    whole = tiny_views(ROWS)
    views = Views(
        images=my_rows(whole.images, dim=1),
        params=my_rows(whole.params, dim=1),
        partners=True,
        turned=my_rows(whole.turned, dim=1),
    )
    wrapped = dist.wrap(method, CPU)
    out = wrapped(views)
    out["loss"].backward()
    values = {key: value.detach() for key, value in out.items()}
    return {"values": {**values, **dict(method.named_buffers())}, "gradients": gradients(method)}


PARTS: dict[str, Callable[[], dict[str, Any]]] = {
    **{f"loss {name}": functools.partial(of_loss, name) for name in LOSSES},
    **{f"norm {name}": functools.partial(of_norm, name) for name in NORMS},
    **{f"method {name}": functools.partial(of_method, name) for name in VARIANTS},
}


def gather_without_adjoint() -> Any:
    cut = staticmethod(lambda ctx, grad: grad.chunk(dist.world_size())[dist.rank()])
    return mock.patch.object(dist._Gather, "backward", cut)


def sum_without_adjoint() -> Any:
    return mock.patch.object(dist._Sum, "backward", staticmethod(lambda ctx, grad: grad))


def own_statistics() -> Any:
    return mock.patch.object(dist, "mean_over_ranks", lambda x: x)


def contrasts(variant: str) -> bool:
    """Return whether rows of other processes get a gradient: with InfoNCE alone."""
    config = VARIANTS[variant]
    return getattr(config, "base", config).name == "simclr"


NAMED = {f"method {name}" for name in METHODS}  # the mutants try each method on one base only


def parts_of(*kinds: str) -> list[str]:
    """Return the names of all parts of these kinds, of methods those that have a name."""
    return [part for part in PARTS if part.split()[0] in kinds and (part in NAMED or not part.startswith("method"))]


MUTANTS = {
    "gather without adjoint": (
        gather_without_adjoint,
        [f"loss {name}" for name in GATHERS] + [f"method {name}" for name in METHODS if contrasts(name)],
    ),
    "sum without adjoint": (sum_without_adjoint, parts_of("loss", "norm", "method")),
    "means of own rows": (own_statistics, [*parts_of("norm", "method"), *(f"loss {name}" for name in STATISTICS)]),
}


def everything() -> dict[str, Any]:
    results = {name: part() for name, part in PARTS.items()}
    for mutant, (applied, parts) in MUTANTS.items():
        for part in parts:
            with applied():
                results[f"{mutant}: {part}"] = PARTS[part]()
    return results


def collectives() -> dict[str, Any]:
    rank, world = dist.rank(), dist.world_size()
    own = torch.tensor([[float(rank), 10.0]])
    return {
        "rank": rank,
        "world": world,
        "main": dist.is_main(),
        "gather": dist.all_gather_rows(own),
        "sum": dist.all_reduce_sum(own),
        "mean": dist.mean_over_ranks(own),
        "any of none": dist.any_rank(False),
        "any of last": dist.any_rank(rank == world - 1),
        "main first": dist.main_first(time.monotonic),
        "main failed": main_failed(),
        "accumulated": accumulated(),
        "second derivative": second_derivative(),
    }


def main_failed() -> str:
    def job() -> None:
        raise OSError("disk full")

    try:
        dist.main_first(job)
    except (OSError, InputError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def accumulated() -> Tensor:
    """Gradient of 2 x for x = rank + 1 in a part without averaging, then in one with it."""
    linear = nn.Linear(1, 1, bias=False)
    module = dist.wrap(linear, CPU)
    x = torch.tensor([[dist.rank() + 1.0]])
    with dist.without_sync(module):
        module(x).backward()
    module(x).backward()
    return linear.weight.grad.squeeze()


def second_derivative() -> Tensor:
    """d2/dx2 of (sum over ranks of x)^3, summed over the ranks that compute it, twice, at x = 1."""
    x = torch.ones((), requires_grad=True)
    (first,) = torch.autograd.grad(dist.all_reduce_sum(x).pow(3), x, create_graph=True)
    (second,) = torch.autograd.grad(first, x)
    return second


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return {name: part() for name, part in PARTS.items()}


@pytest.fixture(scope="module", params=[2, 4])
def together(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    return of_world(request.param)


@functools.cache  # pytest takes turns between the parameters
def of_world(world: int) -> list[dict[str, Any]]:
    return run_ranks(everything_and_collectives, world)


def everything_and_collectives() -> dict[str, Any]:
    return {"collectives": collectives(), **everything()}


def difference(found: Tensor, expected: Tensor) -> float:
    """Largest absolute difference, relative to the largest expected number (1e-6 if all are smaller)."""
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-6))


@pytest.mark.parametrize("part", PARTS)
def test_several_processes_equal_the_whole_batch_in_one(alone, together, part: str) -> None:
    expected = alone[part]
    for kind in ("values", "gradients"):
        for rank in together:
            assert rank[part][kind].keys() == expected[kind].keys()
            for name, value in expected[kind].items():
                assert difference(rank[part][kind][name], value) <= 1e-9, (kind, name)
    for name, value in expected.get("rows", {}).items():
        joined = torch.cat([rank[part]["rows"][name] for rank in together])
        assert difference(joined, value) <= 1e-9, name


@pytest.mark.parametrize(("mutant", "part"), [(m, part) for m, (_, parts) in MUTANTS.items() for part in parts])
def test_a_wrong_collective_is_seen(alone, together, mutant: str, part: str) -> None:
    found, expected = together[0][f"{mutant}: {part}"]["gradients"], alone[part]["gradients"]
    assert max(difference(found[name], expected[name]) for name in expected) > 1e-3


def test_collectives(together) -> None:
    world = len(together)
    rows = torch.tensor([[float(rank), 10.0] for rank in range(world)])
    for rank, result in enumerate(together):
        found = result["collectives"]
        assert (found["rank"], found["world"], found["main"]) == (rank, world, rank == 0)
        assert torch.equal(found["gather"], rows)
        assert torch.equal(found["sum"], rows.sum(0, keepdim=True))
        assert torch.equal(found["mean"], rows.mean(0, keepdim=True))
        assert not found["any of none"]
        assert found["any of last"]
        assert found["main first"] >= together[0]["collectives"]["main first"]
        assert found["accumulated"] == 2 * (world + 1) / 2
        assert found["second derivative"] == 6 * world * world**2


def test_failure_of_the_main_process_stops_the_others(together) -> None:
    messages = [rank["collectives"]["main failed"] for rank in together]
    assert messages[0] == "OSError: disk full"
    assert set(messages[1:]) == {
        "InputError: The main process stopped before this one could go on; its message says why."
    }


def test_single_process_is_a_no_op() -> None:
    x = torch.ones(2, 3)
    module = nn.Linear(2, 2)
    assert dist.all_gather_rows(x) is x
    assert dist.all_reduce_sum(x) is x
    assert dist.any_rank(True)
    assert dist.main_first(lambda: 3) == 3
    assert dist.wrap(module, CPU) is module
    with dist.without_sync(module), dist.processes("cpu") as device:
        dist.barrier()
        assert device == CPU
        assert dist.is_main()


TORCHRUN = {"RANK": "3", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "1"}
SLURM = {
    "SLURM_PROCID": "5",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NODELIST": "gpu[07-09,12]",
    "SLURM_JOB_ID": "1234567",
}
BATCH_SCRIPT = {"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_LOCALID": "0", "SLURM_JOB_ID": "1"}


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, None),
        (BATCH_SCRIPT, None),
        ({**TORCHRUN, "RANK": "0", "WORLD_SIZE": "1"}, None),
        ({**SLURM, "SLURM_STEP_NUM_TASKS": "1"}, None),
        (TORCHRUN, (3, 8, 1, "env://")),
        ({**TORCHRUN, **SLURM}, (3, 8, 1, "env://")),
        (SLURM, (5, 8, 1, "tcp://gpu07:34567")),
        ({**SLURM, "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "5000"}, (5, 8, 1, "tcp://10.0.0.1:5000")),
    ],
)
def test_launch(environ: dict[str, str], expected: tuple[int, int, int, str] | None) -> None:
    launch = dist.launch_of(environ)
    found = launch and (launch.rank, launch.world_size, launch.local_rank, launch.init_method)
    assert found == expected


@pytest.mark.parametrize("name", ["RANK", "WORLD_SIZE", "LOCAL_RANK"])
def test_launch_with_a_variable_missing(name: str) -> None:
    environ = {key: value for key, value in TORCHRUN.items() if key != name}
    with pytest.raises(InputError, match=f"{name} to '', expected a number"):
        dist.launch_of(environ)


@pytest.mark.parametrize(
    ("nodelist", "host"),
    [
        ("gpu07", "gpu07"),
        ("gpu07,gpu08", "gpu07"),
        ("gpu[07-09,12],login1", "gpu07"),
        ("rack1-node[001-016]", "rack1-node001"),
        ("node[1-2]-ib,x", "node1-ib"),
    ],
)
def test_first_host(nodelist: str, host: str) -> None:
    assert dist.first_host(nodelist) == host


def test_first_host_of_nothing() -> None:
    with pytest.raises(InputError, match="names no host; set MASTER_ADDR"):
        dist.first_host("")


def test_choose_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert dist.choose_device("auto") == CPU
    with pytest.raises(InputError, match="torch finds no GPU; use 'auto' or 'cpu'"):
        dist.choose_device("cuda")
    with pytest.raises(InputError, match=r"Unknown device 'cudas'; known: auto, cpu, cuda\. Did you mean 'cuda'\?"):
        dist.choose_device("cudas")
