"""What a table's numbers come from, and where that differs from the paper: the words in and below it."""

import json
from collections.abc import Iterable, Mapping, Sequence

from covary import config
from covary.reproduction.measuring import UNTRAINED, Measured
from covary.reproduction.paper import SETS
from covary.reproduction.plan import Planned, deviations
from covary.reproduction.scales import PAPER_STEPS, SCALES, Scale
from covary.reproduction.stages import Checked, Place, Work, options_of, work_of
from covary.reproduction.tables import Images, Table, columns_of
from covary.run import environment
from covary.rundir import RunDir

OUT_DOMAIN = ("out-domain", "out-domain mean")
PACKAGES = ("covary", "torch", "torchvision", "numpy", "python")


def facts_of(table: Table, planned: Sequence[Planned], measured: Sequence[Measured], *, place: Place) -> dict[str, str]:
    """Return what the numbers come from, as the runs themselves say; values of several runs are listed."""
    folders = [] if "cost" in table.columns else [(each, RunDir(each.folder)) for each in planned]
    trained = [(each, saved) for each, folder in folders if (saved := folder.read_run()) is not None]
    machines = [saved["environment"] for _, saved in trained] or [environment(place.device)]
    results = [result for each in measured for result in each.results.values()]
    runs = [each.run.resolved(place.device) for each in planned]
    facts = {
        "encoder": _listed(f"{run.encoder}, stem {run.stem}" for run in runs),
        "image size": _listed(f"{run.augment.size} px" for run in runs),
        "batch size": _listed(run.batch_size for run in runs),
        "machine": _listed(f"{m['device']} ({m['device_name']}), {m['threads']} threads" for m in machines),
        "versions": _listed(", ".join(f"{name} {m[name]}" for name in PACKAGES) for m in machines),
        "commit": _listed([*(machine["commit"] for machine in machines), *(result.commit for result in results)]),
        "measuring": _minutes(result.seconds for result in results),
    }
    if not trained:
        return facts
    images = [saved["environment"]["images"] for _, saved in trained]
    return {
        "trained on": _listed(f"{each.run.data}, {n:,} images" for (each, _), n in zip(trained, images, strict=True)),
        "epochs": _listed(run.epochs for run in runs),
        "steps": _listed(
            f"{each.run.epochs * (n // each.run.batch_size):,}" for (each, _), n in zip(trained, images, strict=True)
        ),
        "seeds": str(len({each.seed for each in planned})),
        **facts,
        "training": _minutes(_seconds_of_training(each) for each, _ in trained),
    }


def differences_of(
    table: Table,
    scale: Scale,
    planned: Sequence[Planned],
    *,
    images: Images,
    checked: Checked,
    place: Place,
) -> tuple[str, ...]:
    """Return a line for everything in which runs and measurement differ from the paper's setting."""
    lines = list(deviations(planned))
    seeds, rows = len({each.seed for each in planned}), {each.row for each in planned}
    if seeds != table.seeds:
        lines.append(f"seeds: {table.seeds} -> {seeds}")
    if left_out := [row for row in table.rows if row not in rows]:
        lines.append(f"rows left out: {', '.join(left_out)}")
    if set(table.columns) & set(OUT_DOMAIN) and images.out_domain != SETS:
        lines.append(f"sets: {', '.join(SETS)} -> {', '.join(images.out_domain)}")
    lines += [f"left out, {data}: {why}" for (_, data), why in checked.missing.items()]
    tasks = [task for task, _ in work_of(columns_of(table, images))]
    lines += config.differences(options_of(tasks, SCALES["paper"].options), options_of(tasks, place.options))
    if "cost" in table.columns:
        lines.append("device: NVIDIA RTX 3090 -> see machine; update of the weights: not timed -> timed")
        if scale.steps != PAPER_STEPS:
            lines.append(f"steps timed: {PAPER_STEPS} after {PAPER_STEPS} -> {scale.steps} after {scale.warmup}")
    return tuple(lines)


def notes_of(
    table: Table, measured: Sequence[Measured], *, images: Images, order: Mapping[str, float]
) -> tuple[str, ...]:
    """Return what a reader must know to read the numbers."""
    notes = []
    if set(table.columns) & set(OUT_DOMAIN):
        notes.append(
            f"The mean is over {len(images.out_domain)} sets ({', '.join(images.out_domain)}), the paper's over "
            f"{len(SETS)}."
        )
    if "equivariance" in table.columns:
        notes.append(
            f"The {UNTRAINED} weights have learned no map: a ridge map is fitted for them, with labels, on training "
            "images and to this very task. It is no rival of the rows above, whose maps were not."
        )
    if len({each.seed for each in measured if each.seed is not None}) > 1:
        notes.append("± is the standard deviation of the sample of seeds; the paper does not say which its own is.")
    else:
        notes.append("One seed: differences between rows may be chance.")
    if order:
        notes.append(
            "The order of rows is Spearman's correlation of ours with the paper's in a column: 1 is the same order, "
            "-1 the reverse."
        )
    return tuple(notes)


def protocols_of(measured: Sequence[Measured]) -> tuple[str, ...]:
    """Return how each task was done on each set of images.

    Where it was not done in the same way for all rows, a line begins with the names of those for which it holds.
    """
    found: dict[Work, dict[str, list[str]]] = {}
    for each in measured:
        for work, result in each.results.items():
            found.setdefault(work, {}).setdefault(result.protocol, []).append(each.row)
    lines = []
    for (task, data), protocols in found.items():
        for protocol, rows in protocols.items():
            held = f"{', '.join(dict.fromkeys(rows))}: " if len(protocols) > 1 else ""
            lines.append(f"{held}{task}, {data}: {protocol}")
    return tuple(lines)


def _seconds_of_training(each: Planned) -> float:
    """Return how long a run's steps took, from the rates in its log; interruptions are left out."""
    seconds, before = 0.0, 0
    for line in RunDir(each.folder).metrics_file.read_text(encoding="utf-8").splitlines():
        logged = json.loads(line)
        if "images_per_second" in logged:
            seconds += (logged["step"] - before) * each.run.batch_size / logged["images_per_second"]
            before = logged["step"]
    return seconds


def _minutes(seconds: Iterable[float]) -> str:
    return f"{sum(seconds) / 60:.1f} minutes"


def _listed(values: Iterable[object]) -> str:
    return "; ".join(dict.fromkeys(str(value) for value in values))
