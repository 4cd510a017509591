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

FILE = Path("reports/reliability.json")
README = Path("README.md")
HEAD: Mapping[str, str] = {"ci": "every change", "release": "release"}  # the tiers in the order shown
BETWEEN = re.compile(r"(?<=<!-- reliability -->\n).*?(?=<!-- /reliability -->)", re.DOTALL)


def write(root: Path, tier: Tier, rows: Sequence[Mapping[str, Any]], *, seed: int, seconds: float) -> None:
    """Replace a tier of the report, and the README's table; the other tier stays as it was measured."""
    file = root / FILE
    tiers = json.loads(file.read_text()) if file.exists() else {}
    tiers[tier] = {"passport": passport(root, seed=seed, seconds=seconds), "rows": list(rows)}
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(tiers, indent=1, sort_keys=True) + "\n")
    readme = root / README
    readme.write_text(BETWEEN.sub(lambda _: table(tiers), readme.read_text()))


def passport(root: Path, *, seed: int, seconds: float) -> dict[str, Any]:
    """Return where figures come from."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True)
    return {
        "date": date.today().isoformat(),
        "commit": commit.stdout.strip(),
        "covary": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "seed": seed,
        "minutes": round(seconds / 60, 1),
    }


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
