"""``covary evaluate``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from covary.cli.parse import parse
from covary.evaluation import KnnOptions, LinearOptions, evaluate


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``covary evaluate``."""

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")]
    """Run folder, weights file (with --encoder), timm:NAME, torchvision:NAME, untrained:NAME or untrained:RUN."""
    data: str
    """Labelled images: shapes, cifar10, a folder with class folders, ... (as for pretrain)."""
    task: tuple[str, ...] = ("all",)
    """knn, linear, several of them, or all."""
    out: Path | None = None
    """File for the results; by default results/TASK-DATA.json of a run folder, none for other sources."""
    encoder: str | None = None
    """Encoder that a weights file belongs to."""
    stem: Literal["imagenet", "cifar"] | None = None
    """Stem of that encoder."""
    prefix: str = ""
    """What the names in a weights file begin with, such as backbone."""
    ignore: tuple[str, ...] = ()
    """Beginnings of names in a weights file to leave out, such as fc."""
    image_size: int | None = None
    """Pixels; by default the source's own, else the images'."""
    knn: KnnOptions = KnnOptions()
    linear: LinearOptions = LinearOptions()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes the GPU where there is one."""
    batch_size: int = 256
    """Images that the encoder sees at once."""
    root: Path | None = None
    """Folder of downloaded sets; default $COVARY_DATA or ~/.cache/covary/data."""
    cache: Path | None = None
    """Folder of decoded image stores; default $COVARY_CACHE or ~/.cache/covary."""
    seed: int = 0
    """Seed of the validation split and of untrained weights."""


def main(argv: Sequence[str]) -> int:
    """Measure an encoder and print one block a task; return the exit code."""
    options = parse(Options, argv, prog="covary evaluate", description="Measure an encoder on labelled images.")
    results = evaluate(
        options.source,
        data=options.data,
        task=options.task,
        out=options.out,
        encoder=options.encoder,
        stem=options.stem,
        prefix=options.prefix,
        ignore=options.ignore,
        image_size=options.image_size,
        knn=options.knn,
        linear=options.linear,
        device=options.device,
        batch_size=options.batch_size,
        root=options.root,
        cache=options.cache,
        seed=options.seed,
    )
    for result in results:
        figures = "  ".join(f"{name} {value:.4g}" for name, value in result.metrics.items() if value is not None)
        print(f"{result.task:<8} {figures}  ({result.seconds:.0f} s)")
        print(f"         {result.protocol}")
    return 0
