"""Train a run of a study, measure it, and keep what came of it as one small JSON file."""

import json
import shlex
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import covary
from covary import config
from covary.dist import choose_device
from covary.errors import InputError
from covary.evaluation.source import resolve
from covary.meter import passport
from covary.rundir import RunDir, write_atomic
from covary.training import Session, train
from study.plan import choose_row, choose_study, run_of, work_of
from study.sets import name_of, spec_of

UNTRAINED = "untrained"
DIGITS = 6  # significant, of a metric


@dataclass(frozen=True, kw_only=True)
class Place:
    """Folders: of image sets, of runs (large), of results (small, kept in the repository), of stores and features."""

    sets: Path
    runs: Path
    results: Path
    cache: Path | None


def result_file(study: str, row: str, seed: int, results: Path) -> Path:
    """Return where a run's numbers are kept."""
    return results / study / _folder_name(row) / f"seed-{seed}.json"


def run_folder(study: str, row: str, seed: int, place: Place, *, again: bool = False) -> Path:
    """Return the folder of a run; again: of its repetition."""
    return place.runs / study / _folder_name(row) / f"seed-{seed}{'-again' if again else ''}"


def run_study(study: str, rows: list[str], seeds: list[int], place: Place) -> None:
    """Train and measure what has no results yet, seed after seed; then the untrained weights of the first run."""
    for seed in seeds:
        for row in rows:
            if seed < choose_row(study, row).seeds and not result_file(study, row, seed, place.results).is_file():
                _keep(measured(study, row, seed, place), place)
    if rows and not result_file(study, UNTRAINED, 0, place.results).is_file():
        _keep(measured_untrained(study, rows[0], place), place)


def measured(study: str, row: str, seed: int, place: Place, *, again: bool = False) -> dict[str, Any]:
    """Train a run, or continue it, and measure it; return what is kept of it.

    again: in a folder of its own, to compare with what was kept.
    """
    folder = run_folder(study, row, seed, place, again=again)
    run = run_of(study, row, seed=seed, data=spec_of(choose_study(study).data, place.sets, place.runs))
    print(f"train    {study} {row} seed {seed}  {folder}", flush=True)
    train(run, folder, Session(cache=place.cache, knn_epochs=-1, log_steps=20))
    logged = [json.loads(line) for line in RunDir(folder).metrics_file.read_text().splitlines()]
    rate = statistics.median(line["images_per_second"] for line in logged if "images_per_second" in line)
    steps = max(line["step"] for line in logged)
    return {
        **_head(study, row, seed),
        "run": _without_place(config.to_json(run.resolved(choose_device("auto")))),
        "steps": steps,
        "minutes": round(steps * run.batch_size / rate / 60, 2),
        **_measure(study, str(folder), folder, place),
    }


def measured_untrained(study: str, row: str, place: Place) -> dict[str, Any]:
    """Measure the encoder of a row with the weights that it began with."""
    folder = run_folder(study, row, 0, place)
    return {
        **_head(study, UNTRAINED, 0),
        **_measure(study, f"untrained:{folder}", folder.with_name("untrained"), place),
    }


def differences(kept: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Return what two measurements of one run disagree in: weights, or a metric to its last digit."""
    lines = [] if kept["weights"] == found["weights"] else ["weights"]
    numbers = [
        {
            (each["task"], each["data"], name): value
            for each in side["results"]
            for name, value in each["metrics"].items()
        }
        for side in (kept, found)
    ]
    names = numbers[0].keys() | numbers[1].keys()
    return lines + [" ".join(name) for name in sorted(names) if numbers[0].get(name) != numbers[1].get(name)]


def read_results(results: Path, study: str) -> list[dict[str, Any]]:
    """Return all that is kept of a study, in the order of its rows and of seeds."""
    order = [UNTRAINED, *choose_study(study).rows]
    found = [_read(file) for file in sorted((results / study).glob("*/seed-*.json"))]
    return sorted(found, key=lambda each: (order.index(each["row"]), each["seed"]))


def _read(file: Path) -> dict[str, Any]:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"The result {file} is damaged ({error}); restore it.") from error


def _head(study: str, row: str, seed: int) -> dict[str, Any]:
    command = f"python -m study run {study}"
    if row != UNTRAINED:
        command += f" --rows {shlex.quote(row)} --seeds {seed}"
    return {"study": study, "row": row, "seed": seed, "command": command}


def _measure(study: str, source: str, folder: Path, place: Place) -> dict[str, Any]:
    """Measure an encoder on everything that the study measures; what is measured already is read from the folder."""
    begin, results = time.perf_counter(), []
    for task, data in work_of(study):
        file = folder / "results" / f"{task}-{name_of(data)}.json"
        if not file.is_file():
            print(f"measure  {source}  {task} on {data}", flush=True)
            spec = spec_of(data, place.sets, place.runs)
            covary.evaluate(source, data=spec, task=task, out=file, cache=place.cache, image_size=None)
        found = json.loads(file.read_text(encoding="utf-8"))
        metrics = {name: float(f"{value:.{DIGITS}g}") for name, value in found["metrics"].items()}
        results.append({"task": task, "data": name_of(data), "protocol": found["protocol"], "metrics": metrics})
    return {
        "weights": resolve(source).weights,
        "machine": passport(choose_device("auto")),
        "minutes_of_measuring": round((time.perf_counter() - begin) / 60, 2),
        "results": results,
    }


def _without_place(run: dict[str, Any]) -> dict[str, Any]:
    """Return a run's values with the name of its images in place of where they lie."""
    return {**run, "data": name_of(str(run["data"]))}


def _folder_name(row: str) -> str:
    return row.replace(": ", "-").replace(" ", "-")


def _keep(content: dict[str, Any], place: Place) -> None:
    file = result_file(content["study"], content["row"], content["seed"], place.results)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    print(f"kept     {file}", flush=True)
