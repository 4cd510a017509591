"""``transformation``: the networks of STL behind the encoder, which read a code off a pair and move features by it."""

import json
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from covary.errors import InputError
from covary.export import difference
from covary.export.trained import Trained
from covary.export.written import Exported
from covary.methods import CodeMover
from covary.methods.stl import STLMethod
from covary.nets import LowRankHypernetwork, mlp
from covary.rundir import write_atomic

FILE = "transformation.safetensors"  # in a folder that holds the encoder too
CODE = "f_T(torch.cat([before, after], dim=1))"
LINEAR = 'torch.einsum("oik,bi,bk->bo", tensors["hypernetwork.weight"].view({d}, {d}, {k}), features, code)'
LOW_RANK = (
    '(features @ tensors["hypernetwork.to_rank.weight"].T * (code @ tensors["hypernetwork.code_to_rank.weight"].T))'
    ' @ tensors["hypernetwork.from_rank.weight"].T'
)


def write_transformation(trained: Trained, out: Path) -> Exported:
    """Write the transformation encoder ``f_T`` and, where the run has one, the ``hypernetwork``.

    The file's metadata hold ``description``: a JSON object with both as Python.

    Raises InputError: the run has no transformation encoder.
    """
    method = reading(trained)
    if method is None:
        raise InputError(
            f"The run {trained.folder.path} has no transformation encoder; expected a run of stl with weight_equi or "
            "weight_trans above 0."
        )
    content, found = packed(method)
    write_atomic(out, content)
    return Exported(path=out, bytes=len(content), difference=found, lines=lines(method, str(out)))


def reading(trained: Trained) -> STLMethod | None:
    """Return the method of a run if it has a transformation encoder, None elsewhere."""
    if trained.method != "stl":
        return None
    method = trained.source.method
    return method if isinstance(method, STLMethod) and method.reader() else None


def packed(method: STLMethod) -> tuple[bytes, float]:
    """Return the networks as safetensors, and how far what is rebuilt from that is from the method.

    Raises InputError: the difference is more than rounding.
    """
    tensors = {f"f_T.{name}": x for name, x in _f_t(method).state_dict().items()}
    if method.mover() is not None:
        tensors |= {f"hypernetwork.{name}": x for name, x in method.get_submodule("hypernetwork").state_dict().items()}
    description = {"code": CODE, "f_T": _layers(method), "moved": _moved(method)}
    content = safetensors.torch.save(tensors, metadata={"format": "pt", "description": json.dumps(description)})
    found = _difference(method, safetensors.torch.load(content))
    return content, difference.check(found, difference.WEIGHTS, format="transformation")


def lines(method: STLMethod, path: str) -> tuple[str, ...]:
    """Return Python without covary that leaves ``read(before, after)`` and ``move(code, features)``."""
    f_t = 'f_T.load_state_dict({n[4:]: x for n, x in tensors.items() if n.startswith("f_T.")})'
    moved = _moved(method)
    return (
        "import torch",
        "from torch import nn",
        "from safetensors.torch import load_file",
        f"tensors = load_file({path!r})",
        f"f_T = {_layers(method)}.eval()",
        f_t,
        f"read = lambda before, after: {CODE}",
        *([f"move = lambda code, features: {moved}"] if moved else []),
    )


def _f_t(method: STLMethod) -> nn.Module:
    return method.get_submodule("transformation_encoder")


def _widths(method: STLMethod) -> list[int]:
    """Return the widths of f_T, from 2 D to K."""
    linear = [layer for layer in _f_t(method).children() if isinstance(layer, nn.Linear)]
    return [linear[0].in_features, *(layer.out_features for layer in linear)]


def _layers(method: STLMethod) -> str:
    """Return f_T as Python: the layers of ``nets.mlp``."""
    first, *inside, last = _widths(method)
    words, width = [], first
    for hidden in inside:
        words += [f"nn.Linear({width}, {hidden}, bias=False)", f"nn.BatchNorm1d({hidden})", "nn.ReLU()"]
        width = hidden
    return f"nn.Sequential({', '.join([*words, f'nn.Linear({width}, {last}, bias=False)'])})"


def _moved(method: STLMethod) -> str | None:
    """Return the moved features as Python of ``tensors``, ``features`` and ``code``; None without a hypernetwork."""
    mover = method.mover()
    if mover is None:
        return None
    widths = _widths(method)
    low_rank = isinstance(mover.move, LowRankHypernetwork)
    return LOW_RANK if low_rank else LINEAR.format(d=widths[0] // 2, k=widths[-1])


@torch.no_grad()
def _difference(method: STLMethod, tensors: dict[str, Tensor]) -> float:
    """Return the largest difference of codes and moved features of random pairs, from those of the tensors."""
    widths, mover, read = _widths(method), method.mover(), method.reader()
    f_t = mlp(widths).eval()
    f_t.load_state_dict({name[4:]: x for name, x in tensors.items() if name.startswith("f_T.")}, strict=True)
    found = []
    for pair in difference.probes(widths[0]):
        before, after = pair.chunk(2, dim=1)
        code = f_t(pair)
        if read is not None:
            found.append(difference.largest(read(before, after), code))
        if isinstance(mover, CodeMover):
            h = {name.removeprefix("hypernetwork."): x for name, x in tensors.items()}
            found.append(difference.largest(mover.move(code, before), _move(h, before, code)))
    return difference.worst(found)


def _move(h: dict[str, Tensor], features: Tensor, code: Tensor) -> Tensor:
    """Move features by the tensors of a hypernetwork, as ``LINEAR`` and ``LOW_RANK`` say."""
    if "weight" in h:
        d, k = features.shape[1], code.shape[1]
        return torch.einsum("oik,bi,bk->bo", h["weight"].view(d, d, k), features, code)
    return (features @ h["to_rank.weight"].T * (code @ h["code_to_rank.weight"].T)) @ h["from_rank.weight"].T
