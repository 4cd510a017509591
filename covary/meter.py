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

RESET, STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")
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
        before = torch.cuda.memory_allocated(device)
    elif RESET.exists():
        gc.collect()
        ctypes.CDLL("libc.so.6").malloc_trim(0)  # what earlier jobs have freed goes back to the system
        before = memory("VmRSS")
    else:
        before = math.nan
    begin_peak(device)
    job()
    return peak_bytes(device) - before


def begin_peak(device: torch.device) -> None:
    """Let the peak of memory start anew, where the system knows how. Raises OSError: it forbids it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif RESET.exists():
        RESET.write_text("5")


def peak_bytes(device: torch.device) -> float:
    """Return the most memory since ``begin_peak`` in bytes; nan on a system that does not tell: Linux does.

    Of torch's allocator on a GPU, of the process on a CPU, with its libraries and the pages of files that it reads.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return memory("VmHWM") if STATUS.exists() else math.nan


def memory(name: str) -> int:
    """Return a figure of this process in bytes: VmRSS, what it holds, or VmHWM, the most that it held."""
    lines = STATUS.read_text().splitlines()
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
