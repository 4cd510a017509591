"""The numbers of a table: results of ``covary evaluate`` and of ``cost``, each in a file that is found again."""

import hashlib
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from covary import config
from covary.errors import InputError
from covary.evaluation import Result, evaluate
from covary.evaluation.result import write
from covary.evaluation.source import resolve
from covary.meter import passport
from covary.reproduction.cost import cost
from covary.reproduction.plan import Planned
from covary.reproduction.scales import Scale
from covary.reproduction.stages import Checked, Place, Work, options_of
from covary.reproduction.tables import NOISE
from covary.rundir import RunDir
from covary.version import __version__, commit

Results = dict[Work, Result]

UNTRAINED = "untrained"
REFERENCE = "simclr"  # of the ratios of table 1


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The results of one encoder: a row and seed of a table, or the untrained weights that its rows start from.

    seed: None for what is no run.
    """

    row: str
    seed: int | None
    results: Results


def measure_missing(
    planned: Sequence[Planned], work: Sequence[Work], *, checked: Checked, place: Place
) -> list[Measured]:
    """Return the results of every run, and of untrained weights under the encoder of the first.

    A result lies in ``results/TASK-DATA-DIGEST.json`` of the run's folder. The digest is of the version, the weights,
    the images and the options of the task; where one is another, the encoder is measured again.
    """
    first = planned[0]
    untrained = first.folder.parents[1] / UNTRAINED
    sources = [
        (UNTRAINED, None, f"untrained:{first.folder}", untrained),
        *((each.row, each.seed, str(each.folder), each.folder) for each in planned),
    ]
    measured = []
    for number, (row, seed, source, folder) in enumerate(sources, start=1):
        results = {}
        weights = resolve(source).weights
        for task, data in work:
            asked = {
                "covary": __version__,
                "weights": weights,
                "size": first.run.augment.size,
                "images": checked.fingerprints[task, data],
                "options": options_of([task], place.options),
            }
            file = result_file(folder, task, data, asked)
            if not file.is_file():
                place.say(f"measure  {number}/{len(sources)}  {source}: {task} on {data}")
                evaluate(
                    source,
                    data=data,
                    task=task,
                    out=file,
                    options=place.options,
                    device=place.device.type,
                    root=place.root,
                    cache=place.cache,
                )
            results[task, data] = read_result(file)
        measured.append(Measured(row=row, seed=seed, results=results))
    return measured


def time_missing(
    planned: Sequence[Planned], *, reference: Planned, scale: Scale, out: Path, place: Place
) -> list[Measured]:
    """Return the cost of a step of every run in multiples of the reference's.

    A result lies in ``cost/results/cost-noise-DIGEST.json`` below ``out``; the digest is of both runs, the machine and
    how many steps are timed.
    """
    measured = []
    for number, each in enumerate(planned, start=1):
        asked = {
            **passport(place.device),
            "run": config.to_json(each.run.resolved(place.device)),
            "reference": config.to_json(reference.run.resolved(place.device)),
            "steps": [scale.steps, scale.warmup],
        }
        file = result_file(out / "cost", "cost", NOISE, asked)
        if not file.is_file():
            place.say(f"measure  {number}/{len(planned)}  the step of {each.row}")
            write(file, [_time(each, reference, scale, place)])
        measured.append(Measured(row=each.row, seed=each.seed, results={("cost", NOISE): read_result(file)}))
    return measured


def _time(each: Planned, reference: Planned, scale: Scale, place: Place) -> Result:
    begin = time.perf_counter()
    found = cost(each.run, reference=reference.run, device=place.device, steps=scale.steps, warmup=scale.warmup)
    run, machine = each.run.resolved(place.device), passport(place.device)
    metrics = {
        "seconds": found.seconds,
        "ratio": found.ratio,
        "ratio.low_quartile": found.quartiles[0],
        "ratio.high_quartile": found.quartiles[1],
        "standing_megabytes": found.standing / 1e6,
        "peak_megabytes": found.peak / 1e6,
    }
    return result_since(
        begin,
        task="cost",
        protocol=f"forward, backward and update of {run.encoder} at {run.augment.size} px, batch {run.batch_size}, "
        f"{run.precision}, in turn with {reference.row}, median of {scale.steps} steps after {scale.warmup}; "
        f"{machine['device']}, {machine['threads']} threads, torch {machine['torch']}",
        source=each.row,
        data=NOISE,
        metrics={name: value for name, value in metrics.items() if not math.isnan(value)},
    )


def result_since(
    begin: float, *, task: str, protocol: str, source: str, data: str, metrics: dict[str, float]
) -> Result:
    """Return a result of this version that took from ``begin``, of ``time.perf_counter``, until now."""
    return Result(
        task=task,
        protocol=protocol,
        source=source,
        data=data,
        metrics=metrics,
        seconds=round(time.perf_counter() - begin, 3),
        covary=__version__,
        commit=commit(),
    )


def result_file(folder: Path, task: str, data: str, asked: Mapping[str, object]) -> Path:
    """Return where a result is kept, by a digest of everything that it depends on."""
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]
    file = RunDir(folder).result_file(task, data)
    return file.with_name(f"{file.stem}-{digest}.json")


def read_result(file: Path) -> Result:
    """Return the result in a file; raise ``InputError`` where there is another thing in it."""
    try:
        result = Result(**json.loads(file.read_text(encoding="utf-8")))
        _check(result)
        return result
    except (OSError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{file} holds no result ({error}); remove it, and it is measured again.") from error


def _check(result: Result) -> None:
    """Raise TypeError where a result holds values of other types than its fields."""
    words = {name: getattr(result, name) for name in ("task", "protocol", "source", "data", "covary")}
    numbers = {"seconds": result.seconds, **(result.metrics if isinstance(result.metrics, dict) else {"metrics": None})}
    wrong = [name for name, value in words.items() if not isinstance(value, str)]
    wrong += [name for name, value in numbers.items() if type(value) not in (int, float)]
    if wrong or not isinstance(result.commit, str | None):
        raise TypeError(f"of another type: {', '.join(wrong) or 'commit'}")
