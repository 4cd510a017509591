"""Processes that train together: start, stop, and collectives that autograd sees.

The only user of ``torch.distributed``. In a single process every function is a no-op, so code above this
layer never asks how many processes there are.

Gradients. Every process runs backward from the loss of the whole batch, and ``DistributedDataParallel``
averages the gradients. The collectives here have their true adjoints: the gradient that reaches a process's
input is the sum over all processes of what they send back. The average is therefore the gradient that one
process gets from the whole batch (``docs/adr/0003-batchnorm-and-distributed.md``). ``torch.distributed``'s
in-place ``all_reduce`` has no adjoint: autograd does not see it, and gradients become silently wrong.
"""

import contextlib
import inspect
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
import torch.distributed
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from covary.errors import InputError, TrainingError, did_you_mean

T = TypeVar("T")

DEVICES = ("auto", "cpu", "cuda")
BUFFERS = "forward_sync_buffers"  # the option of DistributedDataParallel, which older versions of torch call otherwise
if BUFFERS not in inspect.signature(DistributedDataParallel).parameters:
    BUFFERS = "broadcast_buffers"
LOST = re.compile(r"gloo|NCCL|Connection (closed|reset)|Broken pipe")  # what collectives say of a process that is gone


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What the launcher told this process.

    rank:        index among all processes.
    world_size:  number of processes.
    local_rank:  index among the processes of this machine; picks the GPU.
    init_method: where the processes meet.
    """

    rank: int
    world_size: int
    local_rank: int
    init_method: str


def launch_of(environ: Mapping[str, str]) -> Launch | None:
    """Read torchrun's variables, else those of a SLURM job step; ``None`` for a single process.

    torchrun: ``RANK``, ``WORLD_SIZE``, ``LOCAL_RANK``, ``MASTER_ADDR``, ``MASTER_PORT``. SLURM:
    ``SLURM_PROCID``, ``SLURM_STEP_NUM_TASKS`` and ``SLURM_LOCALID``, which ``srun`` sets for each task (a
    batch script or a shell inside an allocation has no step and is a single process); the meeting place is
    ``MASTER_ADDR`` or the first host of ``SLURM_STEP_NODELIST``, at ``MASTER_PORT`` or 20000 + job id mod
    20000.

    Raises ``InputError`` where a variable is missing or no number.
    """
    if "RANK" in environ or "WORLD_SIZE" in environ:
        launch = Launch(
            rank=_number(environ, "RANK"),
            world_size=_number(environ, "WORLD_SIZE"),
            local_rank=_number(environ, "LOCAL_RANK"),
            init_method="env://",
        )
    elif "SLURM_STEP_NUM_TASKS" in environ:
        address = environ.get("MASTER_ADDR") or first_host(environ.get("SLURM_STEP_NODELIST", "127.0.0.1"))
        port = environ.get("MASTER_PORT") or 20000 + _number(environ, "SLURM_JOB_ID") % 20000
        launch = Launch(
            rank=_number(environ, "SLURM_PROCID"),
            world_size=_number(environ, "SLURM_STEP_NUM_TASKS"),
            local_rank=_number(environ, "SLURM_LOCALID"),
            init_method=f"tcp://{address}:{port}",
        )
    else:
        return None
    return launch if launch.world_size > 1 else None


def first_host(nodelist: str) -> str:
    """Return the first host of a SLURM node list: ``gpu[07-09,12],login1`` gives ``gpu07``."""
    found = re.match(r"(?P<prefix>[^,\[]+)(?:\[(?P<first>\d+)[^\]]*\](?P<suffix>[^,\[]*))?", nodelist)
    if found is None:
        raise InputError(f"SLURM's node list '{nodelist}' names no host; set MASTER_ADDR to the first machine.")
    return found["prefix"] + (found["first"] or "") + (found["suffix"] or "")


def _number(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name, "")
    if not text.isdecimal():
        raise InputError(
            f"The launcher set {name} to '{text}', expected a number; "
            "start with torchrun or srun, or unset RANK and WORLD_SIZE to train in one process."
        )
    return int(text)


def choose_device(name: str) -> torch.device:
    """Return the device of a name: ``auto`` is the GPU where there is one, else the CPU.

    Raises ``InputError`` for a name that is no device, and for a GPU where torch finds none.
    """
    kind = ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    if kind not in ("cpu", "cuda"):
        raise InputError(f"Unknown device '{name}'; known: {', '.join(DEVICES)}.{did_you_mean(name, DEVICES)}")
    if kind == "cuda" and not torch.cuda.is_available():
        raise InputError("Device 'cuda' was asked for and torch finds no GPU; use 'auto' or 'cpu'.")
    return torch.device(kind)


@contextlib.contextmanager
def processes(device: str, *, timeout: timedelta = timedelta(minutes=10)) -> Iterator[torch.device]:
    """Join the other processes for the length of a ``with`` block, whose value is this process's own device.

    ``device`` is a name for ``choose_device``; processes talk through gloo on a CPU and nccl on a GPU, and
    a GPU is chosen by the process's index on its machine. A collective that waits longer than ``timeout``
    for another process fails. Without a launcher, or with one process, nothing is joined.

    Raises ``InputError`` for the device and for what the launcher left unset; ``TrainingError`` where a collective
    fails, as another process has ended or does not answer. What a process raises inside ends the others so; each learns
    whether it was the first to fail, so that the cause is told once.
    """
    own = setup(choose_device(device), timeout=timeout)
    try:
        yield own
    except (InputError, TrainingError) as error:
        error.first = _first_to_fail()
        raise
    except Exception as error:
        first = _first_to_fail()
        if world_size() == 1 or not LOST.search(str(error)):
            raise
        alone = TrainingError(
            "Another process has ended or does not answer, so training cannot go on; its messages, or its machine, "
            "say why. The same command continues from the last checkpoint."
        )
        alone.first = first
        raise alone from error
    finally:
        shutdown()


def _first_to_fail() -> bool | None:
    """Return whether no other process has asked this before; None where there is none, or the store is gone."""
    if world_size() == 1:
        return None
    try:
        return torch.distributed.distributed_c10d._get_default_store().add("covary/failed", 1) == 1
    except RuntimeError:  # with the process that held it
        return None


def setup(device: torch.device, *, timeout: timedelta = timedelta(minutes=10)) -> torch.device:
    """Join the other processes and return this process's own device; see ``processes``."""
    launch = launch_of(os.environ)
    if launch is None:
        return device
    if device.type == "cuda":
        device = torch.device("cuda", launch.local_rank % torch.cuda.device_count())
        torch.cuda.set_device(device)
    torch.distributed.init_process_group(
        "nccl" if device.type == "cuda" else "gloo",
        init_method=launch.init_method,
        rank=launch.rank,
        world_size=launch.world_size,
        timeout=timeout,
        device_id=device if device.type == "cuda" else None,
    )
    return device


