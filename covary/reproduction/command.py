"""``covary reproduce``: a table of the paper at a scale, trained, measured and set beside the printed numbers."""

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path

from covary import dist
from covary.errors import InputError
from covary.evaluation import Options
from covary.evaluation.result import check_writable
from covary.evaluation.transfer import expand
from covary.reproduction import figures
from covary.reproduction.facts import OUT_DOMAIN, differences_of, facts_of, notes_of, protocols_of
from covary.reproduction.measuring import REFERENCE, measure_missing, time_missing
from covary.reproduction.paper import PAPER
from covary.reproduction.plan import choose_rows, choose_scale, choose_seeds, choose_table, plan
from covary.reproduction.render import markdown, page
from covary.reproduction.report import Report, lines_of, order_of
from covary.reproduction.scales import Scale
from covary.reproduction.stages import Checked, Place, Say, Work, check_images, train_all, unfinished, work_of
from covary.reproduction.tables import FIGURES, Images, Table, columns_of
from covary.rundir import write_atomic


def reproduce(
    table: str,
    *,
    out: str | Path,
    scale: str = "demo",
    data: str | None = None,
    sets: Sequence[str] | None = None,
    detection: str | None = None,
    rows: Sequence[str] | None = None,
    seeds: int | None = None,
    epochs: int | None = None,
    options: Options | None = None,
    device: str = "auto",
    root: str | Path | None = None,
    cache: str | Path | None = None,
    say: Say = print,
) -> Report:
    """Make a table of the paper again: train what is missing, measure what is missing, write the table.

    Runs lie in ``out/runs/SETTING/ROW/seed-N``, where all tables find them; the same call goes on where it was
    interrupted. The table is written to ``out/TABLE.json``, ``.md`` and ``.html``.

    table:     a name of ``TABLES`` or ``FIGURES``, whose picture is written to ``out/FIGURE.png``.
    scale:     a name of ``SCALES``: demo, small or paper.
    data:      SPEC of the images to train on and to measure in-domain; None takes the scale's.
    sets:      SPECs of the out-domain sets; None takes the scale's.
    detection: SPEC of the images with boxes of table 4; None takes the scale's.
    rows:      some of the table's rows; None takes all.
    seeds:     how many; None takes the paper's number, at scale demo one.
    epochs:    None takes the setting's.
    options:   of the tasks; None takes the scale's.
    device, root, cache: as for ``evaluate``.
    say:       is told of each stage in a line.

    Raises InputError before any long work: an unknown name, an option that the table would ignore, images that cannot
    be read, a folder that holds another run. TrainingError, Interrupted: see ``training.train``.
    """
    chosen, at, out = choose_table(table), choose_scale(scale), Path(out)
    _refuse_ignored(table, chosen, sets=sets, detection=detection, data=data, epochs=epochs, seeds=seeds)
    _refuse_many_processes()
    _refuse_options(chosen, options or at.options)
    for suffix in ("json", "md", "html", "png"):
        check_writable(out / f"{table}.{suffix}")
    planned = plan(
        chosen,
        at,
        rows=choose_rows(rows, chosen.rows),
        seeds=choose_seeds(seeds, scale=at, table=chosen),
        data=data,
        epochs=epochs,
        out=out,
    )
    place = Place(
        device=dist.choose_device(device),
        root=None if root is None else Path(root),
        cache=None if cache is None else Path(cache),
        options=options or at.options,
        say=say,
    )
    images = _images(chosen, at, data=planned[0].run.data, sets=sets, detection=detection)
    if "cost" in chosen.columns:
        (reference,) = plan(chosen, at, rows=[REFERENCE], seeds=1, data=None, epochs=None, out=out)
        checked = Checked(fingerprints={}, missing={})
        measured = time_missing(planned, reference=reference, scale=at, out=out, place=place)
    else:
        left = unfinished(planned, place=place)
        checked = check_images(_work(table, chosen, images), run=planned[0].run, place=place)
        images = _at_hand(images, checked)
        if table in FIGURES:
            figures.check_images(planned, kind=chosen.columns[0], place=place)
        say(f"train  {len(planned) - len(left)} of {len(planned)} runs are there")
        train_all(left, place=place)
        if table in FIGURES:
            measured = figures.draw(planned, kind=chosen.columns[0], file=out / f"{table}.png", place=place)
        else:
            measured = measure_missing(planned, _work(table, chosen, images), checked=checked, place=place)
    columns = columns_of(chosen, images)
    lines = lines_of(measured, columns, PAPER.get(table, {}))
    order = order_of(lines, columns)
    report = Report(
        table=table,
        title=chosen.title,
        scale=scale,
        facts=facts_of(chosen, planned, measured, place=place),
        columns=columns,
        lines=lines,
        order=order,
        deviations=differences_of(chosen, at, planned, images=images, checked=checked, place=place),
        notes=notes_of(chosen, measured, images=images, order=order),
        protocols=protocols_of(measured),
    )
    write_atomic(out / f"{table}.json", json.dumps(dataclasses.asdict(report), indent=2, ensure_ascii=False) + "\n")
    picture = out / f"{table}.png" if table in FIGURES else None
    write_atomic(out / f"{table}.md", markdown(report, picture=picture))
    write_atomic(out / f"{table}.html", page(report, picture=picture))
    return report


