"""A job in a forked child, so that its crash, hang or hunger for memory is seen and harms nobody else."""

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PAUSE = 0.002  # seconds between looks at a child


@dataclass(frozen=True, kw_only=True)
class End:
    """How a child ended.

    code:    0; 1 where its job raised; the negative number of the signal that killed it, −9 beyond its time.
    value:   what its job returned, by way of JSON; None where it did not return.
    said:    its standard error.
    seconds: from fork to end.
    peak:    the most memory that it held, in bytes, the parent's share included.
    """

    code: int
    value: Any
    said: str
    seconds: float
    peak: int


def forked(job: Callable[[], Any], *, limit: float) -> End:
    """Do a job in a child of this process, which is killed after ``limit`` seconds."""
    began = time.monotonic()
    with tempfile.TemporaryFile() as result, tempfile.TemporaryFile() as said:
        sys.stdout.flush()
        sys.stderr.flush()
        if (child := os.fork()) == 0:
            _do(job, result.fileno(), said.fileno())
        while not (ended := os.wait4(child, os.WNOHANG))[0]:
            if time.monotonic() - began > limit:
                os.kill(child, signal.SIGKILL)
            time.sleep(PAUSE)
        result.seek(0)
        said.seek(0)
        content = result.read()
        return End(
            code=os.waitstatus_to_exitcode(ended[1]),
            value=json.loads(content) if content else None,
            said=said.read().decode(errors="replace"),
            seconds=time.monotonic() - began,
            peak=ended[2].ru_maxrss * 1024,
        )


def _do(job: Callable[[], Any], result: int, said: int) -> None:
    """Do a job, write what it returns, and end this process; nothing of the parent's is cleaned up here."""
    code = 1
    try:
        os.dup2(said, 2)
        os.dup2(said, 1)
        os.write(result, json.dumps(job()).encode())
        code = 0
    except BaseException as error:  # of every kind: the child must end here
        os.write(2, f"{type(error).__name__}: {error}".encode(errors="replace"))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
