"""What a run tells while it runs: metrics.jsonl, a progress bar, and TensorBoard or Weights & Biases on request."""

import contextlib
import importlib.util
import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import rich.console
import rich.progress
import torch
from torch import Tensor

from covary import dist
from covary.disk import writing
from covary.errors import InputError
from covary.rundir import write_atomic


class Meter:
    """Means of logged terms over an interval, summed on the device and read once: no synchronisation a step."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._steps = 0

    def add(self, terms: dict[str, Tensor]) -> None:
        """Add one step's terms, scalars on one device."""
        for name, value in terms.items():
            value = value.detach().double() if value.device.type == "cpu" else value.detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        self._steps += 1

    def read(self) -> dict[str, float]:
        """Return the means over steps and processes since the last call, and start anew; every process calls it."""
        means = dist.mean_over_ranks(torch.stack(list(self._sums.values())) / self._steps).tolist()
        names = list(self._sums)
        self._sums, self._steps = {}, 0
        return dict(zip(names, means, strict=True))


@dataclass(frozen=True, kw_only=True)
class TrackingConfig:
    """Where a run reports to; nothing here changes its numbers."""

    progress: bool = True
    """Show a progress bar with time left (a line per logged step where the output is no terminal)."""
    tensorboard: bool = False
    """Also write TensorBoard event files into the run folder (needs tensorboard)."""
    wandb: str | None = None
    """Also log to this Weights & Biases project (needs wandb)."""

    def check(self) -> None:
        """Raise InputError unless every package that is asked for is installed."""
        wanted = {"tensorboard": self.tensorboard, "wandb": self.wandb is not None}
        for package, asked in wanted.items():
            if asked and importlib.util.find_spec(package) is None:
                raise InputError(
                    f"--tracking.{package} needs the package {package}; install covary[track] or leave the option out."
                )


class Tracker:
    """Writes one line of metrics.jsonl per logged step and keeps the progress bar.

    main: False on all processes but the first; they stay silent.
    """

    def __init__(
        self,
        config: TrackingConfig,
        *,
        metrics_file: Path,
        main: bool,
        done: int,
        total: int,
        run: dict[str, Any],
    ) -> None:
        folder = metrics_file.parent
        self.console = rich.console.Console(stderr=True, highlight=False, soft_wrap=True)
        self._sinks: list[Callable[[int, dict[str, float]], None]] = []
        self._closers: list[Callable[[], None]] = []
        self._main = main
        self._warned: set[str] = set()
        if main and config.tensorboard:
            self._open_tensorboard(folder, done)
        if main and config.wandb:
            self._open_wandb(config.wandb, folder, run)
        self._file = open(metrics_file, "a", encoding="utf-8") if main else None  # noqa: SIM115 - closed in __exit__
        self._live = main and config.progress and self.console.is_terminal
        self._verbose = main and config.progress and not self._live
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("epoch {task.fields[epoch]}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeRemainingColumn(),
            rich.progress.TextColumn("{task.fields[values]}"),
            console=self.console,
            disable=not self._live,
        )
        self._task = self._bar.add_task("", total=total, completed=done, epoch=0, values="")
        self._clock = time.perf_counter()

    def __enter__(self) -> Self:
        """Start the progress bar and the clock of images per second."""
        self._clock = time.perf_counter()
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the bar and close every sink."""
        self._bar.stop()
        if self._file:
            with contextlib.suppress(OSError):  # each line was flushed, and its failure told
                self._file.close()
        for close in self._closers:
            close()

    def say(self, line: str) -> None:
        """Print one line above the bar."""
        if self._main:
            self.console.print(line, markup=False)

    def warn_once(self, line: str, *, about: str) -> None:
        """Print a warning the first time there is one about this."""
        if about not in self._warned:
            self._warned.add(about)
            self.say(f"warning: {line}")

    def advance(self, epoch: int) -> None:
        """Move the bar by one step."""
        self._bar.update(self._task, advance=1, epoch=epoch + 1)

    def log(self, step: int, epoch: int, values: dict[str, float], *, images: int) -> None:
        """Record the values of a step; ``images`` went through since the last call."""
        if self._file is None:
            return
        now = time.perf_counter()
        if images:
            values = {**values, "images_per_second": images / (now - self._clock)}
            self._clock = now
        line = json.dumps({"step": step, "epoch": epoch, **values}) + "\n"
        with writing(f"The line of step {step}", Path(self._file.name), needed=len(line)):
            self._file.write(line)
            self._file.flush()
        for sink in self._sinks:
            sink(step, values)
        text = "  ".join(f"{name} {value:.4g}" for name, value in values.items() if name != "lr")
        if self._live:
            self._bar.update(self._task, values=text)
        elif self._verbose:
            self.say(f"epoch {epoch + 1}  step {step}  {text}")

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Leave the time spent inside (an evaluation, a checkpoint) out of images per second."""
        start = time.perf_counter()
        yield
        self._clock += time.perf_counter() - start

    def _open_tensorboard(self, folder: Path, done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(folder / "tensorboard", purge_step=done + 1)

        def write(step: int, values: dict[str, float]) -> None:
            for name, value in values.items():
                writer.add_scalar(name, value, step)

        self._sinks.append(write)
        self._closers.append(writer.close)

    def _open_wandb(self, project: str, folder: Path, run: dict[str, Any]) -> None:
        import wandb  # pyright: ignore[reportMissingImports]

        id_file = folder / "wandb.id"  # the same line on the board when the run is continued, and no other's
        if not id_file.exists():
            write_atomic(id_file, uuid.uuid4().hex)
        name = folder.resolve().name
        session = wandb.init(project=project, dir=folder, name=name, id=id_file.read_text(), resume="allow", config=run)
        self._sinks.append(lambda step, values: session.log(values, step=step))
        self._closers.append(session.finish)
