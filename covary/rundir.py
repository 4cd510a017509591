"""The run folder: names and formats of its files, atomic writes, checkpoints that a kill cannot tear.

::

    run.json                  {"schema", "run", "environment"}
    metrics.jsonl             one object per logged step
    skipped.jsonl             {"name", "reason"} of each image that was left out because it cannot be read
    checkpoints/step-N/       state.safetensors + manifest.json (SHA-256 of every file)
    failure/                  the state before a step that was not finite, a checkpoint too
    encoder.safetensors       plain encoder state dict; written when the run is done
    method.safetensors        the whole method, so that its heads can be evaluated later
    results/TASK-DATA.json    evaluations
    figures/                  pictures
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TextIO

import safetensors
import safetensors.torch
from torch import Tensor

from covary.checkpoint import DAMAGE, SCHEMA, Checkpoint, digest, read_checkpoint
from covary.disk import free_bytes, megabytes, read_file, writing
from covary.errors import InputError

SKIPPED = "skipped.jsonl"
KEEP = 2  # checkpoints kept: the newest, and one to fall back to


@dataclass(frozen=True)
class RunDir:
    """A run folder at ``path``; creating the value touches nothing."""

    path: Path

    @property
    def run_file(self) -> Path:
        """The exact configuration and the environment it ran in."""
        return self.path / "run.json"

    @property
    def metrics_file(self) -> Path:
        """One JSON object per logged step."""
        return self.path / "metrics.jsonl"

    @property
    def skipped_file(self) -> Path:
        """One JSON object per image that cannot be read."""
        return self.path / SKIPPED

    @property
    def encoder_file(self) -> Path:
        """The trained encoder; present when the run is done."""
        return self.path / "encoder.safetensors"

    @property
    def method_file(self) -> Path:
        """The whole trained method; present when the run is done."""
        return self.path / "method.safetensors"

    @property
    def figures(self) -> Path:
        """Folder of pictures."""
        return self.path / "figures"

    @property
    def failure(self) -> "RunDir":
        """A folder like this one, whose only checkpoint is the state before a step that was not finite."""
        return RunDir(self.path / "failure")

    def remove(self) -> None:
        """Remove the folder and all in it, where there is one."""
        if self.path.exists():
            shutil.rmtree(self.path)

    def result_file(self, task: str, data: str) -> Path:
        """Return where the result of a task on a SPEC is kept: ``results/TASK-DATA.json``."""
        return self.path / "results" / f"{task}-{re.sub(r'[^A-Za-z0-9._=-]+', '_', data).strip('_.')}.json"

    def result_files(self) -> list[Path]:
        """Return the files of the evaluations, by name."""
        return sorted((self.path / "results").glob("*.json"))

    @contextlib.contextmanager
    def made(self) -> Iterator[None]:
        """Make the folder, or check that it can be written to, for a block of work.

        Where the block fails, folders that were made here and are still empty are removed again.
        Raises InputError: the path is a file, or cannot be written.
        """
        missing = [place for place in (self.path, *self.path.parents) if not os.path.exists(place)]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            probe = self.path / f".probe-{os.getpid()}"
            probe.touch()
            probe.unlink(missing_ok=True)  # another start may have cleaned up
        except OSError as error:
            _remove_empty(missing)
            if isinstance(error, FileExistsError | NotADirectoryError):
                reason = f"The run folder {self.path} cannot be made: a file is in its place"
            else:
                reason = f"The run folder {self.path} cannot be written ({error.strerror})"
            raise InputError(f"{reason}; give another --out.") from error
        try:
            yield
        except BaseException:
            _remove_empty(missing)
            raise

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the folder for this process; the lock dies with the process, however it dies.

        Where no run has begun at the end, the lock file is removed.
        Raises InputError: another process trains here.
        """
        with self._locked() as file:
            file.seek(0)
            file.truncate()
            file.write(f"process {os.getpid()} on {socket.gethostname()}")
            file.flush()
            try:
                yield
            finally:
                if not self.run_file.exists():
                    Path(file.name).unlink()

    def _locked(self) -> TextIO:
        """Return the lock file, open and held."""
        while True:
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                file = open(self.path / ".lock", "a+")  # noqa: SIM115 - returned open
            except FileNotFoundError:  # a refused start has just removed the folder that it had made
                continue
            except OSError as error:
                raise InputError(f"{self.path} cannot be locked ({error.strerror}); give another --out.") from error
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                owner = _owner(file)
                file.close()
                raise InputError(
                    f"Another run is writing to {self.path} ({owner}); wait for it or give another --out."
                ) from error
            except OSError as error:  # some network disks are mounted without locks
                file.close()
                raise InputError(
                    f"The disk of {self.path} cannot lock files ({error.strerror}), which keeps two runs apart; "
                    "mount it with locks (flock), or give another --out."
                ) from error
            if os.fstat(file.fileno()).st_nlink:
                return file
            file.close()  # a refused start removed it in between: whoever comes next makes another

    def check_room(self, checkpoint: int) -> None:
        """Refuse a disk that is too small for the checkpoints that lie here at a time: ``KEEP`` and one being written.

        checkpoint: bytes of one. Those that are here already count as room.
        Raises InputError.
        """
        here = sum(file.stat().st_size for file in self.path.glob("checkpoints/*/*") if file.is_file())
        needed, free = (KEEP + 1) * checkpoint, free_bytes(self.path) + here
        if free < needed:
            raise InputError(
                f"The disk of {self.path} is too small: {KEEP + 1} checkpoints of {megabytes(checkpoint)} need "
                f"{megabytes(needed)}, {megabytes(free)} are free for them; make room, or give another --out."
            )

    def read_run(self) -> dict[str, Any] | None:
        """Return the content of ``run.json``, or None where the folder holds no run.

        Raises InputError: the file is damaged or of another schema.
        """
        try:
            content = json.loads(read_file(self.run_file).decode(), object_pairs_hook=_no_key_twice)
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{self.run_file} cannot be read ({error}); restore it or give another --out.") from error
        schema = content.get("schema") if isinstance(content, dict) else None
        if schema != SCHEMA:
            raise InputError(f"{self.run_file} has schema {schema!r}; this version reads {SCHEMA}. Give another --out.")
        for part in ("run", "environment"):
            if not isinstance(content.get(part), dict):
                raise InputError(f"{self.run_file} is damaged: '{part}' is missing; restore it or give another --out.")
        return content

    def write_run(self, run: dict[str, Any], environment: dict[str, Any]) -> None:
        """Write ``run.json``. Raises TrainingError: the disk is full or fails."""
        content = json.dumps({"schema": SCHEMA, "run": run, "environment": environment}, indent=2) + "\n"
        with writing(self.run_file.name, self.path, needed=len(content)):
            write_atomic(self.run_file, content)

    def write_skipped(self, skipped: Iterable[tuple[str, str]]) -> None:
        """Write ``skipped.jsonl``, a line for each name and reason; it is empty where no image was left out.

        Raises TrainingError: the disk is full or fails.
        """
        content = "".join(json.dumps({"name": name, "reason": reason}) + "\n" for name, reason in skipped)
        with writing(SKIPPED, self.path, needed=len(content)):
            write_atomic(self.skipped_file, content)

    def save_checkpoint(self, step: int, tensors: dict[str, Tensor], meta: dict[str, Any]) -> list[str]:
        """Commit a checkpoint: all of it or nothing, whenever the process is killed or the disk is full.

        Files are written into a hidden sibling folder and synced, the folder is renamed, then older checkpoints are
        removed, ``KEEP`` remain; so are later ones, which are damaged, for the run came to this step once more.
        Returns a line for each that could not be removed.
        Raises TrainingError: the disk is full or fails; checkpoints are what they were.
        """
        folder = self.path / "checkpoints"
        staging, final = folder / f".staging-{step}", folder / f"step-{step}"
        state = safetensors.torch.save({name: t.detach().cpu().contiguous() for name, t in tensors.items()})
        manifest = {
            "schema": SCHEMA,
            "step": step,
            "files": {"state.safetensors": {"sha256": hashlib.sha256(state).hexdigest(), "bytes": len(state)}},
            "meta": meta,
        }
        manifest["sha256"] = digest(manifest)
        with writing(f"The checkpoint of step {step}", self.path, needed=len(state)):
            folder.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(staging, ignore_errors=True)
            try:
                staging.mkdir()
                _write_synced(staging / "state.safetensors", state)
                _write_synced(staging / "manifest.json", json.dumps(manifest, indent=2).encode())
                sync_folder(staging)
                if os.path.lexists(final):  # a damaged one that this run has just recomputed
                    _remove(final)
                staging.rename(final)
            except OSError:
                shutil.rmtree(staging, ignore_errors=True)
                raise
            sync_folder(folder)
        return self._remove_around(step)

    def _remove_around(self, step: int) -> list[str]:
        """Remove checkpoints that the one of a step, which is whole, makes useless; return a line for each failure."""
        steps = self._steps()
        kept = [one for one in steps if one <= step][-KEEP:]
        lines = []
        for one in sorted(set(steps) - set(kept)):
            place = self.path / "checkpoints" / f"step-{one}"
            try:
                _remove(place)
            except OSError as error:
                lines.append(f"{place} is of no use any more and cannot be removed ({error.strerror or error})")
        return lines

    def newest_checkpoint(self) -> tuple[Checkpoint | None, list[str]]:
        """Return the newest checkpoint that its manifest confirms, and a line for each damaged one passed over.

        None where there are no checkpoints.
        Raises InputError: there are some and none is whole, or the disk fails to give one.
        """
        folder = self.path / "checkpoints"
        place, damaged = folder, list[str]()
        try:
            for step in reversed(self._steps()):
                place = folder / f"step-{step}"
                try:
                    return read_checkpoint(place, step), [f"{one}; trying the one before it." for one in damaged]
                except DAMAGE as error:
                    damaged.append(f"{place} is damaged ({error})")
        except OSError as error:
            raise InputError(
                f"{error.filename or place} cannot be read ({error.strerror or error}); nothing was changed. Make it "
                "readable and run the same command, or give another --out."
            ) from error
        if damaged:
            raise InputError(
                f"No checkpoint of {self.path} is whole: {', '.join(damaged)}; nothing was changed. Restore one, or "
                f"remove {folder} to start anew."
            )
        return None, []

    def clear_staging(self) -> None:
        """Remove what a killed process left half-written."""
        places = ("checkpoints/.staging-*", "failure/checkpoints/.staging-*", ".*.tmp-*", ".probe-*")
        for leftover in chain(*map(self.path.glob, places)):
            with contextlib.suppress(FileNotFoundError):
                _remove(leftover)

    def truncate_metrics(self, step: int) -> None:
        """Drop logged lines after ``step``, and a line that a kill tore.

        Raises InputError: the file cannot be read. TrainingError: the disk is full or fails.
        """
        try:
            content = read_file(self.metrics_file).decode(errors="replace")
        except FileNotFoundError:
            return
        except OSError as error:
            raise InputError(f"{self.metrics_file} cannot be read ({error.strerror}); restore or remove it.") from error
        kept = []
        for line in content.splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
            except (ValueError, KeyError, TypeError, RecursionError):
                break
        content = "".join(kept)
        with writing(self.metrics_file.name, self.path, needed=len(content)):
            write_atomic(self.metrics_file, content)

    def _steps(self) -> list[int]:
        try:
            names = os.listdir(self.path / "checkpoints")
        except FileNotFoundError:
            return []
        return sorted(int(name[5:]) for name in names if name.startswith("step-") and name[5:].isdecimal())


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file so that a reader, or a kill, finds the old content or the new one and nothing between."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp-{os.getpid()}")
    try:
        _write_synced(temporary, content.encode() if isinstance(content, str) else content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def _remove(path: Path) -> None:
    """Remove a file, a link, or a folder and all in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()


def _remove_empty(folders: list[Path]) -> None:
    """Remove those of the folders, the innermost first, that are there and empty."""
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder, or the bytes of a file, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a state dict as safetensors, atomically. Raises TrainingError: the disk is full or fails."""
    content = safetensors.torch.save({k: t.detach().cpu().contiguous() for k, t in tensors.items()})
    with writing(path.name, path.parent, needed=len(content)):
        write_atomic(path, content)


def _owner(lock: TextIO) -> str:
    """Return who holds a lock file, who may be about to write it."""
    for _ in range(100):
        lock.seek(0)
        if words := lock.read().strip():
            return words
        time.sleep(0.01)
    return "process unknown"


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; raise ValueError where it has a key twice, of which Python's reader takes the last."""
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key '{next(key for key in keys if keys.count(key) > 1)}' is there twice")
    return content


def _write_synced(path: Path, content: bytes) -> None:
    with open(path, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
