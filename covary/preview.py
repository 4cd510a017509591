"""What a run would be, without training it: configuration, steps, parameters, memory, the first batch as a picture."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from covary import config
from covary.augment import COLUMNS, make_views
from covary.data import Batches, Fit, Residence, load
from covary.draw.batch import first_batch
from covary.errors import MissingData
from covary.memory import peak_memory, process_memory, step_memory
from covary.private import without_paths
from covary.run import Run
from covary.rundir import RunDir

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

    parameters: of each part of the method.
    memory:     of each part at the peak of a process (``memory.peak_memory``), without images where there are none.
    images:     the figures that need the images, or why there are none: a known set is not on this machine.
    """

    parameters: dict[str, int]
    memory: Mapping[str, int]
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
    with folder.made():
        with torch.device("meta"):
            method = run.build_method()
        parameters = {name: sum(p.numel() for p in child.parameters()) for name, child in method.named_children()}
        step, process = step_memory(run, method, device), process_memory()
        resident = batch = 0
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
            batch = store.nbytes * run.batch_size // len(store)
            resident = store.nbytes if device.type == "cpu" or batches.residence == "resident" else 0
        except MissingData as missing:
            images = missing
        memory = peak_memory(step, device, images=resident, batch=batch, process=process)
        return Preview(parameters=parameters, memory=memory, images=images)


def configuration(run: Run) -> str:
    """Return the resolved configuration as ``run.json`` would hold it."""
    return json.dumps(config.to_json(run), indent=2)


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
        title=f"{without_paths(run.data)}: {shared if views.partners else 'every number is drawn for each image'}",
    )
    folder.figures.mkdir(exist_ok=True)
    path = folder.figures / "first-batch.png"
    figure.savefig(path, dpi=max(120, run.augment.size))
    return path
