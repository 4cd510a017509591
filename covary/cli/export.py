"""``covary export``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from covary.cli.parse import parse
from covary.export import FORMATS, export


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``covary export``."""

    run: Annotated[tyro.conf.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Folder of a finished run."""
    format: str
    """What is written."""
    out: Path
    """File to write, .safetensors or .onnx; for huggingface a folder."""


def main(argv: Sequence[str]) -> int:
    """Write an export; print what it is and the Python that loads it; return the exit code."""
    options = parse(
        Options,
        argv,
        prog="covary export",
        description=f"Write a run's encoder for other libraries. Formats: {', '.join(FORMATS)}.",
    )
    done = export(options.run, format=options.format, out=options.out)
    print(
        f"{done.path}  {options.format}  {done.bytes / 1e6:.1f} MB  "
        f"largest difference {done.difference:.1e}, of features of random images"
    )
    for line in done.lines:
        print(f"  {line}")
    return 0
