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
from covary.evaluation.places import COUNTER, Place, is_whole, places, told
from covary.nets import load_weights
from covary.nets.encoder import PREFIXES

PICKLED = (".pt", ".pth", ".bin", ".ckpt")
HEADER = 8_000_000  # bytes of a safetensors header: about a hundred for each tensor
TENSORS = 100_000  # that a file may hold
LONGEST = 1_000  # letters of a dotted name
LETTERS = 10_000_000  # of all names that are looked at


def load_file(encoder: nn.Module, path: Path, *, prefix: str = "", ignore: Sequence[str] = ()) -> str:
    """Fill an encoder with its tensors in a file, all of them; return a line that says which were read and which not.

    Nested dictionaries of the file are read as dotted names: the tensor ``file["state_dict"]["backbone.conv1.weight"]``
    is ``state_dict.backbone.conv1.weight``. The encoder is looked for under any prefix and by the names of ``places``;
    what else the file holds, such as a classifier, is left out, but no further layer of the same stages.

    prefix: only names that begin with it are looked at.
    ignore: names that begin with one of these, after the prefix, are not looked at.

    Raises InputError: the file cannot be read or would run code, nothing begins with ``prefix`` or with one of
    ``ignore``, or the encoder does not lie there whole, or several times.
    """
    tensors = read(path)
    hint = _hint(tensors, encoder)
    if not any(name.startswith(prefix) for name in tensors):
        raise InputError(f"No tensor of {path} has a name that begins with '{prefix}'.{hint}")
    for start in ignore:
        if not any(name.startswith(prefix + start) for name in tensors):
            raise InputError(f"No tensor of {path} has a name that begins with '{start}', which was to be ignored.")
    left_out = tuple(prefix + start for start in ignore)
    looked_at = {
        name: tensor for name, tensor in tensors.items() if name.startswith(prefix) and not name.startswith(left_out)
    }
    state = {name.removeprefix(prefix): tensor for name, tensor in looked_at.items()}
    try:
        load_weights(encoder, state, source=str(path))
        place = Place(prefix=prefix, names={PREFIXES.sub("", name): name for name in state})
    except InputError:
        place = _place(encoder, looked_at, path, prefix)
        if place is None:
            near = next(iter(places(encoder, looked_at)), None)
            if near and near.prefix != prefix:  # say what does not fit there
                load_weights(encoder, near.whatever(encoder, looked_at), source=f"{path} under '{near.prefix}'")
            raise
        counters = {name: value for name, value in encoder.state_dict().items() if name.endswith(COUNTER)}
        load_weights(encoder, {**counters, **place.state(looked_at)}, source=str(path))
    return f"{path}: {told(place, encoder, tensors)}"


def _place(encoder: nn.Module, tensors: Mapping[str, Tensor], path: Path, prefix: str) -> Place | None:
    """Return where in a file the encoder lies; None where that is nowhere whole.

    Raises InputError: it lies there several times, and none of them at the prefix that was given.
    """
    whole = [place for place in places(encoder, tensors) if is_whole(place, encoder, tensors)]
    if prefix and any(place.prefix == prefix for place in whole):
        whole = [place for place in whole if place.prefix == prefix]
    if len(whole) > 1:
        names = " and ".join(f"'{place.prefix}'" for place in whole)
        raise InputError(f"{path} holds this encoder {len(whole)} times, under {names}; choose one with prefix.")
    return whole[0] if whole else None


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
    """Return a sentence that names the prefixes under which the file holds the encoder, if it does."""
    prefixes = sorted(place.prefix for place in places(encoder, tensors) if is_whole(place, encoder, tensors))
    return f" Its names begin with {' or '.join(map(repr, prefixes))}; give that as prefix." if prefixes else ""
