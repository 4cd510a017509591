"""Weights files: ``.safetensors``, and ``.pt`` read so that nothing in it can run."""

import pickle
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from covary.errors import InputError
from covary.nets import load_weights

PICKLED = (".pt", ".pth", ".bin", ".ckpt")


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
        try:
            content = safetensors.torch.load_file(path)
        except (OSError, safetensors.SafetensorError) as error:
            raise InputError(f"{path} is no readable safetensors file ({error}).") from error
    elif path.suffix in PICKLED:
        content = _unpickle(path)
    else:
        raise InputError(f"{path} is no weights file; expected .safetensors, {', '.join(PICKLED)}.")
    tensors = dict(_flatten(content))
    if not tensors:
        raise InputError(f"{path} holds no tensors by name; save the state dict of the encoder.")
    return tensors


def _unpickle(path: Path) -> object:
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path} holds more than tensors, or is damaged; rebuilding it could run code, so it is refused. "
            "Save the state dict alone, best as .safetensors."
        ) from error
    except Exception as error:  # damaged bytes break the reader in ways that it does not name
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise InputError(f"{path} is no readable weights file ({reason}).") from error


def _flatten(content: object, place: str = "") -> Iterator[tuple[str, Tensor]]:
    if isinstance(content, Tensor) and place:
        yield place, content
    elif isinstance(content, Mapping):
        for key, value in content.items():
            yield from _flatten(value, f"{place}.{key}" if place else str(key))


def _hint(tensors: Mapping[str, Tensor], encoder: nn.Module) -> str:
    """Return a sentence that names the prefix under which the file holds all of the encoder's names, if it does."""
    wanted = list(encoder.state_dict())
    candidates = {name.removesuffix(wanted[0]) for name in tensors if name.endswith(f".{wanted[0]}")}
    prefixes = sorted(prefix for prefix in candidates if all(prefix + name in tensors for name in wanted))
    return f" Its names begin with {' or '.join(map(repr, prefixes))}; give that as prefix." if prefixes else ""
