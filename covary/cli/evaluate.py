"""``covary evaluate``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from covary import dist
from covary.cli import complain, speaks
from covary.cli.parse import parse
from covary.errors import InputError
from covary.evaluation import Options as TaskOptions
from covary.evaluation import evaluate
from covary.evaluation.tasks import TASKS, means
from covary.stop import Interrupted


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``covary evaluate``."""

    source: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="SOURCE")]
    """Run folder, weights file (with --encoder), timm:NAME, torchvision:NAME, untrained:NAME or untrained:RUN."""
    data: tuple[str, ...]
    """Images: shapes, cifar10, a folder with class folders, ... (as for pretrain), several of these, or table10."""
    task: tuple[str, ...] = ("all",)
    """One or several tasks, or all that the images suit."""
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
    options: Annotated[TaskOptions, tyro.conf.arg(name="")] = TaskOptions()
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to compute; auto takes the GPU where there is one."""
    batch_size: int = 256
    """Images that the encoder sees at once."""
    root: Path | None = None
    """Folder of downloaded sets; default $COVARY_DATA or ~/.cache/covary/data."""
    cache: Path | None = None
    """Folder of decoded image stores; default $COVARY_CACHE or ~/.cache/covary."""
    seed: int = 0
    """Seed of untrained weights and of whatever a task draws."""


def main(argv: Sequence[str]) -> int:
    """Measure an encoder; print a block for each result, and for means over several sets; return the exit code."""
    options = parse(
        Options,
        argv,
        prog="covary evaluate",
        description=f"Measure an encoder on images. Tasks: {', '.join(TASKS)}.",
    )
    if not options.data:  # the parser took the only word there was for SOURCE
        raise InputError("SOURCE is missing; it comes first: covary evaluate SOURCE --data SPEC.")
    try:
        with dist.processes(options.device) as device:
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
                options=options.options,
                device=device.type,
                batch_size=options.batch_size,
                root=options.root,
                cache=options.cache,
                seed=options.seed,
            )
    except Interrupted as stop:
        complain(str(stop))
        return 128 + stop.signum
    if not speaks():
        return 0
    for result in results:
        _print(f"{result.task}  {result.data}  ({result.seconds:.0f} s)", result.metrics)
        print(f"  {result.protocol}")
    for task, metrics in means(results).items():
        sets = sum(result.task == task for result in results)
        _print(f"{task}  mean of {sets} sets", metrics)
    return 0


def _print(title: str, metrics: Mapping[str, float]) -> None:
    """Print a title, and a line for each group of metrics, those with the same name up to the last dot."""
    print(title)
    groups: dict[str, list[str]] = {}
    for name, value in metrics.items():
        group, _, last = name.rpartition(".")
        groups.setdefault(group, []).append(f"{last} {value:.4g}")
    width = max(map(len, groups), default=0)
    for group, figures in groups.items():
        print("  ".join(["", *([f"{group:<{width}}"] if width else []), *figures]))
