"""Processes of this machine that are told what to do, all at once, and answer."""

import contextlib
import multiprocessing
import os
import socket
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any, Self

import torch

from covary import dist


class Group:
    """Processes that train together, started with torchrun's variables; they live as long as a ``with`` block.

    Each calls ``make(device, *args)`` once, which returns its answer to what it will be told; ``make`` is a function of
    a module, and ``args`` can be pickled. A call tells every process the same and returns their answers by rank.

    world:   how many processes. threads: of torch in each. device: a name for ``dist.choose_device``.
    Raises what a process raises, and RuntimeError where one has ended otherwise; tracebacks are on standard error.
    """

    def __init__(
        self, make: Callable[..., Callable[[Any], Any]], *args: object, world: int, threads: int, device: str
    ) -> None:
        server = multiprocessing.get_context("forkserver")  # torch is imported once, not once per process
        server.set_forkserver_preload(["covary.step"])
        common = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
        self._processes, self._pipes = [], []
        for rank in range(world):
            own, pipe = server.Pipe()
            environ = {**common, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            process = server.Process(target=_serve, args=(pipe, make, args, environ, threads, device), daemon=True)
            process.start()
            pipe.close()  # so that the end of the process is the end of the pipe
            self._processes.append(process)
            self._pipes.append(own)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pipe in self._pipes:
            pipe.close()  # a process that waits for its next word then ends
        for process in self._processes:
            if kind is not None:
                process.kill()
            process.join()

    def __call__(self, told: object) -> list[Any]:
        """Tell every process the same; return their answers by rank."""
        try:
            for pipe in self._pipes:
                pipe.send(told)
            answers = [pipe.recv() for pipe in self._pipes]
        except (EOFError, OSError) as end:
            raise RuntimeError("A process that was measured has ended; what it said is above.") from end
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return answers


def _serve(
    pipe: Connection,
    make: Callable[..., Callable[[Any], Any]],
    args: tuple[object, ...],
    environ: dict[str, str],
    threads: int,
    device: str,
) -> None:
    """Be a process of a group: answer until the other end is closed, or with what went wrong."""
    os.environ.update(environ)
    torch.set_num_threads(threads)
    try:
        with dist.processes(device) as own:
            answer = make(own, *args)
            for told in _words(pipe):
                pipe.send(answer(told))
    except Exception as error:
        pipe.send(error)
        raise


def _words(pipe: Connection) -> Iterator[Any]:
    """Yield what the other end says until it is closed."""
    with contextlib.suppress(EOFError):
        while True:
            yield pipe.recv()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
