"""Evaluation: features beside the encoder's bare forward, and what kNN and the linear sweep take on features."""

from collections.abc import Callable

import torch
from torch import Tensor

from covary.bench.finding import Finding, line, rate, ratio
from covary.bench.loop import noise
from covary.bench.settings import Case
from covary.bench.timing import Block, steps_of, take_turns
from covary.evaluation.features import extract
from covary.evaluation.knn import knn
from covary.evaluation.linear import linear
from covary.meter import seconds
from covary.nets import build_encoder

CLASSES = 10
PER_CLASS = {"train": 200, "test": 100}  # drawn features; a sweep of 45 penalties on them takes seconds on a CPU
DISTANCE = 0.3  # of the classes' centres, in units of the spread within one: neither all right nor chance


def evaluation(case: Case) -> Finding:
    """Measure, in turn: feature extraction, the encoder's bare forward, kNN and the linear sweep.

    Extraction is that of ``covary evaluate``, from images in memory to features, in float32. The bare forward is that
    of batches that lie ready, channels-last, without gradient; ``extraction / forward`` is the ratio of images a
    second. kNN and the sweep see drawn features of the encoder's width on the device, ``PER_CLASS`` of each class.
    """
    encoder, features = build_encoder(case.setting.encoder, stem=case.setting.stem)
    train, test = (drawn(features, split, case.device) for split in PER_CLASS)
    blocks = {
        "forward": steps_of(_forward(case), case.device),
        "extraction": _extraction(case, encoder),
        "knn": steps_of(lambda: knn(*train, *test), case.device),
        "linear": steps_of(lambda: linear(*train, *test), case.device),
    }
    found = take_turns(blocks, case.effort)
    return Finding(
        lines=(
            rate("encoder's forward", case.setting.batch, found["forward"]),
            rate("feature extraction", case.setting.batch, found["extraction"]),
            ratio("extraction / forward", found["forward"], found["extraction"]),
            line("kNN", "s", found["knn"]),
            line("linear sweep", "s", found["linear"]),
        ),
        seconds=found,
    )


def drawn(features: int, split: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return features (n, D) around one centre a class, and their labels (n,)."""
    generator = torch.Generator().manual_seed(list(PER_CLASS).index(split) + 1)
    centres = torch.randn(CLASSES, features, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(CLASSES).repeat_interleave(PER_CLASS[split])
    rows = DISTANCE * centres[labels] + torch.randn(len(labels), features, generator=generator)
    return rows.to(device), labels.to(device)


def _forward(case: Case) -> Callable[[], None]:
    """Return the encoder's forward of one batch, in evaluation mode."""
    encoder, _ = case.encoder()
    encoder.eval()
    size = case.setting.size
    images = torch.randn(case.setting.batch, 3, size, size).to(case.device).to(memory_format=torch.channels_last)

    def job() -> None:
        with torch.no_grad():
            encoder(images)

    return job


def _extraction(case: Case, encoder: torch.nn.Module) -> Block:
    """Return the extraction of features, a batch a step."""
    batch, recipe = case.setting.batch, case.run().augment
    store = noise(case.setting.size, batch=batch)
    encoder.to(case.device)

    def block(count: int) -> float:
        rows = torch.arange(count * batch) % len(store)

        def job() -> Tensor:
            return extract(
                encoder, store, mean=recipe.mean, std=recipe.std, device=case.device, batch_size=batch, rows=rows
            )

        return seconds(job, case.device) / count

    return block
