"""D8: a report is one file that works wherever it is opened, and tells nothing of the machine that made it."""

import getpass
import os
import random
import shutil
import socket
from pathlib import Path
from typing import Any

from covary.report import report
from reliability.browser import browser
from reliability.folders import run_folder
from reliability.row import Count, Figure, Row, replaced

IMAGES = 3  # two pictures of first batches, a chart
USER, HOST = "jane-d8", "host-d8"


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Report runs full of paths, move the page away from them, open it, and look for whatever it should not tell."""
    draw, count, size = random.Random(seed), Count(), 0
    with browser() as chromium:
        for number in range(trials):
            home = folder / f"home-{number}" / f"{USER} {draw.randrange(10**6)}"
            home.mkdir(parents=True)
            data = f"{draw.choice(('', 'wds:'))}{home / 'my birds'}"
            source = f"{draw.choice(('', 'untrained:'))}{home / 'run'}"
            others = rf"~{USER}/x, C:\Users\{USER} x\y, /home/{USER} x/y, \\{HOST}\{USER}\x"
            text = f"of {data} by {source}, /srv/{HOST}/{USER}/data, {others}"
            runs = [run_folder(home / name, text=text, data=data, source=source) for name in ("run", "other")]
            made = report(runs, home / "report.html")
            moved = folder / f"elsewhere-{number}.html"
            shutil.move(made, moved)
            shutil.rmtree(home)
            content = moved.read_text(encoding="utf-8")
            size = max(size, len(content))
            secrets = {str(folder), USER, HOST, socket.gethostname(), str(Path.home()), os.getcwd()}
            secrets |= {getpass.getuser()} - {"root"}  # a word of CSS, and the name of many a machine's only user
            leaks = sorted(secret for secret in secrets if len(secret) > 1 and secret in content)
            seen = chromium.open(moved)
            works = "What was trained" in seen.text and seen.images == IMAGES and not seen.broken and not seen.console
            count.add(
                f"report {number}",
                held=not leaks and works and not seen.requests,
                fired=not home.exists() and "my birds" in seen.text,
                seen=(leaks, seen.console, seen.requests, seen.broken, seen.images),
            )
    return count.figure(kilobytes=round(size / 1e3))


def leaking(value: Any, known: Any = ()) -> Any:
    """Leave texts as they are."""
    return value


ROW = Row(
    id="D8",
    promise="A report is one file that opens anywhere without server or network; its paths are cut to their last name",
    trials={"ci": 5, "release": 20},
    check=check,
    mutants={"paths as they are": replaced("covary.report.read.without_paths", leaking)},
    mutant_trials=1,
)
