"""Trained encoders as files that other libraries load without covary: one file a format, checked before it is there."""

from covary.export.command import FORMATS, export
from covary.export.written import Exported

__all__ = ["FORMATS", "Exported", "export"]
