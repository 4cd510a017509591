"""What this machine does: floors, stages, whole steps, memory, processes and evaluation, beside other libraries."""

from covary.bench.command import bench
from covary.bench.finding import Finding, Goal, Line, Spread
from covary.bench.parts import PARTS, Part
from covary.bench.report import Entry, Report, markdown
from covary.bench.settings import SETTINGS, Case, Effort, Setting

__all__ = [
    "PARTS",
    "SETTINGS",
    "Case",
    "Effort",
    "Entry",
    "Finding",
    "Goal",
    "Line",
    "Part",
    "Report",
    "Setting",
    "Spread",
    "bench",
    "markdown",
]
