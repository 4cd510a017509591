"""What a run would be, without training it: configuration, steps, parameters, memory, the first batch as a picture."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from covary import config
from covary.augment import COLUMNS, make_views
from covary.data import Batches, Fit, load
from covary.draw.batch import first_batch
from covary.run import Run
from covary.rundir import RunDir
from covary.types import Views

SHOWN = 8  # images in the picture


@dataclass(frozen=True, kw_only=True)
class Preview:
    """Figures of a run that has not been trained; memory in bytes."""

    images: int
    steps_per_epoch: int
    steps: int
    parameters: dict[str, int]
    weights_memory: int
    activation_memory: int
    store_memory: int
    residence: str
    picture: Path


def preview(
    run: Run,
    out: Path,
    *,
    device: torch.device,
    root: Path | None,
    cache: Path | None,
    max_bad: float,
    residence: Literal["auto", "resident", "streamed"],
) -> Preview:
    """Decode the images, draw the first batch into ``figures/first-batch.png`` of the run folder, and count.

    Raises InputError: images, batch size, method or folder are wrong.
    """
    run = run.resolved(device)
    folder = RunDir(out)
    folder.create()
    parameters, state, activations = _count(run)
    store = load(run.data, split="train", fit=Fit.train(run.augment.size), root=root, cache=cache, max_bad=max_bad)
    batches = Batches(store, batch_size=run.batch_size, seed=run.seed, device=device, residence=residence)
    return Preview(
        images=len(store),
        steps_per_epoch=batches.steps_per_epoch,
        steps=batches.steps_per_epoch * run.epochs,
        parameters=parameters,
        weights_memory=state,
        activation_memory=activations,
        store_memory=store.nbytes,
        residence=batches.reason,
        picture=_draw(run, batches, folder),
    )


def configuration(run: Run) -> str:
    """Return the resolved configuration as ``run.json`` would hold it."""
    return json.dumps(config.to_json(run), indent=2)


def _count(run: Run) -> tuple[dict[str, int], int, int]:
    """Return parameters by part, bytes of weights + gradients + optimiser, and bytes kept for the backward pass.

    One step is traced with fake tensors: shapes only, nothing is computed. Activations count each storage that autograd
    saves once; bf16 autocast is traced as such.
    """
    with FakeTensorMode():
        method = run.build_method()
        size, views = run.augment.size, run.augment.views
        images = torch.empty(views, run.batch_size // run.accumulate, 3, size, size)
        params = torch.empty(views, run.batch_size // run.accumulate, 1)
        weights = {p.untyped_storage()._cdata for p in method.parameters()}
        saved: dict[int, int] = {}

        def keep(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            if storage._cdata not in weights:
                saved[storage._cdata] = storage.nbytes()
            return tensor

        with (
            torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
            torch.autocast("cpu", torch.bfloat16, enabled=run.precision == "bf16"),
        ):
            terms = method(Views(images=images, params=params, partners=run.augment.partners))
    parts = {name: sum(p.numel() for p in child.parameters()) for name, child in method.named_children()}
    copies = 4 if run.optim.name == "adamw" else 3  # weight, gradient, one or two moments
    total = sum(p.numel() * p.element_size() * (copies if p.requires_grad else 1) for p in method.parameters())
    del terms  # until here its graph keeps every saved storage apart
    return parts, total, sum(saved.values())


def _draw(run: Run, batches: Batches, folder: RunDir) -> Path:
    batch = next(iter(batches.epoch(0)))
    views = make_views(batch, run.augment, seed=run.seed)
    count = min(SHOWN, run.batch_size)
    images = [
        batch.images[row, :, : int(height), : int(width)].permute(1, 2, 0).cpu().numpy()
        for row, (height, width) in enumerate(batch.sizes[:count])
    ]
    mean, std = (np.array(values, dtype=np.float32) for values in (run.augment.mean, run.augment.std))
    pixels = views.images[:, :count].permute(0, 1, 3, 4, 2).float().cpu().numpy() * std + mean
    shared = f"partners share {', '.join(run.augment.aligned)}; all else is drawn for each image"
    figure = first_batch(
        images,
        pixels.clip(0, 1),
        views.params[:, :count, COLUMNS["crop"]].cpu().numpy(),
        partners=views.partners,
        title=f"{run.data}: {shared if views.partners else 'every number is drawn for each image'}",
    )
    folder.figures.mkdir(exist_ok=True)
    path = folder.figures / "first-batch.png"
    figure.savefig(path, dpi=max(120, run.augment.size))
    return path
