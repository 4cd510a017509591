"""The commands. Parsing, printing and exit codes live here; the work is done by the functions of the Python API.

Exit codes: 0 done; 2 the input is wrong (one line); 1 a fault of ours, or a run that cannot go on; 128 + signal after
a checkpoint.
"""

import contextlib
import dataclasses
import io
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import tyro

from covary.errors import InputError, did_you_mean
from covary.version import __version__

if TYPE_CHECKING:
    from covary.preview import Preview
    from covary.run import Run

T = TypeVar("T")

HELP = f"""covary {__version__}: image encoders whose features co-vary with what was done to the image.

usage: covary COMMAND [OPTIONS]

commands:
  pretrain   train an encoder with STL or SimCLR on any images, or continue a run
  evaluate   measure an encoder: kNN, linear accuracy

  covary COMMAND --help lists the options of a command.
  covary pretrain --data shapes --method stl --out runs/first    is a start that needs no data.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    commands: dict[str, Callable[[list[str]], int]] = {"pretrain": _pretrain, "evaluate": _evaluate}
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP, end="")
        return 0
    if arguments[0] == "--version":
        print(__version__)
        return 0
    name, rest = arguments[0], arguments[1:]
    try:
        if name not in commands:
            raise InputError(
                f"'{name}' is no command; expected one of {', '.join(commands)}.{did_you_mean(name, commands)}"
            )
        return commands[name](rest)
    except InputError as error:
        _complain(str(error))
        return 2
    except KeyboardInterrupt:
        _complain("interrupted")
        return 130


def _pretrain(argv: list[str]) -> int:
    from covary.training import Interrupted, TrainingError, train

    options = _parse_pretrain(argv)
    if options.dry_run:
        return _preview(options)
    try:
        folder = train(options.run, options.out, options.session)
    except Interrupted as stop:
        _complain(str(stop))
        return 128 + stop.signum
    except TrainingError as error:
        _complain(str(error))
        return 1
    print(folder)
    return 0


def _parse_pretrain(argv: list[str]) -> Any:
    """Return the parsed options: ``run``, ``out``, ``session``, ``dry_run``.

    The method, recipe, preset, data and image size decide what every other option defaults to, so they are looked at
    first.
    """
    from covary.methods import METHODS
    from covary.recipes import RECIPES, start_run
    from covary.run import Run
    from covary.training import Session

    asks_help = "-h" in argv or "--help" in argv
    method, recipe, preset = (_peek(argv, name) for name in ("--method", "--recipe", "--preset"))
    data, image_size = _peek(argv, "--data"), _peek(argv, "--image-size")
    if data is None and recipe is None and not asks_help:
        raise InputError("--data is missing; name the images: shapes, cifar10, a folder, ... (covary pretrain --help).")
    default = start_run(
        data=data or (None if recipe else "shapes"),
        recipe=recipe,
        method=method or "stl",
        preset=preset or "paper",
        image_size=_whole_number("--image-size", image_size),
    )

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Options:
        run: Annotated[Run, tyro.conf.arg(name="")]
        out: Path
        """Run folder; the same command again continues an interrupted run in it."""
        recipe: str | None = recipe
        """Start from a named recipe; other options override it."""
        method_name: Annotated[str, tyro.conf.arg(name="method")] = default.method.name
        """Method; its own options follow as --method.OPTION."""
        preset: str = preset or "paper"
        """paper, or official_code where the authors' code differs from the paper."""
        image_size: int | None = default.augment.size
        """Height and width of the views in pixels; by default the images' own."""
        session: Annotated[Session, tyro.conf.arg(name="")]
        dry_run: bool = False
        """Print configuration, steps, parameters and memory, draw the first batch, train nothing."""

    return _parse(
        Options,
        argv,
        prog="covary pretrain",
        description=f"Train an encoder. Methods: {', '.join(METHODS)}. Recipes: {', '.join(RECIPES)}.",
        default=Options(run=default, out=tyro.MISSING, session=Session()),
    )


def _preview(options: Any) -> int:
    from covary import dist
    from covary.preview import configuration, preview

    run: Run = options.run
    device = dist.choose_device(options.session.device)
    shown: Preview = preview(run, options.out, device=device, root=options.session.root, cache=options.session.cache)
    print(configuration(run))
    parts = ", ".join(f"{name} {count:,}" for name, count in shown.parameters.items())
    print(f"images       {shown.images:,}")
    print(f"steps        {shown.steps:,} ({shown.steps_per_epoch:,} an epoch)")
    print(f"parameters   {sum(shown.parameters.values()):,} ({parts})")
    print(
        f"memory       about {_megabytes(shown.weights_memory + shown.activation_memory)}: weights, gradients and "
        f"optimiser {_megabytes(shown.weights_memory)}, activations {_megabytes(shown.activation_memory)}; "
        f"image store {_megabytes(shown.store_memory)}"
    )
    print(f"images are   {shown.residence}")
    print(f"first batch  {shown.picture}")
    return 0


def _evaluate(argv: list[str]) -> int:
    return 1


def _parse(kind: type[T], argv: list[str], *, prog: str, description: str, default: T | None = None) -> T:
    """Parse with tyro; its boxed complaint becomes one line."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                kind,
                args=argv,
                prog=prog,
                description=description,
                default=default,
                config=(tyro.conf.AvoidSubcommands,),
            )
    except SystemExit as stop:
        if stop.code in (0, None):
            raise
        raise InputError(_one_line(complaint.getvalue()) or f"options are wrong; see {prog} --help") from stop


def _one_line(box: str) -> str:
    """Return the words of tyro's boxed message up to the first option it suggests, without the frame."""
    words: list[str] = []
    for line in box.splitlines():
        text = line.strip("│╭╮╰╯ ")
        if not text or set(text) <= set("─") or line.startswith(("╭", "╰")):
            continue
        if text.startswith(("For full helptext", "Argument helptext")):
            break
        words.append(text)
    return " ".join(words)


def _peek(argv: Sequence[str], option: str) -> str | None:
    """Return the value given to an option, the last one where it is repeated."""
    value = None
    for index, word in enumerate(argv):
        if word == option and index + 1 < len(argv):
            value = argv[index + 1]
        elif word.startswith(option + "="):
            value = word[len(option) + 1 :]
    return value


def _whole_number(option: str, text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal():
        raise InputError(f"{option} is '{text}'; expected a whole number.")
    return int(text)


def _megabytes(size: int) -> str:
    return f"{size / 2**20:,.0f} MB"


def _complain(message: str) -> None:
    print(f"covary: {' '.join(message.split())}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
