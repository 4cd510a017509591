"""Trials in a forked child, so that one which kills the interpreter is seen and the others go on."""

import gc
import json
import os
import resource
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from covary.meter import RESET, memory

Work = Callable[[int], dict[str, Any]]  # the number of a trial -> what came of it, as JSON


def outcomes(work: Work, trials: int, *, room: int | None = None) -> Iterator[dict[str, Any]]:
    """Yield what came of each trial, and ``{"died": status}`` for one that took the child with it.

    room: bytes of address space that a child may take beyond what it begins with.
    """
    gc.collect()
    gc.freeze()  # the collector of a child would copy every page of what there is
    done = 0
    while done < trials:
        read, write = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(read)
            _child(work, range(done, trials), write, room)
        os.close(write)
        with os.fdopen(read) as lines:
            for line in lines:
                done += 1
                yield json.loads(line)
        status = os.waitpid(pid, 0)[1]
        if done < trials:
            done += 1
            yield {"died": status}


def peak_of(job: Callable[[], object]) -> int:
    """Run a job; return by how many bytes what this process holds grew at its peak."""
    RESET.write_text("5")
    before = memory("VmRSS")
    job()
    return memory("VmHWM") - before


def _child(work: Work, trials: range, write: int, room: int | None) -> None:
    try:
        if room is not None:
            limit = memory("VmSize") + room
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        with os.fdopen(write, "w") as lines:
            for trial in trials:
                lines.write(json.dumps(work(trial)) + "\n")
                lines.flush()
    except BaseException:  # nothing of the parent's may run in the child
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
