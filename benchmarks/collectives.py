"""What processes that train together send each other in a step: calls and bytes of every kind, counted.

    torchrun --standalone --nproc-per-node 2 benchmarks/collectives.py [--row stl] [--setting stl10]
        [--encoder resnet18] [--size 32] [--batch 16] [--rank R] [--device cpu] [--out FILE]

Three steps of a row of ``covary.recipes`` on noise, less the update, which sends nothing; the third is counted, since
DistributedDataParallel orders its buckets by the first and agrees on them in the second. Bytes are those of the tensor
that one process hands over. ``on the wire`` is the profiler's own count of calls and numbers, which the lines above it
add up to. On a CPU BatchNorm is ``BatchNormOverRanks``; what torch's SyncBatchNorm, which a GPU uses, sends for the
same calls of the same layers is computed beside it. Rows gathered grow with the batch; nothing depends on the size of
the images.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from math import prod
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from rows import run_of
from torch import Tensor, nn
from torch.distributed import GradBucket  # pyright: ignore[reportPrivateImportUsage]
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel
from torch.profiler import ProfilerActivity, profile

from covary import dist
from covary.nets.norm import BatchNormOverRanks
from covary.run import Run, environment
from covary.step import Step, backward, build
from covary.tracking import Meter
from covary.types import Batch

AUTOGRAD = "torch.autograd.function"
ASKERS = {
    "covary.nets.norm": "BatchNorm",
    "covary.methods.abstract": "spread",
    "covary.tracking": "terms, where logged",
    "covary.guard": "whether the step is finite",
}
COLLECTIVES = {"all_reduce_sum": "all_reduce", "all_gather_rows": "all_gather"}  # of covary.dist, and what they call
FLOAT32, INT64 = 4, 8  # bytes

Line = tuple[str, str, str]  # what for, in which pass, by which collective


class Ledger:
    """Calls and bytes by line."""

    def __init__(self) -> None:
        self.calls: Counter[Line] = Counter()
        self.bytes: Counter[Line] = Counter()
        self._asker = ""

    def add(self, line: Line, size: int) -> None:
        self.calls[line] += 1
        self.bytes[line] += size

    def watched(self, name: str) -> AbstractContextManager[object]:
        """Return a context in which the calls of a collective of ``covary.dist`` are added, autograd's too."""
        real: Callable[[Tensor], Tensor] = getattr(dist, name)

        def watching(x: Tensor) -> Tensor:
            module = caller()
            asker = self._asker if module == AUTOGRAD else ASKERS.get(module, "loss")
            self.add((asker, "backward" if module == AUTOGRAD else "forward", COLLECTIVES[name]), size(x))
            result = real(x)
            if result.requires_grad:
                result.register_hook(lambda _: setattr(self, "_asker", asker))  # runs right before the adjoint
            return result

        return mock.patch.object(dist, name, watching)

    def bucket(self, _: object, bucket: GradBucket) -> torch.futures.Future[Tensor]:
        """Add a bucket of gradients and average it: a hook of DistributedDataParallel."""
        self.add(("gradients", "backward", "all_reduce"), size(bucket.buffer()))
        return allreduce_hook(None, bucket)  # pyright: ignore[reportArgumentType]

    def batchnorm(self, layer: nn.Module, _: object, output: Tensor) -> None:
        """Add what torch's SyncBatchNorm sends for a call of a layer: mean, deviation and count; then two gradients."""
        channels = len(layer.get_parameter("weight"))
        self.add(("SyncBatchNorm", "forward", "all_gather"), (2 * channels + 1) * FLOAT32)
        if output.requires_grad:
            self.add(("SyncBatchNorm", "backward", "all_reduce"), 2 * channels * FLOAT32)

    def lines(self) -> list[dict[str, Any]]:
        names = ("what", "pass", "collective")
        return [
            {**dict(zip(names, line, strict=True)), "calls": calls, "bytes": self.bytes[line]}
            for line, calls in self.calls.items()
        ]