def shutdown() -> None:
    """Leave the other processes."""
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def world_size() -> int:
    """Return the number of processes."""
    return torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1


def local_world_size() -> int:
    """Return the number of processes that torchrun started on this machine, else 1: SLURM gives each its own cores."""
    return _number(os.environ, "LOCAL_WORLD_SIZE") if "LOCAL_WORLD_SIZE" in os.environ else 1


def rank() -> int:
    """Return this process's index among all processes, from 0."""
    return torch.distributed.get_rank() if torch.distributed.is_initialized() else 0


def is_main() -> bool:
    """Return whether this process is the one that prints and writes files."""
    return rank() == 0


class _Sum(torch.autograd.Function):
    """x_r -> sum over r of x_r on every rank; the gradient of x_r is the sum of those of all the sums."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone(memory_format=torch.contiguous_format)
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return all_reduce_sum(grad)


class _Gather(torch.autograd.Function):
    """x_r -> [x_0; ...; x_W-1] on every rank; the gradient of x_r is the sum over ranks of their rows r."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        rows = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(world_size())]
        torch.distributed.all_gather(rows, x.contiguous())
        return torch.cat(rows)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        return all_reduce_sum(grad).chunk(world_size())[rank()]


def all_reduce_sum(x: Tensor) -> Tensor:
    """Return the sum of ``x`` over all processes, differentiable; ``x`` has the same shape in each."""
    return x if world_size() == 1 else cast(Tensor, _Sum.apply(x))


