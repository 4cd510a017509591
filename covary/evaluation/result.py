"""What an evaluation leaves behind: one JSON object per task."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from covary.disk import read_file
from covary.errors import InputError
from covary.rundir import write_atomic


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Numbers by name, groups with dots between, and one line on how they came about."""

    metrics: dict[str, float]
    protocol: str


@dataclass(frozen=True, kw_only=True)
class Result:
    """One task on one encoder and one set of images.

    task:     knn, linear, ...
    protocol: one line that states everything a number depends on.
    source:   the SOURCE evaluated.
    data:     the SPEC of the images.
    metrics:  by name; accuracies are fractions.
    seconds:  of this task, computing the features included.
    covary, commit: the version that measured, and its commit where known.
    """

    task: str
    protocol: str
    source: str
    data: str
    metrics: dict[str, float]
    seconds: float
    covary: str
    commit: str | None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object."""
        return asdict(self)


def check_writable(path: Path) -> None:
    """Raise InputError unless a file can be put at ``path``; what is missing of its folder will be made."""
    if path.is_dir():
        raise InputError(f"The results file {path} is a folder; name a file in it.")
    parent = next(folder for folder in path.absolute().parents if folder.exists())
    if not parent.is_dir():
        raise InputError(f"The results file {path} cannot be written: {parent} is a file; give another out.")
    try:
        probe = parent / f".{path.name}.probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise InputError(f"The results file {path} cannot be written ({error.strerror}); give another out.") from error


def read(path: Path) -> list[Result]:
    """Return the results of a file that ``write`` wrote.

    Raises InputError: it is something else, or damaged.
    """
    try:
        content = json.loads(read_file(path).decode())
        return [Result(**fields) for fields in (content if isinstance(content, list) else [content])]
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path} holds no results ({error}); restore or remove it.") from error


def write(path: Path, results: Sequence[Result]) -> None:
    """Write one result as an object, several as a list of objects, atomically."""
    objects = [result.to_json() for result in results]
    write_atomic(path, json.dumps(objects[0] if len(objects) == 1 else objects, indent=2, allow_nan=False) + "\n")
