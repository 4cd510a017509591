"""Run one function in several gloo processes, started as torchrun starts them, and collect what each returned."""

import multiprocessing
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.distributed import TCPStore

from covary import dist


def run_ranks(job: Callable[..., Any], world: int, *args: Any) -> list[Any]:
    """Return the results of ``job(*args)`` by rank; a child's traceback goes to stderr."""
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)  # torchrun's agent holds such a store
    common = {
        "WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }
    server = multiprocessing.get_context("forkserver")  # torch is imported once, not once per process
    server.set_forkserver_preload(["covary.methods"])
    with tempfile.TemporaryDirectory() as folder:
        children = [
            server.Process(target=_child, args=(job, args, Path(folder) / str(rank), {**common, "RANK": str(rank)}))
            for rank in range(world)
        ]
        for child in children:
            child.start()
        for child in children:
            child.join(timeout=120)
            child.kill()
        if any(child.exitcode for child in children):
            raise RuntimeError(f"Processes ended with {[child.exitcode for child in children]}; see stderr.")
        return [torch.load(Path(folder) / str(rank), weights_only=False) for rank in range(world)]


def my_rows(x: torch.Tensor, dim: int = 0) -> torch.Tensor:
    """Return this rank's share of the rows of a whole batch."""
    return x.chunk(dist.world_size(), dim=dim)[dist.rank()]


def _child(job: Callable[..., Any], args: tuple[Any, ...], result: Path, environ: dict[str, str]) -> None:
    os.environ.update(environ, LOCAL_RANK=environ["RANK"])
    torch.set_num_threads(1)
    warnings.simplefilter("error")
    with dist.processes("cpu"):
        torch.save(job(*args), result)
