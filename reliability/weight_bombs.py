"""Weights files that are small on the disk and huge in memory, or without end; each a function of how huge."""

import io
import json
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import _utils

from reliability.hostile import Call

Bomb = Callable[[int], bytes]  # how huge, in millions -> the file


@dataclass(frozen=True)
class Storage:
    """Stands in a program for a storage that declares so many numbers; ``more`` is what the legacy format adds."""

    numbers: int
    more: tuple[None, ...] = ()


class Writer(pickle.Pickler):
    """Writes a program as ``torch.save`` does."""

    def persistent_id(self, obj: Any) -> Any:
        """Return what stands for a storage, None for all else."""
        return ("storage", torch.FloatStorage, "0", "cpu", obj.numbers, *obj.more) if isinstance(obj, Storage) else None


def tensor(storage: Storage, size: tuple[int, ...], stride: tuple[int, ...]) -> Call:
    """A tensor of a size on a storage."""
    return Call(_utils._rebuild_tensor_v2, (storage, 0, size, stride, False, OrderedDict()))


def program(content: object) -> bytes:
    """The pickle of an archive."""
    buffer = io.BytesIO()
    Writer(buffer, protocol=2).dump(content)
    return buffer.getvalue()


def archive(pickled: bytes, *, storage: bytes = bytes(16), compress: int = zipfile.ZIP_STORED) -> bytes:
    """The zip that ``torch.save`` makes of a program and one storage."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compress, compresslevel=1) as opened:
        opened.writestr("archive/data.pkl", pickled)
        opened.writestr("archive/byteorder", b"little")
        opened.writestr("archive/version", b"3\n")
        opened.writestr("archive/data/0", storage)
    return buffer.getvalue()


def compressed_storage(millions: int) -> bytes:
    """Zeros, compressed a thousandfold."""
    numbers = millions * 250_000
    return archive(
        program({"weight": tensor(Storage(numbers), (numbers,), (1,))}),
        storage=bytes(4 * numbers),
        compress=zipfile.ZIP_DEFLATED,
    )


def compressed_program(millions: int) -> bytes:
    """A program that is one long text, compressed a thousandfold."""
    return archive(program({"weight": "0" * (millions * 1_000_000)}), compress=zipfile.ZIP_DEFLATED)


def legacy(millions: int) -> bytes:
    """What ``torch.save`` wrote before 1.6, with a storage that declares more than it has."""
    head = [pickle.dumps(value, protocol=2) for value in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
    numbers = 1_000_000 * millions
    return b"".join([*head, program({"weight": tensor(Storage(numbers, (None,)), (numbers,), (1,))}), pickle.dumps([])])


def laughs(millions: int) -> bytes:
    """A dictionary that holds another twice, which holds another twice, and so on."""
    inside: object = {"a": tensor(Storage(4), (4,), (1,))}
    for _ in range(20 + millions // 100):
        inside = {"a": inside, "b": inside}
    return archive(program(inside))


def itself(millions: int) -> bytes:
    """A dictionary that holds itself."""
    inside: dict[str, object] = {"a": millions}
    inside["b"] = inside
    return archive(program(inside))


def names(millions: int) -> bytes:
    """A safetensors file of very many empty tensors."""
    one = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    text = json.dumps({f"{n}": one for n in range(150_000 + millions)}).encode()
    return len(text).to_bytes(8, "little") + text


def keys(millions: int) -> bytes:
    """Very many names."""
    return archive(program(dict.fromkeys(map(str, range(260_000 + millions)))))


def call(function: Callable[..., Any]) -> Bomb:
    """A file that has a function make so many bytes of nothing."""
    return lambda millions: archive(program({"weight": Call(function, (millions * 1_000_000,))}))


BOMBS: Mapping[str, Bomb] = {
    "compressed storage": compressed_storage,
    "compressed program": compressed_program,
    "one number, shown a million times": lambda millions: archive(
        program({"weight": tensor(Storage(4), (millions * 1_000_000,), (0,))})
    ),
    "bytearray": call(bytearray),
    "very many names": keys,
    "dictionaries twice in each other": laughs,
    "dictionary in itself": itself,
    "legacy storage": legacy,
    "safetensors of very many names": names,
}
