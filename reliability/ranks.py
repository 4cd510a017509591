"""Processes that train together, forked from one that has imported torch and has not used autograd."""

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.distributed import TCPStore  # pyright: ignore[reportPrivateImportUsage]

from covary import dist
from covary.cli import main

HERE = torch.device("cpu")


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit code (minus the signal that killed it, None where it hung) and what it printed."""

    code: int | None
    printed: str


@dataclass
class Ranks:
    """Processes that were started together."""

    pids: list[int]
    folder: Path
    agent: int

    def wait(self, limit: float) -> list[Ended]:
        """Wait until all have ended, at most ``limit`` seconds; those that have not are killed, and the agent is."""
        deadline, codes = time.monotonic() + limit, dict[int, int | None]()
        while len(codes) < len(self.pids):
            for pid in set(self.pids) - set(codes):
                late = time.monotonic() > deadline
                if late:
                    os.kill(pid, 9)
                done, status = os.waitpid(pid, 0 if late else os.WNOHANG)
                if done:
                    codes[pid] = None if late else os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        os.kill(self.agent, 9)
        os.waitpid(self.agent, 0)
        return [Ended(codes[pid], (self.folder / f"{rank}.txt").read_text()) for rank, pid in enumerate(self.pids)]


def start(job: Callable[[], int], world: int, folder: Path) -> Ranks:
    """Start ``job``, whose result is the exit code, in processes that meet as those of torchrun do."""
    folder.mkdir(parents=True, exist_ok=True)
    agent, port = _agent()
    common = {
        "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    sys.stdout.flush()
    pids = []
    for rank in range(world):
        pid = os.fork()
        if not pid:
            os.environ.update(common, RANK=str(rank), LOCAL_RANK=str(rank))
            _child(job, folder / f"{rank}.txt")
        pids.append(pid)
    return Ranks(pids, folder, agent)


def command(*words: str) -> Callable[[], int]:
    """Return the job that is a ``covary`` command."""
    return lambda: main(words)


def results(job: Callable[[], Any], world: int, folder: Path, *, limit: float = 300) -> list[Any]:
    """Return what ``job`` returned in each process: anything that JSON can hold."""

    def work() -> int:
        with dist.processes("cpu"):
            found = job()
            (folder / f"{dist.rank()}.json").write_text(json.dumps(found))
        return 0

    ended = start(work, world, folder).wait(limit)
    if any(each.code for each in ended):
        raise RuntimeError("\n".join(f"{each.code}: {each.printed[-1500:]}" for each in ended))
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(world)]


@contextmanager
def already_met(device: str, **options: Any) -> Iterator[torch.device]:
    """Stand in for ``dist.processes`` where the processes have met."""
    yield HERE


def _agent() -> tuple[int, int]:
    """Start a process that holds the store in which others meet, as torchrun's does; return it and its port.

    The store's thread must not be in the process that forks: a child that is forked while the thread holds a lock waits
    for that lock for ever.
    """
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
            os.write(write, str(store.port).encode())
            signal.pause()
        finally:
            os._exit(1)
    os.close(write)
    port = os.read(read, 5)
    os.close(read)
    return pid, int(port)


def _child(job: Callable[[], int], output: Path) -> None:
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for descriptor in (1, 2):
        os.dup2(file, descriptor)
    code = 1
    try:
        torch.set_num_threads(1)
        code = job()
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
