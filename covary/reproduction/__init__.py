"""The paper's tables made again: runs trained, measured, and set beside the printed numbers."""

from covary.reproduction.command import reproduce
from covary.reproduction.paper import PAPER, Printed
from covary.reproduction.report import Line, Number, Report
from covary.reproduction.scales import SCALES, Scale
from covary.reproduction.tables import TABLES, Column, Measurement, Table

__all__ = [
    "PAPER",
    "SCALES",
    "TABLES",
    "Column",
    "Line",
    "Measurement",
    "Number",
    "Printed",
    "Report",
    "Scale",
    "Table",
    "reproduce",
]
