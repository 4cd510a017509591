"""``covary bench``."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from covary.bench import PARTS, SETTINGS, Effort, bench, markdown
from covary.bench.settings import Compile
from covary.cli.parse import parse
from covary.run import Precision


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``covary bench``."""

    out: Path = Path("bench.json")
    """JSON file, or folder for bench.json; the same as Markdown lies beside it."""
    settings: tuple[str, ...] | None = None
    """Encoder@pixels by name; by default the small one on a CPU, all on a GPU."""
    parts: tuple[str, ...] | None = None
    """What is measured, by name; by default all."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes the GPU where there is one."""
    batch_size: int | None = None
    """Images of a step; by default the setting's, 256."""
    precision: tuple[Precision, ...] = ("auto",)
    """fp32, bf16 or auto (as pretrain), one or several."""
    compile: tuple[Compile, ...] = ("off",)
    """off or on, one or both."""
    repeats: int = 5
    """Rounds in which all that is compared takes turns."""
    block_seconds: float = 0.5
    """Length of a turn, at least one step."""
    processes: int = 2
    """Processes of the part processes."""
    workers: int | None = None
    """Workers of the other libraries' loaders; by default on a CPU one a thread of torch, beside a GPU one a core."""
    augmentation_size: int = 96
    """Pixels of images and views of the part augmentation."""


def main(argv: Sequence[str]) -> int:
    """Measure, tell each part in a line, print the report; return the exit code."""
    options = parse(
        Options,
        argv,
        prog="covary bench",
        description="Measure what this machine does: images a second, stages, memory, other libraries. "
        f"Settings: {', '.join(SETTINGS)}. Parts: {', '.join(PARTS)}.",
    )
    report = bench(
        out=options.out,
        settings=options.settings,
        parts=options.parts,
        device=options.device,
        batch_size=options.batch_size,
        precision=options.precision,
        compile=options.compile,
        augmentation_size=options.augmentation_size,
        effort=Effort(
            repeats=options.repeats,
            block_seconds=options.block_seconds,
            processes=options.processes,
            workers=options.workers,
        ),
        say=lambda line: print(line, file=sys.stderr, flush=True),
    )
    print(markdown(report), end="")
    return 0
