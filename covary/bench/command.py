"""``covary bench``: what this machine does, measured and written part by part."""

import gc
import importlib.metadata
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import torch

from covary import dist
from covary.bench.finding import Finding
from covary.bench.parts import PARTS
from covary.bench.report import Entry, Report, headline, markdown, to_json
from covary.bench.settings import Case, Compile, Effort, choose, choose_cases
from covary.data.cores import cores
from covary.errors import InputError
from covary.evaluation.result import check_writable
from covary.meter import out_of_memory
from covary.run import Precision, environment
from covary.rundir import write_atomic

OTHERS = ("kornia", "lightly")


def bench(
    *,
    out: str | Path = "bench.json",
    settings: Sequence[str] | None = None,
    parts: Sequence[str] | None = None,
    device: str = "auto",
    batch_size: int | None = None,
    precision: Sequence[Precision] = ("auto",),
    compile: Sequence[Compile] = ("off",),
    augmentation_size: int = 96,
    effort: Effort | None = None,
    say: Callable[[str], object] = print,
) -> Report:
    """Measure what this machine does; write it as JSON and, beside it, as Markdown, after every part.

    out:        the JSON file, or a folder for ``bench.json``.
    settings:   names of ``SETTINGS``; None takes those of ``DEFAULTS`` for the device.
    parts:      names of ``PARTS``; None takes all.
    batch_size: images of a step; None takes the setting's.
    precision, compile: one or more; each setting is measured in each combination.
    augmentation_size:  pixels of images and views of the part ``augmentation``.
    effort:     None takes the default.
    say:        is told what is begun and what was found, in a line each.

    A part that memory does not suffice for is noted, and the next one begun.
    Raises InputError before any long work: an unknown name, a value out of its range, a file that cannot be written.
    """
    place, effort = dist.choose_device(device), effort or Effort()
    launch = dist.launch_of(os.environ)
    if launch is not None:
        raise InputError("bench starts its own processes; start it once, without torchrun or srun, with --processes N.")
    file = _file(Path(out))
    cases = choose_cases(
        settings, device=place, batch_size=batch_size, precisions=precision, compiles=compile, effort=effort
    )
    work = plan(choose("part", [*PARTS] if parts is None else parts, PARTS), cases, augmentation_size=augmentation_size)
    report = Report(facts=_facts(cases[0]))
    for number, (part, case) in enumerate(work, start=1):
        say(f"{number}/{len(work)}  {case.title}: {part}")
        begin = time.perf_counter()
        finding = _measure(part, case)
        entry = Entry(part=part, case=case, finding=finding, took=time.perf_counter() - begin)
        say(f"{' ' * len(f'{number}/{len(work)}')}  {entry.took:.0f} s: {headline(entry)}")
        report = replace(report, entries=(*report.entries, entry))
        write_atomic(file, json.dumps(to_json(report), indent=2, ensure_ascii=False, allow_nan=False) + "\n")
        write_atomic(file.with_suffix(".md"), markdown(report))
        _tidy(case)
    return report


def plan(parts: Sequence[str], cases: Sequence[Case], *, augmentation_size: int) -> list[tuple[str, Case]]:
    """Return what is to be measured, in order: all parts of a case, then of the next; what is measured once, last.

    Raises InputError where a batch does not split over the processes, or the size is none.
    """
    if augmentation_size < 1:
        raise InputError(f"augmentation_size is {augmentation_size}; expected 1 or more.")
    if "processes" in parts:
        for case in cases:
            case.run().check_world(case.effort.processes)
    first = cases[0]
    once = replace(
        first,
        name=f"{augmentation_size} px",
        setting=replace(first.setting, size=augmentation_size),
        precision="fp32",
        compile="off",
    )
    return [
        *((part, case) for case in cases for part in parts if not PARTS[part].once),
        *((part, once) for part in parts if PARTS[part].once),
    ]


def _measure(part: str, case: Case) -> Finding:
    try:
        return PARTS[part].measure(case)
    except (MemoryError, RuntimeError) as error:
        if out_of_memory(error):
            return Finding(notes=("The memory is too small for it; lower --batch-size.",))
        raise


def _tidy(case: Case) -> None:
    """Give back what a part has left: memory, and compiled code, of which torch keeps a limited number of forms."""
    if case.compile == "on":
        torch.compiler.reset()
    gc.collect()
    if case.device.type == "cuda":
        torch.cuda.empty_cache()


def _facts(case: Case) -> dict[str, str]:
    effort = case.effort
    found = {name: str(value) for name, value in environment(case.device).items() if name != "processes"}
    others = {name: _version(name) for name in OTHERS}
    turns = f"{effort.repeats} rounds, turns of {effort.block_seconds:g} s or one step"
    date = datetime.now(UTC).isoformat(timespec="minutes")
    return {**found, **others, "cores": str(cores()), "workers": str(case.workers), "rounds": turns, "date": date}


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _file(out: Path) -> Path:
    """Return the JSON file; raise InputError where it, or the Markdown beside it, cannot be written."""
    file = out if out.suffix == ".json" and not out.is_dir() else out / "bench.json"
    for each in (file, file.with_suffix(".md")):
        check_writable(each)
    return file
