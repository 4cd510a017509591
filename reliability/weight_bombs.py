"""Weights files that are small on the disk and huge in memory, or without end; each a function of how huge."""

import io
import json
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import product
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


def many(name: str) -> Bomb:
    """A file whose program has a collection made of the same long list again and again."""

    def bomb(millions: int) -> bytes:
        numbers = b"".join(b"M" + n.to_bytes(2, "little") for n in range(60_000))
        calls = b"h\x01h\x00\x85R" * (100 + millions)  # the collection, of the list
        return archive(b"\x80\x02(]q\x00(" + numbers + b"ec" + name.encode() + b"\nq\x01" + calls + b"t.")

    return bomb


def capitals(millions: int) -> bytes:
    """An archive with a harmless program and, in capitals, others, which torch's reader takes for the same name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        opened.writestr("archive/data.pkl", program({}))
        for letters in product("Dd", "Aa", "Tt", "A"):
            opened.writestr(f"archive/{''.join(letters)}.pkl", program({"a": Call(bytearray, (millions * 1_000_000,))}))
        opened.writestr("archive/version", b"3\n")
    return buffer.getvalue()


def entries(millions: int) -> bytes:
    """An archive whose directory names one entry very many times."""
    whole = archive(program({}))
    start, end = whole.index(b"PK\1\2"), whole.index(b"PK\5\6")
    one = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 3, 20, *[0] * 4, 33, *[0] * 3, 1, *[0] * 6) + b"x"
    count = 200_000 + millions
    listed = whole[start:end] + one * count
    size = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count + 4, count + 4, len(listed), start)
    place = struct.pack("<4sLQL", b"PK\6\7", 0, start + len(listed), 1)
    return (
        whole[:start]
        + listed
        + size
        + place
        + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, *[2**16 - 1] * 2, *[2**32 - 1] * 2, 0)
    )


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
    "a set of a list, many times": many("builtins\nset"),
    "a Size of a list, many times": many("torch\nSize"),
    "a second program in capitals": capitals,
    "safetensors of very many names": names,
}
