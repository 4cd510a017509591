"""``covary explore``."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from covary.cli.parse import parse
from covary.explore import explore


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``covary explore``."""

    run: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="RUN")]
    """Folder of a finished run, or another source as of covary evaluate."""
    data: str
    """Images: shapes, cifar10, a folder, ... (as for pretrain); its test images are shown."""
    out: Path
    """Folder to make; open its index.html."""
    compare: str | None = None
    """A second run, shown beside the first on the same images."""
    images: int = 2000
    """Images on the map; 0 takes all test images."""
    encoder: str | None = None
    """Encoder that a weights file belongs to."""
    stem: Literal["imagenet", "cifar"] | None = None
    """Stem of that encoder."""
    prefix: str = ""
    """What the names in a weights file begin with, such as backbone."""
    ignore: tuple[str, ...] = ()
    """Beginnings of names in a weights file to leave out, such as fc."""
    image_size: int | None = None
    """Pixels; by default the run's own, else the images'."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes the GPU where there is one."""
    batch_size: int = 256
    """Images that the encoder sees at once."""
    root: Path | None = None
    """Folder of downloaded sets; default $COVARY_DATA or ~/.cache/covary/data."""
    cache: Path | None = None
    """Folder of decoded image stores; default $COVARY_CACHE or ~/.cache/covary."""
    seed: int = 0
    """Seed of the choice of images and of what is done to them."""


def main(argv: Sequence[str]) -> int:
    """Write the folder, print what to open; return the exit code."""
    options = parse(
        Options,
        argv,
        prog="covary explore",
        description="Show what a run's features do, as a folder that a browser opens: analogies, orbits, maps, two "
        "runs compared. Ranks of crop, color and all are those of covary evaluate RUN --task equivariance "
        "--equivariance.images 12 --equivariance.transformations 12 with the same data and seed.",
    )
    out = explore(
        options.run,
        data=options.data,
        out=options.out,
        compare=options.compare,
        images=options.images,
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
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    size = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    print(f"{out / 'index.html'}  {size / 1e6:.1f} MB")
    return 0
