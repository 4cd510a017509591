"""Weights files: ``.safetensors``, and ``.pt`` read so that nothing in it can run."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from covary.errors import InputError
from covary.evaluation import pickled
from covary.nets import load_weights

PICKLED = (".pt", ".pth", ".bin", ".ckpt")
HEADER = 8_000_000  # bytes of a safetensors header: about a hundred for each tensor
TENSORS = 100_000  # that a file may hold
LONGEST = 1_000  # letters of a dotted name
LETTERS = 10_000_000  # of all names that are looked at


def load_file(encoder: nn.Module, path: Path, *, prefix: str = "", ignore: Sequence[str] = ()) -> None:
    """Fill an encoder with the tensors of a file, all of them and no others.

    Nested dictionaries of the file are read as dotted names: the tensor ``file["state_dict"]["backbone.conv1.weight"]``
    is ``state_dict.backbone.conv1.weight``.

    prefix: only names that begin with it are read, and it is taken off.
    ignore: names that begin with one of these, after the prefix, are left out (a classifier: ``fc.``).

    Raises InputError: the file cannot be read or would run code, nothing begins with ``prefix`` or with one of
    ``ignore``, or names and shapes are not those of the encoder.
    """
    tensors = read(path)
    names = [name.removeprefix(prefix) for name in tensors if name.startswith(prefix)]
    hint = _hint(tensors, encoder)
    if not names:
        raise InputError(f"No tensor of {path} has a name that begins with '{prefix}'.{hint}")
    for start in ignore:
        if not any(name.startswith(start) for name in names):
            raise InputError(f"No tensor of {path} has a name that begins with '{start}', which was to be ignored.")
    state = {name: tensors[prefix + name] for name in names if not name.startswith(tuple(ignore))}
    try:
        load_weights(encoder, state, source=str(path))
    except InputError as error:
        raise InputError(f"{error}{hint}") from error


def read(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file by dotted name.

    Raises InputError: unknown ending, unreadable, no tensors, or objects that only running code could rebuild.
    """
    if path.suffix == ".safetensors":
        content: object = _safetensors(path)
    elif path.suffix in PICKLED:
        content = pickled.load(path)
    else:
        raise InputError(f"{path} is no weights file; expected .safetensors, {', '.join(PICKLED)}.")
    try:
        tensors = _flatten(content)
    except ValueError as error:
        raise InputError(f"{path} holds {error}; save the state dict of the encoder alone.") from error
    for name, tensor in tensors.items():
        if tensor.layout is not torch.strided or tensor.nbytes > tensor.untyped_storage().nbytes():
            raise InputError(
                f"{path} declares {tuple(tensor.shape)} numbers for '{name}' and holds fewer; save it again."
            )
    if not tensors:
        raise InputError(f"{path} holds no tensors by name; save the state dict of the encoder.")
    return tensors


def _safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file:
            header = int.from_bytes(file.read(8), "little")
        if header > HEADER and header < os.path.getsize(path):
            raise InputError(f"{path} declares {header:,} bytes of names; expected at most {HEADER:,}.")
        return safetensors.torch.load_file(path)
    except (OSError, safetensors.SafetensorError) as error:
        raise InputError(f"{path} is no readable safetensors file ({error}).") from error


def _flatten(content: object) -> dict[str, Tensor]:
    """Return the tensors inside nested dictionaries by dotted name.

    Raises ValueError: more places than a file of weights has, as when a dictionary holds itself.
    """
    found: dict[str, Tensor] = {}
    waiting: list[tuple[str, object]] = [("", content)]
    letters = 0
    while waiting:
        place, value = waiting.pop()
        if isinstance(value, Tensor) and place:
            found[place] = value
        elif isinstance(value, Mapping):
            inside = [
                (f"{place}.{key}" if place else str(key), each)
                for key, each in value.items()
                if isinstance(key, str | int)
            ]
            waiting += reversed(inside)
            letters += sum(len(name) for name, _ in inside)
        if len(waiting) + len(found) > TENSORS or len(place) > LONGEST or letters > LETTERS:
            raise ValueError(f"more than {TENSORS:,} tensors, or names of more than {LONGEST:,} letters")
    return found


def _hint(tensors: Mapping[str, Tensor], encoder: nn.Module) -> str:
    """Return a sentence that names the prefix under which the file holds all of the encoder's names, if it does."""
    wanted = list(encoder.state_dict())
    candidates = {name.removesuffix(wanted[0]) for name in tensors if name.endswith(f".{wanted[0]}")}
    prefixes = sorted(prefix for prefix in candidates if all(prefix + name in tensors for name in wanted))
    return f" Its names begin with {' or '.join(map(repr, prefixes))}; give that as prefix." if prefixes else ""
