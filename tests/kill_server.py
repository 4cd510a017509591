"""Trains in forked children and kills them; prints one JSON object with what came of it.

``python tests/kill_server.py FOLDER TRIALS SEED``: TRIALS runs, each killed with SIGKILL at a random moment, then
continued to its end; and one run for every step of the checkpoint protocol, killed exactly there. A fork server because
importing torch takes seconds and a kill takes none.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from covary import rundir
from covary.optim import OptimConfig
from covary.recipes import start_run
from covary.tracking import TrackingConfig
from covary.training import Session, train

RUN = replace(
    start_run(data="shapes:n=64", image_size=16),
    encoder="resnet8",
    stem="imagenet",
    epochs=2,
    batch_size=16,
    optim=OptimConfig(lr=0.05),
)
SESSION = Session(device="cpu", checkpoint_steps=2, knn_epochs=-1, tracking=TrackingConfig(progress=False))


def fork(work: Callable[[], object]) -> int:
    """Start ``work`` in a child; it exits with 0, or with 1 after a traceback."""
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        os._exit(1)
    os._exit(0)


def finish(folder: Path) -> str:
    """Train to the end in a child; return the hash of the final state."""
    status = os.waitpid(fork(lambda: train(RUN, folder, SESSION)), 0)[1]
    if status != 0:
        raise SystemExit(f"the run in {folder} did not finish: {status}")
    return digest(folder)


def digest(folder: Path) -> str:
    """Return the hash of everything a finished run leaves that a number depends on."""
    parts = [folder / "method.safetensors", folder / "encoder.safetensors"]
    newest = max((folder / "checkpoints").glob("step-*"), key=lambda path: int(path.name[5:]))
    return hashlib.sha256(b"".join(p.read_bytes() for p in [*parts, newest / "state.safetensors"])).hexdigest()


def kill_after(folder: Path, delay: float) -> bool:
    """Train in a child and kill it after ``delay`` seconds; return whether it was still alive."""
    pid = fork(lambda: train(RUN, folder, SESSION))
    deadline = time.monotonic() + delay
    while time.monotonic() < deadline:
        done, _ = os.waitpid(pid, os.WNOHANG)
        if done:
            return False
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(pid, 0)[1])


def kill_at(folder: Path, point: int) -> bool:
    """Train in a child that kills itself at the ``point``-th operation on files; return whether there was one."""

    def work() -> None:
        count = 0

        def die_before(real: Callable[..., Any]) -> Callable[..., Any]:
            def operation(*arguments: Any, **options: Any) -> Any:
                nonlocal count
                count += 1
                if count == point:
                    os.kill(os.getpid(), signal.SIGKILL)
                return real(*arguments, **options)

            return operation

        def write(path: Path, content: bytes) -> None:
            for end in (0, len(content) // 2):
                die_before(path.write_bytes)(content[:end])
            real_write(path, content)

        real_write = rundir._write_synced
        rundir._write_synced = write
        rundir.sync_folder = die_before(rundir.sync_folder)
        rundir.shutil.rmtree = die_before(shutil.rmtree)
        Path.rename = die_before(Path.rename)
        Path.replace = die_before(Path.replace)
        train(RUN, folder, SESSION)

    return os.WIFSIGNALED(os.waitpid(fork(work), 0)[1])


def main(folder: Path, trials: int, seed: int) -> None:
    """Run all trials and print what came of them."""
    torch.set_num_threads(1)
    draw = random.Random(seed)
    reference = finish(folder / "reference")
    start = time.monotonic()
    finish(folder / "timed")
    duration = time.monotonic() - start

    identical = kills = torn = 0
    for trial in range(trials):
        place = folder / f"random-{trial}"
        while not kill_after(place, draw.uniform(0.02, duration)):
            shutil.rmtree(place)  # it ended before the kill: that is no trial
        kills += 1
        torn += any(place.glob("checkpoints/.staging-*"))
        identical += finish(place) == reference

    points = points_identical = 0
    while kill_at(place := folder / f"point-{points}", points + 1):
        points += 1
        points_identical += finish(place) == reference
        shutil.rmtree(place)
    print(
        json.dumps(
            {
                "kills": kills,
                "identical": identical,
                "killed_while_saving": torn,
                "points": points,
                "points_identical": points_identical,
            }
        )
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
