"""A6: a disk that is full or fails costs no checkpoint, and a line says where, how much is free, how much is needed.

Disks are small ones in memory, mounted for a child alone; failures of fsync, quota and removal are put into the calls.
"""

import errno
import os
import random
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from covary import rundir
from covary.disk import free_bytes
from reliability import runs
from reliability.mounts import own_mounts, small_disk
from reliability.row import Count, Figure, Row, replaced
from reliability.rows.a1_kill import newest_step, saved_in_place

MEGABYTE = 2**20
SIZES = (16, 24, 32, 64)  # megabytes of disks that the tiny run fits on
CHECKPOINT = 2_675_296  # bytes of one of the tiny run's
SYNCED = ("state.safetensors", "manifest.json", ".staging-3", "checkpoints")
NAMED = re.compile(r"covary: .+ cannot be written to (\S+) \(.+\): ([\d.,]+) MB needed, [\d.,]+ MB free\. Make room")

Seen = tuple[bool, bool, str]  # whether the fault came, whether all held, what was seen
Case = Callable[[Path], Seen]  # of an empty folder


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Let disks fill up and fail under runs; look at line, code and checkpoint, then mend the disk and continue."""
    runs.prepare(folder)
    count, reference = Count(), runs.finish(folder / "reference")
    for trial, (name, case) in zip(range(trials), cases(random.Random(seed), reference), strict=False):
        place = folder / str(trial)
        place.mkdir()
        try:
            fired, held, seen = runs.answer(partial(case, place), folder / "log")
        except RuntimeError as error:  # such as a system without mounts of one's own
            fired, held, seen = False, False, str(error)
        count.add(name, held=held, fired=fired, seen=seen)
    return count.figure()


def cases(draw: random.Random, reference: str) -> Iterator[tuple[str, Case]]:
    """Yield cases of every kind, in turns and without end."""
    while True:
        for size, checkpoints, synced in zip(SIZES, (0.0, 1.0, 2.0, 2.8), SYNCED, strict=True):
            for left in (0.0, 0.5):
                step = draw.randrange(1, runs.STEPS - 1)
                name = f"{size} MB filled after step {step}, {left} checkpoints left"
                yield name, partial(filled, reference, size * MEGABYTE, step, int(left * CHECKPOINT))
            yield f"room for {checkpoints} checkpoints", partial(refused, int(checkpoints * CHECKPOINT))
            yield f"EIO on fsync of {synced}", partial(fsync_fails, reference, synced)
        yield "filled before the trained weights", partial(filled_at_the_end, reference)
        yield "quota of a checkpoint", partial(quota, reference, "/.staging-4/", 3)
        yield "quota of the list of images left out", partial(quota, reference, "/.skipped.jsonl", 0)
        for code in (errno.EIO, errno.ENOSPC, errno.EACCES):
            yield f"{errno.errorcode[code]} while removing", partial(removal_fails, reference, code)
        yield "room for 3.3 checkpoints", partial(fits, reference, int(3.3 * CHECKPOINT))
        yield "TMPDIR on a full disk", partial(full_temporary, reference)


def filled(reference: str, size: int, step: int, left: int, place: Path) -> Seen:
    """The disk fills up after a step."""
    disk = mounted(place, size)
    ballast = disk / "ballast"

    def fill() -> None:
        ballast.write_bytes(bytes(free_bytes(disk) - left))

    code, log = trained(place, disk / "run", runs.at_call(step, "covary.step.make_views", fill))
    fired = ballast.exists()
    newest = newest_step(disk / "run")
    ballast.unlink(missing_ok=True)
    return outcome(reference, place, disk / "run", code, log, fired=fired, kept=newest == step)


def filled_at_the_end(reference: str, place: Path) -> Seen:
    """The disk fills up before the trained weights are written."""
    disk = mounted(place, SIZES[0] * MEGABYTE)
    ballast = disk / "ballast"

    def fill() -> None:
        ballast.write_bytes(bytes(free_bytes(disk)))

    code, log = trained(place, disk / "run", runs.at_call(0, "covary.training.write_tensors", fill))
    newest, fired = newest_step(disk / "run"), ballast.exists()
    ballast.unlink(missing_ok=True)
    return outcome(reference, place, disk / "run", code, log, fired=fired, kept=newest == runs.STEPS)


def fsync_fails(reference: str, name: str, place: Path) -> Seen:
    """The disk fails where a file or folder of the third checkpoint is synced."""
    real, failed, seen = os.fsync, place / "failed", 0

    def fsync(descriptor: int) -> None:
        nonlocal seen
        seen += Path(os.readlink(f"/proc/self/fd/{descriptor}")).name == name
        if seen == (1 if name.startswith(".") else 3) and not failed.exists():
            failed.touch()
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(descriptor)

    code, log = trained(place, place / "run", patch("os.fsync", fsync))
    kept = newest_step(place / "run") in (2, 3)  # the third where it is its name that was not synced
    return outcome(reference, place, place / "run", code, log, fired=failed.exists(), kept=kept)


def quota(reference: str, amid: str, newest: int, place: Path) -> Seen:
    """The user's share of the disk is used up amid a file, a part of whose path is given, after a checkpoint."""
    real, failed = rundir._write_synced, place / "failed"

    def write(path: Path, content: bytes) -> None:
        if amid in str(path):
            failed.touch()
            path.write_bytes(content[: len(content) // 2])
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
        real(path, content)

    code, log = trained(place, place / "run", patch("covary.rundir._write_synced", write))
    kept = newest_step(place / "run") == newest
    needed = "2.7" if newest else "0.0"
    return outcome(reference, place, place / "run", code, log, fired=failed.exists(), kept=kept, needed=(needed,))


def outcome(
    reference: str,
    place: Path,
    run: Path,
    code: int,
    log: str,
    *,
    fired: bool,
    kept: bool,
    needed: tuple[str, ...] = ("2.7", "0.6"),
) -> Seen:
    """Return what is to be said of a run that had to stop: its line, its checkpoint, its end on a mended disk.

    needed: megabytes that the line may name: of a checkpoint or of the encoder.
    """
    named = NAMED.search(log)
    words = named is not None and named[1] == str(run) and named[2] in needed and "Traceback" not in log
    seen = runs.finish(run)
    return fired, code == 1 and kept and words and seen == reference, f"code {code}, kept {kept}, {seen}, {log}"


def refused(room: int, place: Path) -> Seen:
    """A disk too small for the checkpoints is refused before images are read, and nothing is left on it."""
    disk = mounted(place, room + MEGABYTE // 4)
    code, log = trained(place, disk / "run", nullcontext(), "--cache", str(place / "cache"))
    clean = not (place / "cache").exists() and not any(disk.iterdir())
    held = code == 2 and log.startswith(f"covary: The disk of {disk / 'run'} is too small") and clean
    return code != 0, held, f"code {code}, clean {clean}, {log}"


def fits(reference: str, room: int, place: Path) -> Seen:
    """A disk with just enough room is enough."""
    disk = mounted(place, room)
    code, log = trained(place, disk / "run", nullcontext())
    seen = runs.digest(disk / "run") if code == 0 else log
    return True, seen == reference, seen


def removal_fails(reference: str, error: int, place: Path) -> Seen:
    """A checkpoint that cannot be removed is a warning: the new one is there."""
    real, failed = rundir.shutil.rmtree, place / "failed"

    def rmtree(path: Path, **options: Any) -> None:
        if path.name.startswith("step-"):
            failed.touch()
            raise OSError(error, os.strerror(error))
        real(path, **options)

    code, log = trained(place, place / "run", patch("covary.rundir.shutil.rmtree", rmtree))
    said = "warning: " in log and f"cannot be removed ({os.strerror(error)})" in log
    seen = runs.digest(place / "run") if code == 0 else log
    return failed.exists(), said and seen == reference, f"code {code}, said {said}, {seen}"


def full_temporary(reference: str, place: Path) -> Seen:
    """Nothing of a run goes through TMPDIR, a full disk here, so that every rename stays on one disk."""
    disk = mounted(place, MEGABYTE)
    (disk / "ballast").write_bytes(bytes(free_bytes(disk)))
    with patch.dict(os.environ, TMPDIR=str(disk)), patch("tempfile.tempdir", None):
        seen = runs.finish(place / "run")
    return free_bytes(disk) == 0, seen == reference, seen


def mounted(place: Path, size: int) -> Path:
    """Return an empty disk of some bytes, which this process alone sees."""
    own_mounts()
    small_disk(place / "disk", size)
    return place / "disk"


def trained(place: Path, run: Path, fault: AbstractContextManager[object], *options: str) -> tuple[int, str]:
    """Run the command with a fault in a child; return its exit code and what it printed."""
    with fault:
        code = runs.ended(runs.fork(lambda: runs.command("--out", str(run), *options), log=place / "printed"))
    return code, (place / "printed").read_text()


ROW = Row(
    id="A6",
    promise="A full or failing disk costs no checkpoint: one line says path, free and needed MB; too small is refused",
    trials={"ci": 24, "release": 72},
    check=check,
    mutants={
        "saved in place": saved_in_place,
        "no look at the disk": replaced("covary.rundir.RunDir.check_room", lambda self, checkpoint: None),
    },
    mutant_trials=3,
)
