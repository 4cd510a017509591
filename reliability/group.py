"""A program in a session of its own, of which nothing is left when it ends or its time is up."""

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a program ended: its exit code, None where its time was up, and what it printed."""

    code: int | None
    out: str
    err: str


running: set[int] = set()


def stop() -> None:
    """Kill the sessions of all programs that run."""
    for pid in tuple(running):
        _kill(pid)


def run(command: Sequence[str], *, limit: float, cwd: Path, environ: Mapping[str, str]) -> Ended:
    """Run a program for at most ``limit`` seconds; whatever it started and left in its session is killed.

    What it prints goes to files, since a grandchild that holds a pipe open would be waited for.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(command, cwd=cwd, env=environ, stdout=out, stderr=err, start_new_session=True)
        running.add(process.pid)
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _kill(process.pid)
            process.wait()
            running.remove(process.pid)
        out.seek(0)
        err.seek(0)
        return Ended(code=code, out=out.read().decode(errors="replace"), err=err.read().decode(errors="replace"))


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # all of them have ended
        os.killpg(pid, signal.SIGKILL)
