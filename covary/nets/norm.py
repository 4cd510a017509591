"""BatchNorm whose statistics are those of the whole batch of all processes."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from covary import dist
from covary.errors import InputError

PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


class BatchNormOverRanks(_BatchNorm):
    """``nn.BatchNorm`` of the whole batch of all processes on a CPU, which ``nn.SyncBatchNorm`` refuses.

    In training mode the mean and the biased variance of every channel are taken over rows and space of all processes,
    with gradient; the running variance follows the unbiased one. Every process brings equally many rows. In evaluation
    mode, and in a single process, it is ``nn.BatchNorm``.

    Input and output (b, c, ...); parameters, buffers and their names are those of ``nn.BatchNorm``.
    """

    def _check_input_dim(self, input: Tensor) -> None:
        if input.ndim < 2:
            raise InputError(f"BatchNorm needs an input of the shape (b, c, ...), got {tuple(input.shape)}.")

    def forward(self, input: Tensor) -> Tensor:
        """Return the normalised input, scaled and shifted by the parameters."""
        if dist.world_size() == 1 or not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        x = input.to(torch.promote_types(input.dtype, torch.float32)).movedim(1, -1)
        axes = tuple(range(x.ndim - 1))
        mean = dist.mean_over_ranks(x.mean(axes))
        centred = x - mean
        var = dist.mean_over_ranks(centred.square().mean(axes))
        count = x.numel() // x.shape[-1] * dist.world_size()
        self._follow(mean.detach(), var.detach() * (count / (count - 1)))
        y = centred * torch.rsqrt(var + self.eps)
        if self.affine:
            y = y * self.weight + self.bias
        return y.movedim(-1, 1).to(input.dtype)

    def _follow(self, mean: Tensor, unbiased_var: Tensor) -> None:
        """Move the running statistics towards those of this batch."""
        if self.running_mean is None or self.running_var is None or self.num_batches_tracked is None:
            return
        self.num_batches_tracked += 1
        share = 1 / self.num_batches_tracked.item() if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(unbiased_var.to(self.running_var.dtype), share)


def convert_batchnorm(module: nn.Module, device: torch.device) -> nn.Module:
    """Return ``module`` with every BatchNorm taking its statistics over all processes; changed in place.

    On a GPU each becomes torch's ``nn.SyncBatchNorm``, on a CPU a ``BatchNormOverRanks``. Parameters, buffers and the
    names of the state dict stay.

    Raises ``InputError`` for a BatchNorm of another library (timm has some with the activation built in), which none
    can stand in for.
    """
    for name, layer in module.named_modules():
        if isinstance(layer, _BatchNorm) and type(layer) not in (*PLAIN, BatchNormOverRanks, nn.SyncBatchNorm):
            raise InputError(
                f"Layer '{name}' is a {type(layer).__name__}, which cannot be synchronised over processes; "
                "train in one process or choose an encoder with plain BatchNorm or none."
            )
    return nn.SyncBatchNorm.convert_sync_batchnorm(module) if device.type == "cuda" else _over_ranks(module)


def buffers_agree(module: nn.Module) -> bool:
    """Return whether all buffers are those of synchronised BatchNorm, which are equal in all processes."""
    layers = [layer for layer in module.modules() if isinstance(layer, BatchNormOverRanks | nn.SyncBatchNorm)]
    agreeing = {id(buffer) for layer in layers for buffer in layer.buffers()}
    return all(id(buffer) in agreeing for buffer in module.buffers())


def _over_ranks(module: nn.Module) -> nn.Module:
    if not isinstance(module, PLAIN):
        for name, child in module.named_children():
            setattr(module, name, _over_ranks(child))
        return module
    twin = BatchNormOverRanks(
        module.num_features, module.eps, module.momentum, module.affine, module.track_running_stats
    )
    for name, parameter in module.named_parameters():
        setattr(twin, name, parameter)
    for name, buffer in module.named_buffers():
        setattr(twin, name, buffer)
    return twin.train(module.training)
