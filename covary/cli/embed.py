"""``covary embed``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from covary.cli.parse import parse
from covary.embed import Which, embed


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``covary embed``."""

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")]
    """Run folder, weights file (with --encoder), timm:NAME, torchvision:NAME, untrained:NAME or untrained:RUN."""
    data: str
    """Images: shapes, cifar10, a folder, ... (as for pretrain), with labels or without."""
    out: Path
    """Table to write: .parquet or .npz."""
    split: Which = "all"
    """Training images, test images, or all."""
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
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes the GPU where there is one."""
    batch_size: int = 256
    """Images that the encoder sees at once."""
    root: Path | None = None
    """Folder of downloaded sets; default $COVARY_DATA or ~/.cache/covary/data."""
    cache: Path | None = None
    """Folder of decoded image stores; default $COVARY_CACHE or ~/.cache/covary."""
    seed: int = 0
    """Seed of untrained weights."""


def main(argv: Sequence[str]) -> int:
    """Write the table, print where it is and how fast it came about; return the exit code."""
    options = parse(
        Options,
        argv,
        prog="covary embed",
        description="Write the features of all images as one table, a row an image, in the order of the images.",
    )
    done = embed(
        options.source,
        data=options.data,
        out=options.out,
        split=options.split,
        encoder=options.encoder,
        stem=options.stem,
        prefix=options.prefix,
        ignore=options.ignore,
        image_size=options.image_size,
        device=options.device,
        batch_size=options.batch_size,
        root=options.root,
        cache=options.cache,
        seed=options.seed,
    )
    found = done.images - done.computed
    print(
        f"{done.path}  {done.images:,} images, {done.features} numbers each  {done.bytes / 1e6:.1f} MB  "
        f"{done.computed / max(done.seconds, 1e-9):,.0f} images/s"
        + (f"  ({found:,} were there from an interrupted command)" if found else "")
        + (f"  ({done.skipped:,} files cannot be read and are left out)" if done.skipped else "")
    )
    return 0