def _work(name: str, table: Table, images: Images) -> list[Work]:
    """Return the tasks of ``covary evaluate`` and the SPECs behind the columns of a table; a figure has none."""
    return [] if name in FIGURES else work_of(columns_of(table, images))


def _images(table: Table, scale: Scale, *, data: str, sets: Sequence[str] | None, detection: str | None) -> Images:
    """Return the SPECs that a table measures on; raise InputError where one is not said and the scale has none."""
    found = Images(
        in_domain=data,
        out_domain=tuple(expand(scale.out_domain if sets is None else sets)),
        detection=detection or scale.detection,
    )
    if not found.out_domain:
        raise InputError("sets is empty; name one or more sets of images, or leave it out.")
    if "detection" in table.columns and found.detection is None:
        raise InputError(
            "Object detection at this scale needs images with boxes; name a folder in VOC layout with "
            "--detection FOLDER."
        )
    return found


def _at_hand(images: Images, checked: Checked) -> Images:
    """Return the images without the out-domain sets that are nowhere to be had.

    Raises InputError where nothing is left of what the table measures on.
    """
    reasons = {data: why for (_, data), why in checked.missing.items()}
    left = tuple(data for data in images.out_domain if data not in reasons)
    if reasons and (not left or images.detection in reasons):
        raise InputError(f"No images are left to measure on: {'; '.join(reasons.values())}")
    return dataclasses.replace(images, out_domain=left)


def _refuse_ignored(name: str, table: Table, **given: object) -> None:
    """Raise InputError for an option that the table has no use for."""
    useless = {
        "sets": not set(table.columns) & set(OUT_DOMAIN),
        "detection": "detection" not in table.columns,
        "data": "cost" in table.columns,
        "epochs": "cost" in table.columns,
        "seeds": "cost" in table.columns or name in FIGURES,
    }
    for option, ignored in useless.items():
        if ignored and given[option] is not None:
            raise InputError(f"{name} has no use for {option}; leave it out.")


def _refuse_options(table: Table, options: Options) -> None:
    """Raise InputError for options of the tasks that leave the table without a number."""
    if {"prediction", "prediction of all"} & set(table.columns) and "linear" not in options.prediction.probes:
        raise InputError("prediction probes leave out linear, whose numbers the tables show; add it.")
    if "equivariance" in table.columns and options.equivariance.predictor == "own":
        raise InputError(
            "equivariance predictor is own, but untrained weights, which have learned no map, are a row of the table; "
            "leave it out: rows that have learned a map are measured by it."
        )


def _refuse_many_processes() -> None:
    launch = dist.launch_of(os.environ)
    if launch is not None and launch.world_size > 1:
        raise InputError(
            "reproduce is one process; train its runs on several with covary pretrain --recipe SETTING/ROW "
            "--out OUT/runs/SETTING/ROW/seed-N --seed N, and it takes them as they are."
        )
