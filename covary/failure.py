"""What a run leaves behind when a step is not finite: the state before it, from which the step can be repeated."""

import torch
from torch import nn

from covary import dist
from covary.errors import TrainingError
from covary.rundir import RunDir
from covary.state import state_tensors


def not_finite(
    step: int,
    values: dict[str, float],
    *,
    lr: float,
    folder: RunDir,
    method: nn.Module,
    optimizer: torch.optim.Optimizer,
) -> TrainingError:
    """Keep the state before the step ``step`` (from 0) as the only checkpoint of ``folder.failure``; return the error.

    method, optimizer: in that state. values: means of the logged terms since the last log.
    """
    kept = ""
    if dist.is_main():
        try:
            folder.failure.remove()
            folder.failure.save_checkpoint(step, state_tensors(method, optimizer), {})
            kept = "; the same command with --replay repeats the step and tells where it began"
        except (OSError, TrainingError) as error:
            kept = f"; the state before the step cannot be kept ({error})"
    dist.barrier()
    terms = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
    return TrainingError(
        f"Loss, gradient or a statistic of BatchNorm is not finite at step {step + 1} (lr {lr:.3g}; means since the "
        f"last log: {terms}). "
        f"Nothing was updated from it; {folder.path} keeps the last checkpoint{kept}. "
        "Lower --optim.lr, add --optim.warmup-epochs, or use --precision fp32 in a new --out."
    )
