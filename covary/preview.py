"""What a run would be, without training it: configuration, steps, parameters, memory, the first batch as a picture."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode

from covary import config
from covary.augment import COLUMNS, make_views
from covary.data import Batches, Fit, Residence, load
from covary.draw.batch import first_batch
from covary.errors import MissingData
from covary.run import Run
from covary.rundir import RunDir
from covary.types import Views

SHOWN = 8  # images in the picture


@dataclass(frozen=True, kw_only=True)
class PreviewedImages:
    """Figures of a run's images; memory in bytes."""

    count: int
    steps_per_epoch: int
    memory: int
    residence: str
    picture: Path


@dataclass(frozen=True, kw_only=True)
class Preview:
    """Figures of a run that has not been trained; memory in bytes.

    images: the figures that need the images, or why there are none: a known set is not on this machine.
    """

    parameters: dict[str, int]
    weights_memory: int
    activation_memory: int
    images: PreviewedImages | MissingData


def preview(
    run: Run,
    out: Path,
    *,
    device: torch.device,
    root: Path | None,
    cache: Path | None,
    max_bad: float,
    residence: Residence,
) -> Preview:
    """Count parameters and memory; decode the images and draw the first batch into ``figures/first-batch.png``.

    Raises InputError: images, batch size, method or folder are wrong.
    """
    run = run.resolved(device)
    folder = RunDir(out)
    folder.create()
    parameters, state, activations = _count(run)
    try:
        store = load(
            run.data,
            split="train",
            fit=Fit.train(run.augment.size),
            root=root,
            cache=cache,
            max_bad=max_bad,
            residence=residence,
        )
        batches = Batches(store, batch_size=run.batch_size, seed=run.seed, device=device, residence=residence)
        images = PreviewedImages(
            count=len(store),
            steps_per_epoch=batches.steps_per_epoch,
            memory=store.nbytes,
            residence=batches.reason,
            picture=_draw(run, batches, folder),
        )
    except MissingData as missing:
        images = missing
    return Preview(parameters=parameters, weights_memory=state, activation_memory=activations, images=images)


def configuration(run: Run) -> str:
    """Return the resolved configuration as ``run.json`` would hold it."""
    return json.dumps(config.to_json(run), indent=2)


def _count(run: Run) -> tuple[dict[str, int], int, int]:
    """Return parameters by part, bytes of weights + gradients + optimiser, and bytes kept for the backward pass.

    One step is traced with fake tensors: shapes only, nothing is computed. Activations count each storage that autograd
    saves once; bf16 autocast is traced as such.
    """
    with torch.device("meta"):  # where a teacher can be copied, which fake tensors cannot be
        method = run.build_method()
    with FakeTensorMode(allow_non_fake_inputs=True):
        method.to_empty(device="cpu")
        views = _empty_views(run)
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
            terms = method(views)
    parts = {name: sum(p.numel() for p in child.parameters()) for name, child in method.named_children()}
    copies = 4 if run.optim.name == "adamw" else 3  # weight, gradient, one or two moments
    total = sum(p.numel() * p.element_size() * (copies if p.requires_grad else 1) for p in method.parameters())
    del terms  # until here its graph keeps every saved storage apart
    return parts, total, sum(saved.values())


def _empty_views(run: Run) -> Views:
    """Return views of a part of a batch, of the right shapes."""
    recipe, b = run.augment, run.batch_size // run.accumulate
    numbers = max(column.stop for column in recipe.columns.values())
    turned = recipe.turned
    return Views(
        images=torch.empty(recipe.views, b, 3, recipe.size, recipe.size),
        params=torch.empty(recipe.views, b, numbers),
        partners=recipe.partners,
        turned=torch.empty(4, b, 3, turned.size, turned.size) if turned else None,
    )


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
