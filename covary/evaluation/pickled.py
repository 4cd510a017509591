"""Files of ``torch.save``, written by anybody: what they declare is checked before anything of them is read.

A pickle is a program. ``torch.load(weights_only=True)`` runs no code of the file's choosing, but the file still chooses
how much memory is taken: an entry of the archive may be compressed a thousandfold, a ``bytearray`` have any length. So
the archive must hold its entries as ``torch.save`` writes them, uncompressed and no larger than the file; the program
may name only what a state dict is made of; and storages are mapped from the file, so that none can be larger than it.
What is left to a program, such as a long list that it puts into a set a thousand times, ends at a limit of the process.
"""

import pickletools
import re
import resource
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from covary.errors import InputError
from covary.meter import memory

PROGRAM = 4_000_000  # bytes of a file's program: about a hundred for each tensor
ENTRIES = 100_000  # of an archive: one for each storage
GROWTH = 3  # times the size of a file that reading it may take
ROOM = 16_000_000  # bytes beyond, whatever its size
STATUS = Path("/proc/self/status")  # where Linux tells how large a process is
NAMES = re.compile(
    r"collections (OrderedDict|Counter)|builtins set|torch (Size|Tensor|device|\w+Storage)|"
    r"torch (bool|(bfloat|float|complex|int|uint)\d+\w*)|"
    r"torch\.storage UntypedStorage|torch\.nn\.parameter Parameter|"
    r"torch\._utils _rebuild_(tensor|tensor_v2|tensor_v3|parameter|parameter_with_state)|"
    r"torch\._tensor _rebuild_from_type_v2"
)


def load(path: Path) -> object:
    """Return what ``torch.save`` wrote to a file, its tensors mapped from the file.

    Raises InputError: another format, damaged, larger in memory than on the disk, or made of more than a state dict is.
    """
    try:
        with _limited(GROWTH * path.stat().st_size + ROOM):
            _check_program(path, _program(path))
            return torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except InputError:
        raise
    except MemoryError as error:
        raise InputError(
            f"{path} would take more than {GROWTH} times its size in memory, so it is refused. Save the state dict of "
            "the encoder alone, best as .safetensors."
        ) from error
    except Exception as error:  # damaged bytes break the readers in ways that they do not name
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{path} is no readable weights file ({reason}).") from error


@contextmanager
def _limited(growth: int) -> Iterator[None]:
    """Let this process take so many more bytes and no others, where the system tells how large it is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if STATUS.exists():
        most = memory("VmData") + growth
        resource.setrlimit(resource.RLIMIT_DATA, (most if soft == resource.RLIM_INFINITY else min(soft, most), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _program(path: Path) -> bytes:
    """Return the pickle of an archive whose entries are stored as they are."""
    with path.open("rb") as file:
        if file.read(4) != b"PK\3\4":
            raise InputError(
                f"{path} is not in the format that torch.save writes since version 1.6, a zip archive; where you trust "
                "it, convert it: torch.save(torch.load(OLD, weights_only=True), NEW)."
            )
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        declared = sum(entry.file_size for entry in entries)
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or declared > path.stat().st_size:
            raise InputError(
                f"{path} would be larger in memory than it is ({declared:,} bytes declared, {path.stat().st_size:,} "
                "on the disk); torch.save never compresses, so it is refused. Save the state dict again."
            )
        if len({entry.filename.lower() for entry in entries}) < len(entries):  # capitals are nothing to torch's reader
            raise InputError(f"{path} holds several entries of one name, of which torch may read another; refused.")
        (program,) = [entry for entry in entries if re.fullmatch(r"[^/]+/data\.pkl", entry.filename)]
        if program.file_size > PROGRAM or len(entries) > ENTRIES:
            raise InputError(
                f"{path} declares {len(entries):,} entries and {program.file_size:,} bytes of names; expected a state "
                f"dict, at most {ENTRIES:,} and {PROGRAM:,}. Save the state dict of the encoder alone."
            )
        return archive.read(program)


def _check_program(path: Path, program: bytes) -> None:
    """Refuse a pickle that names anything but the parts of a state dict; it is read, not run."""
    for operation, argument, _ in pickletools.genops(program):
        if operation.name in ("INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4") or (
            operation.name == "GLOBAL" and not NAMES.fullmatch(str(argument))
        ):
            named = str(argument or operation.name).replace(" ", ".")
            raise InputError(
                f"{path} holds more than tensors ({named}); rebuilding it could run code, so it is refused. "
                "Where you trust who wrote it, keep its tensors alone: torch.save(torch.load(OLD, map_location='cpu', "
                "weights_only=False)['state_dict'], NEW)."
            )
