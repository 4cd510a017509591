"""``reports/reliability.json`` and the table of the README that is made from it."""

import json
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch

from covary.version import __version__
from reliability.row import Tier

FOLDER, FILE = Path("reports"), Path("reliability.json")
README = Path("README.md")
MADE = (str(FOLDER), str(README))  # what a run writes itself, which is no change to what it tests
HEAD: Mapping[str, str] = {"ci": "every change", "release": "release"}  # the tiers in the order shown
BETWEEN = re.compile(r"(?<=<!-- reliability -->\n).*?(?=<!-- /reliability -->)", re.DOTALL)


def write(file: Path, tier: Tier, rows: Sequence[Mapping[str, Any]], passport: Mapping[str, Any]) -> None:
    """Replace a tier of a report; the other tier stays as it was measured."""
    tiers = json.loads(file.read_text()) if file.exists() else {}
    tiers[tier] = {"passport": dict(passport), "rows": list(rows)}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(tiers, indent=1, sort_keys=True) + "\n")


def show(root: Path) -> None:
    """Fill the README's table from the repository's report."""
    readme = root / README
    tiers = json.loads((root / FOLDER / FILE).read_text())
    readme.write_text(BETWEEN.sub(lambda _: table(tiers), readme.read_text()))


def passport(root: Path, *, seed: int, seconds: float) -> dict[str, Any]:
    """Return where figures come from."""
    return {
        "date": date.today().isoformat(),
        "commit": commit(root),
        "covary": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "seed": seed,
        "minutes": round(seconds / 60, 1),
    }


def commit(root: Path) -> str:
    """Return the commit of a checkout, ``+changes`` appended where a file that is not ``MADE`` differs or is new."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True).stdout.strip()

    changes = git("status", "--porcelain", "--", ".", *(f":(exclude){path}" for path in MADE))
    return git("rev-parse", "--short", "HEAD") + ("+changes" if changes else "")


def line(row: Mapping[str, Any]) -> str:
    """Return a row of the report as a line to print."""
    caught = f"{sum(row['mutants'].values())}/{len(row['mutants'])}"
    figures = "".join(f", {name} {value}" for name, value in row["figures"].items())
    return (
        f"{row['id']:4} {'met    ' if row['met'] else 'NOT MET'} {row['held']:,}/{row['trials']:,} held, "
        f"{row['fired']:,} fired, mutants caught {caught}, {row['seconds']:.0f} s{figures}"
    )


def table(tiers: Mapping[str, Any]) -> str:
    """Return the README's table, in Markdown: a line for each promise."""
    shown = [tier for tier in HEAD if tier in tiers]
    found = {tier: {row["id"]: row for row in tiers[tier]["rows"]} for tier in shown}
    promises = {name: row["promise"] for tier in shown for name, row in found[tier].items()}
    heads = [word for tier in shown for word in (HEAD[tier], "mutants")]
    lines = [f"| | promise | {' | '.join(heads)} |", f"|---|---|{'--:|' * len(heads)}"]
    for name in sorted(promises, key=lambda name: (name[0], int(name[1:]))):
        cells = [cell for tier in shown for cell in _cells(found[tier].get(name))]
        lines.append(f"| {name} | {promises[name]} | {' | '.join(cells)} |")
    passports = [f"{HEAD[tier]}: {_origin(tiers[tier]['passport'])}" for tier in shown]
    return "\n".join(
        [*lines, "", f"Trials in which the promise held, of all; mutants caught. {'; '.join(passports)}.", ""]
    )


def _cells(row: Mapping[str, Any] | None) -> tuple[str, str]:
    if row is None:
        return "", ""
    held = f"{row['held']:,}/{row['trials']:,}"
    caught = f"{sum(row['mutants'].values())}/{len(row['mutants'])}"
    return (held, caught) if row["met"] else (f"**{held}**", f"**{caught}**")


def _origin(passport: Mapping[str, Any]) -> str:
    return "{date}, commit {commit}, torch {torch}, {machine}, {minutes} minutes".format(**passport)
