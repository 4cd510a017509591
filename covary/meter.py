"""Time, memory and the passport of a measurement."""

import ctypes
import gc
import math
import platform
import time
from collections.abc import Callable
from pathlib import Path

import torch

from covary.version import __version__, commit

RESET = Path("/proc/self/clear_refs")
FULL = ("can't allocate memory", "out of shared memory")  # torch's words, of the CPU's allocator and of DataLoader


def seconds(job: Callable[[], object], device: torch.device) -> float:
    """Return how long a job takes until the device is done with it."""
    _wait(device)
    start = time.perf_counter()
    job()
    _wait(device)
    return time.perf_counter() - start


def extra_bytes(job: Callable[[], object], device: torch.device) -> float:
    """Do a job; return the peak of memory above what stood before it, in bytes.

    Of torch's allocator on a GPU, of the process on a CPU (VmHWM); nan on a system that does not tell: Linux does.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        job()
        return torch.cuda.max_memory_allocated(device) - before
    if not RESET.exists():
        job()
        return math.nan
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what earlier jobs have freed goes back to the system
    RESET.write_text("5")  # the peak starts anew
    before = memory("VmRSS")
    job()
    return memory("VmHWM") - before


def memory(name: str) -> int:
    """Return a figure of this process in bytes: VmRSS, what it holds, or VmHWM, the most that it held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory is full, that of the process, of the GPU, or shared with workers."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(words in str(error) for words in FULL)


def passport(device: torch.device) -> dict[str, object]:
    """Return where and with what a measurement was made."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "covary": __version__,
        "commit": commit(),
    }


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
