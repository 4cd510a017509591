"""A progress bar that shows itself only when the work takes long enough to ask for one."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

PATIENCE = 2.0  # seconds


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[..., None]]:
    """Yield a function to call for each item, or with their number; on a terminal a bar appears after two seconds."""
    console = Console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task(title, total=total)
    due = time.monotonic() + PATIENCE
    done = 0

    def advance(count: int = 1) -> None:
        nonlocal done
        done += count
        if time.monotonic() >= due:
            bar.start()
            bar.update(task, completed=done)

    try:
        yield advance
    finally:
        bar.stop()
