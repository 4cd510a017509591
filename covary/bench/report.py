"""What a bench found, as JSON and as Markdown."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from covary.bench.finding import Finding, Line
from covary.bench.parts import PARTS
from covary.bench.settings import Case


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What a part found of a case, and how many seconds it took."""

    part: str
    case: Case
    finding: Finding
    took: float


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a bench found; ``facts`` say where and with what."""

    facts: Mapping[str, str]
    entries: tuple[Entry, ...] = ()


def to_json(report: Report) -> dict[str, Any]:
    """Return the JSON object: facts; of each entry part, case, lines with goals, raw seconds and notes."""
    return {
        "facts": dict(report.facts),
        "entries": [
            {
                "part": entry.part,
                "setting": entry.case.name,
                **asdict(entry.case.setting),
                "precision": entry.case.precision,
                "compile": entry.case.compile,
                "lines": [_line(each) for each in entry.finding.lines],
                "seconds": {name: list(values) for name, values in entry.finding.seconds.items()},
                "notes": list(entry.finding.notes),
                "took": round(entry.took, 1),
            }
            for entry in report.entries
        ],
    }


def markdown(report: Report) -> str:
    """Return the report as Markdown: facts, every line that has a goal, then a table for each entry."""
    parts = ["# covary bench", "\n".join(f"- {name}: {value}" for name, value in report.facts.items())]
    if goals := [*_goals(report)]:
        head = ["setting", "", "measured", "quartiles", "goal", ""]
        parts += ["## Goals", _table(head, goals)]
    for entry in report.entries:
        parts.append(f"## {entry.case.title}: {entry.part}\n\n{PARTS[entry.part].says} ({entry.took:.0f} s).")
        if entry.finding.lines:
            head = ["", "unit", "median", "quartiles"]
            parts.append(_table(head, [[each.name, each.unit, *_spread(each)] for each in entry.finding.lines]))
        parts += [f"- {note}" for note in entry.finding.notes]
    return "\n\n".join(parts) + "\n"


def headline(entry: Entry) -> str:
    """Return an entry's ratios, or all of its lines where it has none, in one line."""
    lines = entry.finding.lines
    shown = [each for each in lines if not each.unit] or lines
    told = [f"{each.name} {_number(each.spread.median)} {each.unit}".strip() for each in shown]
    return "; ".join([*told, *entry.finding.notes])


def _goals(report: Report) -> Iterator[list[str]]:
    for entry in report.entries:
        for each in entry.finding.lines:
            if each.goal is not None:
                met = "met" if each.goal.met(each.spread.median) else "missed"
                yield [entry.case.title, each.name, *_spread(each), f"{each.goal.sense} {each.goal.bound:g}", met]


def _line(each: Line) -> dict[str, Any]:
    goal = each.goal and {**asdict(each.goal), "met": each.goal.met(each.spread.median)}
    return {"name": each.name, "unit": each.unit, **asdict(each.spread), "goal": goal}


def _spread(each: Line) -> list[str]:
    return [_number(each.spread.median), f"{_number(each.spread.low)} to {_number(each.spread.high)}"]


def _number(value: float) -> str:
    """Return a number with three digits that count, whole from a hundred on."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    numbers = ("median", "measured", "quartiles")
    rule = ["--:" if name in numbers else "---" for name in head]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))