def all_gather_rows(x: Tensor) -> Tensor:
    """Return the rows (n, ...) of all processes in the order of their ranks (n W, ...), differentiable.

    ``x`` has the same shape in each process.
    """
    return x if world_size() == 1 else cast(Tensor, _Gather.apply(x))


def mean_over_ranks(x: Tensor) -> Tensor:
    """Return the mean of ``x`` over all processes, differentiable; ``x`` has the same shape in each.

    The mean over processes of a loss of their own rows is the loss of the whole batch, in every process,
    and its averaged gradient is that of the whole batch.
    """
    return all_reduce_sum(x) / world_size()


def largest(number: int) -> int:
    """Return the largest of all processes' numbers; every process gets the same answer."""
    if world_size() == 1:
        return number
    numbers = torch.tensor(number, device=_collective_device())
    torch.distributed.all_reduce(numbers, torch.distributed.ReduceOp.MAX)
    return int(numbers)


def any_rank(flag: bool) -> bool:
    """Return whether the flag is set in any process; every process gets the same answer."""
    return bool(largest(int(flag)))


def gather_texts(text: str) -> list[str]:
    """Return the texts of all processes in the order of their ranks; every process gets the same answer."""
    if world_size() == 1:
        return [text]
    content = text.encode()
    row = torch.zeros(1, largest(len(content)) + 1, dtype=torch.uint8)
    row[0, : len(content)] = torch.tensor([*content], dtype=torch.uint8)
    rows = all_gather_rows(row.to(_collective_device())).cpu()
    return [bytes(each.tolist()).rstrip(b"\0").decode() for each in rows]


def barrier() -> None:
    """Wait until every process is here."""
    if world_size() > 1:
        torch.distributed.barrier()


def main_first(job: Callable[[], T]) -> T:
    """Return the result of ``job``, run in the main process and then in the others, which find its files.

    However long the main process takes, the others wait. Raises what ``job`` raises; where it failed in the
    main process the others raise ``InputError`` instead of running it.
    """
    if world_size() == 1:
        return job()
    patient = torch.distributed.new_group(backend="gloo", timeout=timedelta(days=7))
    done, result = torch.zeros(1), None
    try:
        if is_main():
            result = job()
            done += 1
    finally:
        torch.distributed.all_reduce(done, group=cast(torch.distributed.ProcessGroup, patient))
        torch.distributed.destroy_process_group(patient)
    if not done:
        raise InputError("The main process stopped before this one could go on; its message says why.")
    return cast(T, result) if is_main() else job()


def _collective_device() -> torch.device:
    nccl = torch.distributed.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if nccl else torch.device("cpu")


def wrap(module: nn.Module, device: torch.device, *, share_buffers: bool = True) -> nn.Module:
    """Return ``module`` so that backward averages its gradients over all processes.

    Parameters start as the main process's. Every parameter must take part in every backward (``check_averaged``); a
    method therefore builds no branch whose weight is zero.

    share_buffers: buffers are taken from the main process before every forward; off where all processes have the same.
    """
    if world_size() == 1:
        return module
    return DistributedDataParallel(
        module,
        device_ids=[device.index] if device.type == "cuda" else None,
        gradient_as_bucket_view=True,
        **{BUFFERS: share_buffers},  # pyright: ignore[reportArgumentType]
    )


def check_averaged(module: nn.Module) -> None:
    """Raise ``InputError`` where a weight of a wrapped module had no part in backward: no gradient was averaged."""
    if isinstance(module, DistributedDataParallel):
        unused = [name for name, p in module.module.named_parameters() if p.requires_grad and p.grad is None]
        if unused:
            raise InputError(
                f"{len(unused)} weights have no part in the loss, such as {unused[0]}, which several processes cannot "
                "train; leave them out of the method, or freeze them with requires_grad_(False)."
            )


def without_sync(module: nn.Module) -> contextlib.AbstractContextManager[None]:
    """Return a context in which backward of a wrapped module adds gradients up without averaging them.

    For gradient accumulation: around all parts of a batch but the last.
    """
    return module.no_sync() if isinstance(module, DistributedDataParallel) else contextlib.nullcontext()
