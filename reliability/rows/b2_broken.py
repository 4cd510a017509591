"""B2: files that cannot be read, in a real run: left out and listed, or too many of them; the others are trained on.

covary decodes every image before the first step, so an epoch has no gaps that substitutes would have to fill.
"""

import json
import os
import shutil
import stat
from collections.abc import Callable, Iterable
from itertools import product
from pathlib import Path
from typing import Any
from unittest.mock import patch

from covary.data import folder as folders
from reliability.children import forked
from reliability.commands import TINY, Answer, command
from reliability.pictures import folder_of
from reliability.row import Count, Figure, Row, replaced

SHARES = {"5 %": (95, 5), "60 %": (40, 60), "0.1 %": (999, 1), "100 %": (0, 20)}  # whole files, broken ones
ALLOWED = ("5 %", "0.1 %")
LIMIT = 12.0  # seconds that a run may take
HTML = b"<!doctype html><title>404 Not Found</title>"

Break = Callable[[Path], object]


def no_file(file: Path) -> None:
    """Make what a copy without permission leaves: a link to a file that cannot be reached."""
    file.symlink_to("/nowhere/at/all")


def endless(file: Path) -> None:
    """Make a pipe that nobody writes to, or a link to a device without end."""
    os.mkfifo(file) if file.stem.endswith(("0", "2", "4", "6", "8")) else file.symlink_to("/dev/zero")


KINDS: dict[str, tuple[Break, Callable[[Path], bool]]] = {  # how a file is broken, and whether it is
    "empty": (Path.touch, lambda file: file.stat().st_size == 0),
    "html": (lambda file: file.write_bytes(HTML), lambda file: file.read_bytes() == HTML),
    "not reached": (no_file, lambda file: not file.exists()),
    "vanishing": (Path.touch, lambda file: not file.exists()),
    "endless": (endless, lambda file: not stat.S_ISREG(file.stat().st_mode)),
}


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Train on folders with every share of every kind of broken file."""
    count = Count()
    cases = list(product(SHARES, KINDS))
    command("pretrain", "--data", "shapes:n=16", *TINY, "--batch-size", "8", "--out", "warm", "--cache", "cache")
    for share, kind in cases[:trials]:
        here = folder / f"{share} {kind}"
        data = folder_of(here / "data", SHARES[share][0])
        (data / "folder.jpg").mkdir()
        broken = {f"broken{index}.png" for index in range(SHARES[share][1])}
        end = forked(lambda: attempt(here, share, kind, broken), limit=LIMIT)  # noqa: B023 - it is called at once
        held, fired, seen = end.value or (False, True, f"child {end.code} {end.said[-300:]}")
        count.add(f"{share} {kind}", held=held, fired=fired, seen=seen)
        shutil.rmtree(here)
    return count.figure()


def attempt(here: Path, share: str, kind: str, broken: set[str]) -> tuple[bool, bool, Any]:
    """Run one case in a folder; return whether the promise held, whether the files were broken, and what was seen."""
    os.chdir(here)
    make, is_broken = KINDS[kind]
    for name in broken:
        make(Path("data", name))
    listing = come_and_go(broken) if kind == "vanishing" else folders.list_images
    with patch("covary.data.folder.list_images", listing):
        first = train("out")
        wrong = [] if share in ALLOWED else refusal(first, broken)
        if share == "60 %":
            first = train("out", "--max-bad", "0.7")
        if share != "100 %":
            wrong += trained(first, broken, batch=SHARES[share][0] // 2)
            wrong += resumed("--max-bad", "0.7")
    return not wrong, all(is_broken(Path("data", name)) for name in broken), wrong


def train(out: str, *options: str) -> Answer:
    """Train for two epochs on the folder ``data``."""
    whole = sum(file.name[0].isdecimal() for file in Path("data").iterdir())
    batch = ("--batch-size", str(max(2, whole // 4 * 2)))
    return command(
        "pretrain", "--data", "data", *TINY, "--epochs", "2", *batch, "--checkpoint-steps", "2", "--log-steps", "1",
        *("--out", out, "--cache", "cache"), *options,
    )  # fmt: skip


def refusal(answer: Answer, broken: Iterable[str]) -> list[str]:
    """Return what is wrong with the refusal of too many broken files."""
    named = sum(f"'{name}'" in answer.err for name in broken)  # refused at the first beyond what is allowed
    fine = answer.code == 2 and answer.one_line and named >= 2 and "repair or remove" in answer.err
    return [] if fine and not Path("out/run.json").exists() else [f"refusal: {answer}"]


def trained(answer: Answer, broken: set[str], *, batch: int) -> list[str]:
    """Return what is wrong with a run that left files out: its end, its ledger, its line, its steps."""
    ledger = [json.loads(line) for line in Path("out/skipped.jsonl").read_text().splitlines()]
    steps = [json.loads(line)["step"] for line in Path("out/metrics.jsonl").read_text().splitlines()]
    checks = {
        f"answer {answer}": answer.code == 0,
        f"ledger {ledger[:3]}": {entry["name"] for entry in ledger} == broken and len(ledger) == len(broken),
        "an entry without a reason": all(entry["reason"] for entry in ledger),
        "no line about it": f"{len(broken)} images cannot be read" in answer.err and "skipped.jsonl" in answer.err,
        f"steps {steps}": steps == list(range(1, 5)),
    }
    return [what for what, fine in checks.items() if not fine]


def resumed(*options: str) -> list[str]:
    """Go back to a checkpoint in the middle and continue; return what differs from the run that was not stopped."""
    whole = {name: Path("out", name).read_bytes() for name in ("encoder.safetensors", "skipped.jsonl")}
    newest = max(Path("out/checkpoints").iterdir(), key=lambda folder: int(folder.name[5:]))
    shutil.rmtree(newest)
    Path("out/encoder.safetensors").unlink()
    answer = train("out", *options)
    if "continuing after step" not in answer.err:
        return [f"did not continue: {answer}"]
    return [f"{name} differs" for name, content in whole.items() if Path("out", name).read_bytes() != content]


def come_and_go(names: Iterable[str]) -> Callable[[Path], folders.Listing]:
    """Return how a folder is listed in which another program makes and removes files."""
    list_images = folders.list_images

    def listed(root: Path) -> folders.Listing:
        for name in names:
            (root / name).touch()
        listing = list_images(root)
        for name in names:
            (root / name).unlink()
        return listing

    return listed


ROW = Row(
    id="B2",
    promise="Files that cannot be read are left out and listed, beyond 5 % refused; nothing hangs; resuming is exact",
    trials={"ci": 20, "release": 20},
    check=check,
    mutants={
        "pipes are read": replaced("covary.data.stored._content", lambda file: file.open("rb").read(2**20)),
        "no ledger": replaced(
            "covary.rundir.RunDir.write_skipped", lambda folder, skipped: folder.skipped_file.touch()
        ),
        "any number is left out": replaced("covary.data.build._refuse_bad", lambda *_: None),
    },
    mutant_trials=6,
)
