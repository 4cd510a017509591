"""A run folder, or a file of results alone, as a report shows it: checked, and without the user's paths."""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from covary.disk import read_file
from covary.errors import InputError
from covary.evaluation.result import Result
from covary.private import run_names, without_paths
from covary.rundir import RunDir


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A logged value: steps and values (n,)."""

    steps: NDArray[np.float64]
    values: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class RunFiles:
    """What the files of a run folder say, or a file of results of which no run is at hand.

    settings, environment: leaves of run.json by their dotted place.
    curves:      of each value in metrics.jsonl.
    results:     of the files in results/.
    first_batch: the picture's file, None where there is none.
    done:        whether the encoder was written.
    trained:     whether it is a run folder; of a file of results all but these is empty.
    """

    name: str
    settings: Mapping[str, Any]
    environment: Mapping[str, Any]
    curves: Mapping[str, Curve]
    results: tuple[Result, ...]
    first_batch: Path | None
    done: bool
    trained: bool = True


def read_runs(paths: Sequence[Path]) -> tuple[RunFiles, ...]:
    """Read run folders, and files that ``covary evaluate --out`` wrote, in order.

    Raises InputError: none, one that is given twice or holds no run, or a file in one that is damaged.
    """
    if not paths:
        raise InputError("No run is given; name one or several run folders.")
    places = [path.resolve() for path in paths]
    for place in places:
        if places.count(place) > 1:
            raise InputError(f"The run {place} is given more than once; name each run once.")
    return tuple(map(_read_run, paths, run_names(places)))


def _read_run(path: Path, name: str) -> RunFiles:
    if path.is_file():
        return _read_measured(path, name)
    folder = RunDir(path)
    saved = folder.read_run()
    if saved is None:
        raise InputError(
            f"{path} holds no run: run.json is missing; give a folder that covary pretrain made, "
            "or a file that covary evaluate --out wrote."
        )
    results = [result for file in sorted(path.glob("results/*.json")) for result in _read_results(file)]
    spec = saved["run"].get("data")
    known = [str(path), str(path.resolve()), *([spec] if isinstance(spec, str) else [])]
    known += [text for result in results for text in (result.source, result.data)]
    picture = folder.figures / "first-batch.png"
    return RunFiles(
        name=name,
        settings=dict(leaves(without_paths(saved["run"], known))),
        environment=dict(leaves(without_paths(saved["environment"], known))),
        curves=without_paths(_read_curves(folder.metrics_file), known),
        results=tuple(Result(**without_paths(result.to_json(), known)) for result in results),
        first_batch=picture if picture.is_file() else None,
        done=folder.encoder_file.is_file(),
    )


def _read_measured(file: Path, name: str) -> RunFiles:
    results = _read_results(file)
    known = [text for result in results for text in (result.source, result.data)]
    return RunFiles(
        name=name,
        settings={},
        environment={},
        curves={},
        results=tuple(Result(**without_paths(result.to_json(), known)) for result in results),
        first_batch=None,
        done=False,
        trained=False,
    )


def leaves(value: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted place and value of whatever in a JSON object is no object."""
    for key, item in value.items():
        if isinstance(item, dict):
            yield from leaves(item, f"{place}{key}.")
        else:
            yield f"{place}{key}", item


def _read_curves(file: Path) -> dict[str, Curve]:
    """Return the logged values by name; a last line that a kill tore is left out, as on continuing."""
    try:
        lines = read_file(file).split(b"\n")
    except FileNotFoundError:
        lines = []
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror}); restore it.") from error
    found: dict[str, tuple[list[float], list[float]]] = {}
    for number, line in enumerate(lines[:-1], start=1):
        for name, value in _logged(line, f"{file} is damaged in line {number}").items():
            steps, values = found.setdefault(name, ([], []))
            steps.append(value[0])
            values.append(value[1])
    return {name: Curve(steps=np.array(steps), values=np.array(values)) for name, (steps, values) in found.items()}


def _logged(line: bytes, damaged: str) -> dict[str, tuple[float, float]]:
    """Return step and value of each name in a line of metrics.jsonl."""
    content = _parse(line, damaged)
    if not (isinstance(content, dict) and all(map(_is_number, content.values())) and "step" in content):
        raise InputError(f"{damaged}: expected an object of numbers with a step; restore the file or train anew.")
    step = float(content["step"])
    return {name: (step, float(value)) for name, value in content.items() if name not in ("step", "epoch")}


def _read_results(file: Path) -> list[Result]:
    damaged = f"The result {file} is damaged"
    try:
        content = _parse(read_file(file), damaged)
    except OSError as error:
        raise InputError(f"The result {file} cannot be read ({error.strerror}); restore or remove it.") from error
    objects = content if isinstance(content, list) else [content]
    if not all(map(_is_result, objects)):
        raise InputError(f"{damaged}: it is none of covary evaluate; evaluate again or remove the file.")
    return [Result(**content) for content in objects]


def _is_result(content: Any) -> bool:
    kinds = {"metrics": dict, "seconds": (int, float), "commit": (str, type(None))}
    return (
        isinstance(content, dict)
        and content.keys() == {field.name for field in fields(Result)}
        and all(isinstance(value, kinds.get(name, str)) for name, value in content.items())
        and _is_number(content["seconds"])
        and all(map(_is_number, content["metrics"].values()))
    )


def _is_number(value: Any) -> bool:
    """Return whether a JSON value is a number that a float holds; NaN and infinity are."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value.bit_length() < sys.float_info.max_exp
    return isinstance(value, float)


def _parse(content: bytes, damaged: str) -> Any:
    try:
        return json.loads(content.decode())  # of bytes, json would load whatever codec they look like
    except (ValueError, RecursionError) as error:
        raise InputError(f"{damaged} ({error}); restore it.") from error
