"""The memory that a dry run tells of: counted exactly where it can be, and near what a run is measured to take."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from covary.memory import StepMemory, peak_memory, process_memory, step_memory
from covary.methods import BYOL, STL
from covary.optim import OptimConfig
from covary.recipes import start_run
from covary.run import Run
from covary.state import state_tensors
from covary.step import Step, build
from covary.types import Views

CPU, GPU = torch.device("cpu"), torch.device("cuda")
IMAGES = 8
TAUGHT = STL(base=BYOL(head_hidden=16, embedding=8, predictor_hidden=8))
COMMAND = """
import sys, torch
from covary.cli import main
torch.set_num_threads(1)
main([*sys.argv[1:], "--dry-run"])
main(sys.argv[1:])
print(*(line for line in open("/proc/self/status") if line.startswith("VmHWM:")))
"""


def run_of(method: Any = "simclr", **changes: Any) -> Run:
    run = start_run(data="shapes:n=64", method=method, image_size=16)
    return replace(run, **{"encoder": "resnet8", "batch_size": IMAGES, **changes}).resolved(CPU)


def predicted(run: Run) -> StepMemory:
    with torch.device("meta"):
        method = run.build_method()
    return step_memory(run, method, CPU)


@pytest.mark.parametrize("method", ["simclr", TAUGHT], ids=["simclr", "stl on byol"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lars"])
def test_weights_are_those_that_stand_after_a_step(method: Any, optimizer: Any) -> None:
    run = run_of(method, optim=OptimConfig(name=optimizer))
    built, optim = build(run, CPU)
    views = Views(
        images=torch.randn(2, IMAGES, 3, 16, 16), params=torch.zeros(2, IMAGES, 15), partners=run.augment.partners
    )
    Step(run, built, optim, device=CPU, per_epoch=2).update(views, 0)
    state = list(state_tensors(built, optim).values())
    told = predicted(run)
    kept = [*built.buffers(), *(p for p in built.parameters() if not p.requires_grad)]
    standing = sum(tensor.nbytes for tensor in [*state, *kept])  # the guard's copies, and its numbers
    assert 0 <= told.weights - standing <= 64
    assert told.views == views.images.nbytes + views.params.nbytes
    copies = sum(tensor.nbytes for tensor in state if not tensor.is_contiguous())
    assert told.checkpoint == copies + 2 * sum(tensor.nbytes for tensor in state)


def test_work_grows_with_the_batch_and_shrinks_with_its_parts() -> None:
    one, four = predicted(run_of(batch_size=64)), predicted(run_of(batch_size=256))
    parts = predicted(run_of(batch_size=256, accumulate=4))
    assert (one.weights, four.weights) == (parts.weights, one.weights)
    assert 3.5 < four.work / one.work < 4
    assert parts.work == pytest.approx(one.work, rel=0.3)
    assert predicted(run_of(batch_size=256, precision="bf16")).work < 0.8 * four.work


def test_work_holds_all_that_backward_reads() -> None:
    run = run_of(batch_size=64)
    method, _ = build(run, CPU)
    weights = {p.untyped_storage().data_ptr() for p in method.parameters()}
    saved: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    views = Views(images=torch.randn(2, 64, 3, 16, 16), params=torch.zeros(2, 64, 15), partners=False)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        terms = method(views)
    activations = sum(saved.values()) - views.images.nbytes
    assert terms["loss"].requires_grad
    assert activations <= predicted(run).work <= 1.5 * activations


def test_the_larger_peak_counts() -> None:
    step = StepMemory(weights=10, views=20, work=100, checkpoint=30)
    given = {"images": 1000, "batch": 5, "process": 7}
    at_work = {"images": 1000, "weights": 10, "views": 25, "activations": 100}
    assert peak_memory(step, CPU, **given) == at_work | {"allocator": 40, "libraries": 7}
    assert peak_memory(step, GPU, **given) == at_work
    saving = replace(step, checkpoint=150)
    assert peak_memory(saving, CPU, **given) == {
        "images": 1000,
        "weights": 10,
        "views": 25,
        "checkpoint": 150,
        "libraries": 7,
    }
    assert peak_memory(saving, GPU, **given) == at_work


@pytest.mark.skipif(process_memory() == 0, reason="needs Linux, which tells what a process takes")
def test_a_dry_run_tells_what_a_run_takes(tmp_path: Path) -> None:
    """Of which activations, with what the allocator keeps between them, are two fifths."""
    options = {
        "data": "shapes:n=256",
        "method": "stl",
        "encoder": "resnet8",
        "image-size": "96",
        "batch-size": "128",
        "epochs": "1",
        "device": "cpu",
        "knn-epochs": "-1",
        "out": str(tmp_path / "run"),
    }
    command = ["pretrain", *(word for name, value in options.items() for word in (f"--{name}", value))]

    done = subprocess.run([sys.executable, "-c", COMMAND, *command], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = re.search(r"^memory +about ([\d,]+) MB at the peak: images ", done.stdout, re.MULTILINE)
    measured = re.search(r"^VmHWM:\s+(\d+) kB", done.stdout, re.MULTILINE)
    assert told is not None
    assert measured is not None
    assert int(told[1].replace(",", "")) * 1e6 == pytest.approx(int(measured[1]) * 1024, rel=0.1)
