"""The teacher: networks whose weights follow those of others."""

import copy
import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn


class Teacher(nn.Module):
    """Copies of networks, the students, whose weights follow them and are never trained.

    After a step, with progress p in (0, 1] through the run and the momentum m_0 it starts from::

        w_teacher <- m w_teacher + (1 - m) w_student        m = 1 - (1 - m_0) (cos(pi p) + 1) / 2

    Parameters alone are averaged. A teacher runs in training mode, as its students do: its BatchNorm normalises by the
    batch, and its running statistics are those of its own features, not an average of the students'
    (``docs/adr/0007-teacher.md``).

    Source: BYOL (arXiv 2006.07733) section 3.1 and appendix C.1 for the schedule; buffers as in its authors' code.
    """

    def __init__(self, students: Mapping[str, nn.Module], *, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.networks = copy.deepcopy(nn.ModuleDict(students)).requires_grad_(False)
        self._students = dict(students)  # a plain dict: they are registered, saved and trained elsewhere

    @torch.no_grad()
    def follow(self, progress: float) -> None:
        """Move the weights towards the students' after a step; ``progress`` is the share of the run that is done."""
        share = (1 - self.momentum) * (math.cos(math.pi * progress) + 1) / 2
        mine: list[Tensor] = [p for name in self._students for p in self.networks[name].parameters()]
        theirs: list[Tensor] = [p for student in self._students.values() for p in student.parameters()]
        get_ema_multi_avg_fn(1 - share)(mine, theirs, 0)
