"""What a checkpoint holds: every tensor of method and optimiser under a flat name."""

import torch
from torch import Tensor, nn

from covary.errors import InputError


def state_tensors(method: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return ``method.NAME`` and ``optim.INDEX.KEY`` for every tensor that a later step depends on."""
    tensors = {f"method.{name}": tensor for name, tensor in method.state_dict().items()}
    for index, entries in optimizer.state_dict()["state"].items():
        for key, value in entries.items():
            if value is not None:
                tensors[f"optim.{index}.{key}"] = torch.as_tensor(value)
    return tensors


def restore_state(tensors: dict[str, Tensor], method: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Put the tensors of ``state_tensors`` back.

    Raises InputError: the tensors belong to another method or encoder.
    """
    try:
        method.load_state_dict({k.removeprefix("method."): t for k, t in tensors.items() if k.startswith("method.")})
    except RuntimeError as error:
        raise InputError(f"The checkpoint does not fit the method: {str(error).splitlines()[-1].strip()}") from error
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    entries: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("optim."):
            _, index, key = name.split(".", 2)
            parameter = parameters[int(index)]
            if tensor.shape == parameter.shape:  # the fused kernels walk both in the order of memory
                tensor = torch.empty_like(parameter).copy_(tensor)
            entries.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": entries, "param_groups": optimizer.state_dict()["param_groups"]})
