"""The parts of the bench by name."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from covary.bench.evaluation import evaluation
from covary.bench.finding import Finding
from covary.bench.floor import floor
from covary.bench.memory import step_memory
from covary.bench.processes import processes
from covary.bench.rivals.parts import augmentation, rivals
from covary.bench.settings import Case
from covary.bench.stages import stages
from covary.bench.stl import stl


@dataclass(frozen=True, kw_only=True)
class Part:
    """A measurement.

    measure: does it for a case.
    says:    what it measures, in a line.
    once:    for images of one size, whatever the settings; otherwise for each of them.
    """

    measure: Callable[[Case], Finding]
    says: str
    once: bool = False


PARTS: Mapping[str, Part] = MappingProxyType(
    {
        "floor": Part(measure=floor, says="SimCLR's step beside the encoder's forward and backward alone"),
        "stages": Part(measure=stages, says="The stages of SimCLR's step, one after the other"),
        "stl": Part(measure=stl, says="STL's step beside SimCLR's"),
        "memory": Part(measure=step_memory, says="Peak memory of a step, and of the process that takes it"),
        "rivals": Part(measure=rivals, says="SimCLR's step beside those of torchvision, kornia and lightly"),
        "processes": Part(measure=processes, says="SimCLR's step by several processes of this machine"),
        "evaluation": Part(measure=evaluation, says="Features, kNN and the linear sweep"),
        "augmentation": Part(measure=augmentation, says="One view of each image, the augmentation alone", once=True),
    }
)
