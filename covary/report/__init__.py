"""What runs did, as one HTML page: a function of their folders, without a script and without a request."""

from covary.report.command import report

__all__ = ["report"]