def caller() -> str:
    """Return the module that asked ``covary.dist`` for a collective."""
    frame = sys._getframe(2)
    while frame.f_back and frame.f_globals["__name__"] == dist.__name__:
        frame = frame.f_back
    return frame.f_globals["__name__"]


def size(x: Tensor) -> int:
    return x.numel() * x.element_size()


def count(run: Run, device: torch.device) -> dict[str, Any]:
    """Return what one process of those that have met hands over in a step of a resolved run."""
    method, optimizer = build(run, device)
    step, batch = Step(run, method, optimizer, device=device, per_epoch=2), noise(run, device)
    ledger, sync, meter = Ledger(), Ledger(), Meter()
    assert isinstance(step.module, DistributedDataParallel)
    step.module.register_comm_hook(None, ledger.bucket)
    for _ in range(2):
        backward(run, step.module, step.views(batch))
        optimizer.zero_grad()
    ledger.calls.clear()
    ledger.bytes.clear()
    for layer in method.modules():
        if isinstance(layer, BatchNormOverRanks | nn.SyncBatchNorm):
            layer.register_forward_hook(sync.batchnorm)
    with (
        ledger.watched("all_reduce_sum"),
        ledger.watched("all_gather_rows"),
        profile(activities=[ProfilerActivity.CPU], record_shapes=True) as seen,
    ):
        meter.add(step(batch, 0))
        meter.read()  # what the loop asks for where it logs
        for _ in range(2):
            ledger.add(("flags, where logged", "forward", "all_reduce"), INT64)
            dist.any_rank(False)
    wire: dict[str, tuple[int, int]] = {}
    for event in seen.events() or []:
        backend, _, name = event.name.partition(":")
        if backend in ("gloo", "nccl"):
            calls, numbers = wire.get(name, (0, 0))
            wire[name] = calls + 1, numbers + sum(prod(shape) for shape in event.input_shapes)
    parameters = sum(p.numel() for p in method.parameters() if p.requires_grad)
    if "broadcast" in wire:
        ledger.add(("buffers", "forward", "broadcast"), sum(map(size, method.buffers())))
        ledger.calls["buffers", "forward", "broadcast"] = wire["broadcast"][0]
    return {
        "parameters": parameters,
        "lines": ledger.lines(),
        "as SyncBatchNorm": sync.lines(),
        "on the wire": {name: {"calls": calls, "numbers": numbers} for name, (calls, numbers) in wire.items()},
    }


def noise(run: Run, device: torch.device) -> Batch:
    """Return this process's share of a batch of noise."""
    share = run.batch_size // dist.world_size()
    shape = (share, 3, run.augment.size, run.augment.size)
    return Batch(
        images=torch.randint(0, 256, shape, dtype=torch.uint8, device=device),
        sizes=torch.full((share, 2), run.augment.size),
        positions=torch.arange(share) + dist.rank() * share,
        epoch=0,
    )


def table(result: dict[str, Any]) -> str:
    rows = [*result["lines"], *result["as SyncBatchNorm"]]
    return "\n".join(
        f"{row['what']:22}{row['pass']:10}{row['collective']:12}{row['calls']:>7}{row['bytes']:>16,}" for row in rows
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Calls and bytes of the collectives of a step.")
    parser.add_argument("--row", default="stl")
    parser.add_argument("--setting", default="stl10")
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rank", type=int, help="of STL's hypernetwork; without it the full form")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    run = replace(
        run_of(options.row, setting=options.setting, image_size=options.size),
        encoder=options.encoder,
        stem="imagenet",
        batch_size=options.batch,
    )
    if options.rank:
        run = replace(run, method=replace(run.method, rank=options.rank))
    with dist.processes(options.device) as device:
        given = {name: getattr(options, name) for name in ("row", "setting", "encoder", "size", "batch", "rank")}
        result = {**given, **environment(device), **count(run.resolved(device), device)}
        if dist.is_main():
            print(table(result))
            if options.out:
                options.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
