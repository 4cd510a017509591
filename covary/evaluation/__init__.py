"""Protocols that measure an encoder: one file each, features in, a small frozen result out; usable on any encoder."""

from covary.evaluation.command import evaluate
from covary.evaluation.knn import KnnOptions
from covary.evaluation.linear import LinearOptions
from covary.evaluation.options import Options
from covary.evaluation.result import Result
from covary.evaluation.tasks import means

__all__ = ["KnnOptions", "LinearOptions", "Options", "Result", "evaluate", "means"]
