"""Where a computation on a GPU would make the host wait for it, found without a GPU: by fake tensors on ``cuda``."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch._subclasses.fake_tensor import is_fake, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

GPU = torch.device("cuda")
COPIES = {torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default}
FUSED = {torch.ops.aten._fused_sgd_.default, torch.ops.aten._fused_adamw_.default}  # no fake form; they change in place


class Syncs(TorchDispatchMode):
    """Names the operations that wait for the device.

    Copies to the host; copies from the host unless they leave pinned memory without blocking; tensors made of Python's
    numbers, which are copied from the host; operations on tensors of both, but for numbers, which travel with the
    kernel. Reading a value, or a shape that depends on values, fails: fake tensors have none.
    """

    def __init__(self, fakes: FakeTensorMode) -> None:
        super().__init__()
        self._fakes = fakes
        self.found: list[str] = []
        self._pinned: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        on_host = torch.device(kwargs.get("device") or "cpu").type == "cpu" and not any(map(is_fake, given))
        if func in FUSED:
            return None
        if func is torch.ops.aten._pin_memory.default:
            return self._pin(args[0].clone())
        if func is torch.ops.aten.empty.memory_format and kwargs.get("pin_memory"):
            return self._pin(torch.empty(args[0], dtype=kwargs.get("dtype")))
        if on_host:
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        out = func(*tree_map(self._fake, args), **tree_map(self._fake, kwargs))
        if func in COPIES:
            into, source = (args[0], args[1]) if func is torch.ops.aten.copy_.default else (out, args[0])
            free = kwargs.get("non_blocking", len(args) > 2 and args[2]) and self._is_pinned(source)
            if into.device.type != source.device.type and not (source.device.type == "cpu" and free):
                self.found.append(f"{func} from {source.device} to {into.device}")
        elif {tensor.device.type for tensor in given if tensor.ndim or tensor.is_cuda} == {"cpu", "cuda"}:
            self.found.append(f"{func} of tensors on both devices")
        return out

    def _fake(self, leaf: Any) -> Any:
        return self._fakes.from_tensor(leaf) if isinstance(leaf, Tensor) and not is_fake(leaf) else leaf

    def _pin(self, tensor: Tensor) -> Tensor:
        self._pinned.append(tensor)
        return tensor

    def _is_pinned(self, tensor: Tensor) -> bool:
        return any(tensor.untyped_storage()._cdata == pinned.untyped_storage()._cdata for pinned in self._pinned)


@contextmanager
def fake_gpu() -> Iterator[Syncs]:
    """Let tensors on ``cuda`` be fake for the length of a ``with`` block; its value names what waited."""
    with FakeTensorMode(allow_non_fake_inputs=True) as fakes, Syncs(fakes) as syncs:
        yield syncs
