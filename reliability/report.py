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
HEAD = {"ci": "every change", "release": "before a release"}
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
    shown = [tier for tier in ("ci", "release") if tier in tiers]
    rows = {row["id"]: row for tier in shown for row in tiers[tier]["rows"]}
    found = {tier: {row["id"]: row for row in tiers[tier]["rows"]} for tier in shown}
    lines = [
        f"| | promise | {' | '.join(HEAD[tier] for tier in shown)} | mutants caught |",
        f"|---|---|{'--:|' * len(shown)}--:|",
    ]
    for name in sorted(rows, key=lambda name: (name[0], int(name[1:]))):
        held = [_held(found[tier].get(name)) for tier in shown]
        mutants = rows[name]["mutants"]
        lines.append(
            f"| {name} | {rows[name]['promise']} | {' | '.join(held)} | {sum(mutants.values())}/{len(mutants)} |"
        )
    passports = [
        f"{HEAD[tier]}: {p['date']}, commit {p['commit']}, torch {p['torch']}, {p['minutes']} minutes"
        for tier in shown
        for p in [tiers[tier]["passport"]]
    ]
    return "\n".join(
        [*lines, "", f"Held / trials. {'; '.join(passports)}; {tiers[shown[0]]['passport']['machine']}.", ""]
    )


def _held(row: Mapping[str, Any] | None) -> str:
    if row is None:
        return ""
    text = f"{row['held']:,}/{row['trials']:,}"
    return text if row["held"] == row["trials"] else f"**{text}**"
