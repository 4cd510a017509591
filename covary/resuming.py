"""What a run folder says of the beginning of its run, and whether the run can go on here."""

from typing import Any, TypeVar

import torch

from covary import config, dist
from covary.data import ImageStore
from covary.errors import InputError
from covary.run import Run
from covary.rundir import RunDir

T = TypeVar("T")

MOST_THREADS = 4096  # that run.json may ask for


def check_same_run(run: Run, folder: RunDir) -> dict[str, Any] | None:
    """Return what ``run.json`` holds, or None in a new folder; refuse a folder of another configuration."""
    saved = folder.read_run()
    if saved:
        config.from_json(Run, saved["run"], where=f"{folder.run_file}: run")
        changed = config.differences(saved["run"], config.to_json(run))
        if changed:
            raise InputError(
                f"{folder.path} holds a run with another configuration ({'; '.join(changed)}); "
                "give the old options to continue it, or another --out."
            )
    return saved


def check_same_images(saved: dict[str, Any] | None, store: ImageStore, folder: RunDir) -> None:
    """Refuse a run whose images are not those that it began with."""
    if saved and recorded(saved, "fingerprint", str, folder) != store.fingerprint:
        raise InputError(
            f"The images of {store.name} have changed since the run began "
            f"({recorded(saved, 'images', int, folder):,} images then, {len(store):,} now, or other content); "
            "restore them, or give another --out."
        )


def check_same_checkpoint(begun: bool, step: int, folder: RunDir) -> None:
    """Refuse processes that would continue from different steps: their momentum and images would be of two runs."""
    found = dist.gather_texts(f"step {step}" if begun else "no run")
    if len(set(found)) > 1:
        raise InputError(
            f"The processes do not find the same run in {folder.path} ({', '.join(found)}); all machines must "
            "read the same: give an --out on a disk that they share."
        )


def begun_threads(saved: dict[str, Any], folder: RunDir) -> int:
    """Return the number of threads that the run began with."""
    threads = recorded(saved, "threads", int, folder)
    if not 1 <= threads <= MOST_THREADS:
        raise InputError(
            f"{folder.run_file} is damaged: environment.threads is {threads}, expected 1 to {MOST_THREADS}; "
            "restore it or give another --out."
        )
    return threads


def recorded(saved: dict[str, Any], name: str, kind: type[T], folder: RunDir) -> T:
    """Return what ``run.json`` says of the environment that the run began in."""
    value = saved["environment"].get(name)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise InputError(
            f"{folder.run_file} is damaged: environment.{name} is {value!r}, expected {kind.__name__}; "
            "restore it or give another --out."
        )
    return value


def changes(saved: dict[str, Any], folder: RunDir) -> list[str]:
    """Return a line for each part of the environment that a number depends on and that is another than at first."""
    threads, processes = (recorded(saved, name, int, folder) for name in ("threads", "processes"))
    lines = []
    if threads != (now := torch.get_num_threads()):
        lines.append(f"the run began with {threads} threads, {now} now: set to {threads}, for the same bits")
    if processes != (now := dist.world_size()):
        lines.append(
            f"the run began with {processes} processes, {now} now: the same batches and views; losses and weights "
            "differ by rounding, dropout draws anew"
        )
    return lines
