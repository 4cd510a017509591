"""``covary pretrain``."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, get_args

import tyro

from covary import dist
from covary.cli import speaks
from covary.cli.parse import parse, peek
from covary.errors import InputError, MissingData, did_you_mean
from covary.methods import BASES, METHODS
from covary.preview import configuration, preview
from covary.recipes import SETTINGS, start_run
from covary.replay import replay
from covary.run import Preset, Run
from covary.training import Session, train


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``covary pretrain``: where to, what from, the run, the session."""

    out: Path
    """Run folder; the same command again continues an interrupted run there."""
    recipe: str | None
    """Start from a named recipe; other options override it."""
    method_name: Annotated[str, tyro.conf.arg(name="method")]
    """A method by name, or a Python file that defines one; its options follow as --method.OPTION."""
    base: str | None
    """Base that the method builds on, such as byol; its options follow as --method.base.OPTION."""
    preset: Preset
    """Settings of the paper, or of its authors' code where the two differ."""
    targets: str | None
    """Operations that features should co-vary with: crop, color, crop+color or all; --augment.targets names others."""
    image_size: int
    """Height and width of the views in pixels; by default the images' own, at most 224."""
    run: Annotated[Run, tyro.conf.arg(name="")]
    session: Annotated[Session, tyro.conf.arg(name="")]
    dry_run: bool = False
    """Train nothing: print configuration, steps, parameters and memory, and draw the first batch."""
    replay: bool = False
    """Train nothing: repeat the step that stopped the run as not finite, and tell where it began."""


def main(argv: Sequence[str]) -> int:
    """Train, continue or preview a run; return the exit code."""
    options = _options(argv)
    if options.dry_run:
        _show(options)
        return 0
    if options.replay:
        lines = replay(options.run, options.out, options.session).lines()
        if speaks():
            print("\n".join(lines))
        return 0
    folder = train(options.run, options.out, options.session)
    if speaks():
        print(folder)
    return 0


def _options(argv: Sequence[str]) -> Options:
    """Parse twice: the options looked for here decide what all others are and default to."""
    data, recipe, method, base, targets = (
        peek(argv, option) for option in ("--data", "--recipe", "--method", "--base", "--targets")
    )
    preset = _preset(peek(argv, "--preset") or "paper")
    image_size = _whole_number("--image-size", peek(argv, "--image-size"))
    unnamed = not (data or recipe)
    run = start_run(
        data="shapes" if unnamed else data,
        recipe=recipe,
        method=method,
        base=base,
        preset=preset,
        targets=targets,
        image_size=image_size,
    )
    options = parse(
        Options,
        argv,
        prog="covary pretrain",
        description=(
            f"Train an encoder. Methods: {', '.join(METHODS)}. Bases: {', '.join(BASES)}. "
            f"Recipes: {', '.join(SETTINGS)}, or one of these and a row of the paper's tables, such as stl10/byol-stl."
        ),
        default=Options(
            out=tyro.MISSING,
            recipe=recipe,
            method_name=run.method.name,
            base=base,
            preset=preset,
            targets=targets,
            image_size=run.augment.size,
            run=replace(run, data=tyro.MISSING) if unnamed else run,
            session=Session(),
        ),
    )
    if image_size not in (None, options.run.augment.size):
        raise InputError(
            f"--image-size is {image_size} and --augment.size {options.run.augment.size}, which is the same thing; "
            "give one of them."
        )
    return options


def _show(options: Options) -> None:
    device = dist.choose_device(options.session.device)
    run = options.run.resolved(device)
    shown = preview(
        run,
        options.out,
        device=device,
        root=options.session.root,
        cache=options.session.cache,
        max_bad=options.session.max_bad,
        residence=options.session.residence,
    )
    parts = ", ".join(f"{name} {count:,}" for name, count in shown.parameters.items())
    print(configuration(run))
    print(f"parameters   {sum(shown.parameters.values()):,} ({parts})")
    memory = ", ".join(f"{part} {_megabytes(size)}" for part, size in shown.memory.items())
    print(f"memory       about {_megabytes(sum(shown.memory.values()))} at the peak: {memory}")
    images = shown.images
    if isinstance(images, MissingData):
        print(f"images       {images}")
        return
    print(f"images       {images.count:,}, {_megabytes(images.memory)} decoded; {images.residence}")
    print(f"steps        {images.steps_per_epoch * run.epochs:,} ({images.steps_per_epoch:,} an epoch)")
    print(f"first batch  {images.picture}")


def _preset(name: str) -> Preset:
    for known in get_args(Preset):
        if name == known:
            return known
    known = get_args(Preset)
    raise InputError(f"preset '{name}' is unknown; expected one of {', '.join(known)}.{did_you_mean(name, known)}")


def _whole_number(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise InputError(f"{option} is '{text}'; expected a whole number above 0.")
    return int(text)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.0f} MB"
