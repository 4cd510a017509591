"""``docs/results.md`` and its figure from ``results/``: the same files give the same bytes."""

import re
import statistics
from collections.abc import Sequence
from pathlib import Path

from covary.evaluation.equivariance import EquivarianceOptions
from covary.reproduction.paper import PAPER
from covary.rundir import write_atomic
from study.claims import Claim, sentence, told
from study.codes import code_section
from study.figure import dots
from study.measure import UNTRAINED, read_results
from study.paired import Column, Kept, difference, mean_of, of, values_of
from study.plan import STUDIES, Study

BASELINE, OURS = "simclr", "stl"
CONDITIONS = ("crop", "color", "all")
LABELLED = ("sen", "equimod", "sie")
ABSENT = "–"
NOTES = Path(__file__).with_name("notes.md")
SHOWN = "S1"
"""The study that the README shows."""
BETWEEN = re.compile(r"(?<=<!-- study -->\n).*?(?=<!-- /study -->)", re.DOTALL)


def write_page(results: Path, docs: Path, readme: Path) -> None:
    """Write ``results.md``, a figure of each study to ``images/``, and the table between the README's marks."""
    parts = [HEAD]
    for name, study in STUDIES.items():
        kept = read_results(results, name)
        if any(each["row"] != UNTRAINED for each in kept):
            parts.append(section(name, study, kept))
            parts += [code_section(results, docs)] if name == SHOWN else []
            write_atomic(docs / "images" / f"{name}.svg", dots(kept, columns(study), title=f"{name}: {study.title}"))
    parts.append(NOTES.read_text(encoding="utf-8"))
    write_atomic(docs / "results.md", "\n\n".join(part.strip() for part in parts if part) + "\n")
    if kept := read_results(results, SHOWN):
        words = readme.read_text(encoding="utf-8")
        write_atomic(readme, BETWEEN.sub(lambda _: f"{summary(kept)}\n", words))


def _ridge(kept: Kept) -> bool:
    """Return whether features were moved by a ridge map, as the method has learned none."""
    return any(each["task"] == "equivariance" and "ridge map" in each["protocol"] for each in kept["results"])


def summary(kept: Sequence[Kept]) -> str:
    """Return the README's table: every row by the columns that a study is summed up by."""
    study = STUDIES[SHOWN]
    trained = [each for each in kept if each["row"] != UNTRAINED]
    seeds = {row: len({each["seed"] for each in trained if each["row"] == row}) for row in study.rows}
    few = [row for row, count in seeds.items() if 0 < count < max(seeds.values())]
    words = f"{facts(study, trained)} Mean ± standard deviation over {max(seeds.values())} seeds"
    words += f" ({', '.join(few)}: fewer)." if few else "."
    return f"{table(kept, list(columns(study).values()))}\n\n{words} [All numbers, and what holds](docs/results.md)."


def columns(study: Study) -> dict[str, Column]:
    """Return the columns that a study is summed up by."""
    inside = study.in_domain[0]
    out = mean_of([of("linear", data, "top1") for data in study.out_domain])
    return {
        "in": Column(name=f"linear, {inside}", metric=of("linear", inside, "top1"), paper=("table11", "in-domain")),
        "out": Column(name="linear, mean of out-domain", metric=out, paper=("table11", "mean")),
        "mse": Column(
            name="error of predicted parameters",
            metric=of("transform-prediction", inside, "mse.all"),
            low=True,
            percent=False,
            paper=("table5", "mse.all"),
        ),
        "mrr": Column(
            name="MRR, all", metric=of("equivariance", inside, "all.mrr"), percent=False, paper=("table6", "all.mrr")
        ),
    }


def section(name: str, study: Study, kept: Sequence[Kept]) -> str:
    """Return the section of a study."""
    inside = study.in_domain[0]
    runs = [each for each in kept if each["row"] != UNTRAINED]
    accuracies = [
        *(Column(name=f"kNN {data}", metric=of("knn", data, "top1")) for data in study.in_domain),
        *(Column(name=f"linear {data}", metric=of("linear", data, "top1")) for data in study.in_domain),
        *(Column(name=data, metric=of("linear", data, "top1")) for data in study.out_domain),
        columns(study)["out"],
    ]
    prediction = [
        *(
            Column(
                name=f"error, {condition}",
                metric=of("transform-prediction", inside, f"mse.{condition}"),
                low=True,
                percent=False,
                paper=("table5", f"mse.{condition}"),
            )
            for condition in CONDITIONS
        ),
        *(
            Column(name=f"R2, {condition}", metric=of("transform-prediction", inside, f"r2.{condition}"), percent=False)
            for condition in CONDITIONS
        ),
        Column(
            name="type", metric=of("transform-prediction", inside, "type_accuracy"), paper=("table5", "type_accuracy")
        ),
    ]
    equivariance = [
        Column(
            name=f"{metric}, {condition}",
            metric=of("equivariance", inside, f"{condition}.{key}"),
            percent=False,
            low=low,
            paper=("table6", f"{condition}.{key}"),
        )
        for condition in CONDITIONS
        for metric, key, low in (
            ("MRR", "mrr", False),
            ("H@1", "h@1", False),
            ("error", "error", True),
            ("composition", "composition.error", True),
        )
    ]
    blocks = [
        f"## {name}: {study.title}",
        facts(study, runs),
        f"![Dots, one a seed: in-domain, out-domain, prediction, equivariance](images/{name}.svg)",
        "### Accuracy",
        "Linear evaluation, test accuracy in %; mean and standard deviation over seeds.",
        table(kept, accuracies),
        "### What features know of transformations",
        "A linear probe on a pair of features; errors are mean squares, less is better; type in %.",
        table(kept, prediction),
        "### Equivariance",
        f"Of {EquivarianceOptions().transformations} views of an image, the rank of the one that moved features should "
        "reach, for methods that have learned a map. Errors are relative; less is better.",
        table([each for each in kept if not _ridge(each)], equivariance),
        "Encoders without a map of their own, through a ridge map that is fitted with labels on other images, which "
        "is another question: how well features *can* be moved.",
        table([each for each in kept if _ridge(each)], equivariance),
    ]
    boxes = [
        Column(name=f"{key} {data}", metric=of("detection", data, key))
        for data in study.detection
        for key in ("ap", "ap50", "ap75")
    ]
    if boxes:
        blocks += ["### Detection", table(kept, boxes)]
    if len({each["seed"] for each in runs}) > 1:
        blocks += ["### Seed by seed against SimCLR", paired(kept, list(columns(study).values()))]
        blocks += ["### The paper's claims", CLAIMS_HEAD, *claims_table(study, kept)]
        blocks += ["### Where STL does not win", losses(kept, [*accuracies, *prediction, *equivariance])]
        blocks += ["### Beside the paper", BESIDE, beside(kept, list(columns(study).values()))]
    return "\n\n".join(blocks)


def facts(study: Study, runs: Sequence[Kept]) -> str:
    """Return what was trained, where, how long, and the command that makes a run again."""
    first = runs[0]
    run, machine = first["run"], first["machine"]
    commits = sorted({str(each["machine"]["commit"])[:7] for each in runs})
    minutes = sorted(each["minutes"] for each in runs)
    return (
        f"Trained on `{study.data}`, labels unused, at {study.image_size} px: {run['encoder']} with the stem "
        f"{run['stem']}, {run['epochs']} epochs, {first['steps']:,} steps of {run['batch_size']} images, "
        f"{run['precision']}. {len(runs)} runs of {minutes[0]:.0f} to {minutes[-1]:.0f} minutes "
        f"({statistics.median(minutes):.0f} in the middle) on {machine['device']}, {machine['threads']} thread{'s' if machine['threads'] > 1 else ''}, torch "
        f"{machine['torch']}; commits {', '.join(commits)}. One of them again: `{first['command']}`."
    )


def table(kept: Sequence[Kept], shown: Sequence[Column]) -> str:
    """Return a table, a row a line; the best of each column is bold, where more than one row is trained."""
    rows = list(dict.fromkeys(each["row"] for each in kept))
    shown = [column for column in shown if any(values_of(kept, row, column.metric) for row in rows)]
    best = {}
    for column in shown:
        means = {
            row: statistics.fmean(v.values())
            for row in rows
            if row != UNTRAINED and (v := values_of(kept, row, column.metric))
        }
        best[column.name] = (min if column.low else max)(means, key=lambda row: means[row]) if len(means) > 1 else None
    lines = [f"| | seeds | {' | '.join(column.name for column in shown)} |", f"|---|--:|{'--:|' * len(shown)}"]
    for row in rows:
        seeds = len({each["seed"] for each in kept if each["row"] == row})
        cells = [_cell(kept, row, column, bold=best[column.name] == row) for column in shown]
        lines.append(f"| {row} | {seeds if row != UNTRAINED else ''} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(kept: Sequence[Kept], row: str, column: Column, *, bold: bool) -> str:
    values = list(values_of(kept, row, column.metric).values())
    if not values:
        return ABSENT
    scale, digits = (100, 1) if column.percent else (1, 3)
    text = f"{scale * statistics.fmean(values):.{digits}f}"
    if bold:
        text = f"**{text}**"
    return text if len(values) < 2 else f"{text} ± {scale * statistics.stdev(values):.{digits}f}"


def paired(kept: Sequence[Kept], shown: Sequence[Column]) -> str:
    """Return the differences of every row with SimCLR, means over seeds and 95 % intervals."""
    rows = [row for row in dict.fromkeys(each["row"] for each in kept) if row not in (UNTRAINED, BASELINE)]
    lines = [f"| row − {BASELINE} | {' | '.join(column.name for column in shown)} |", f"|---|{'--:|' * len(shown)}"]
    for row in rows:
        found = [(column, difference(kept, row, BASELINE, column.metric)) for column in shown]
        cells = [
            ABSENT if each is None else f"**{told(each, column)}**" if each.sign else told(each, column)
            for column, each in found
        ]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", "Bold: the 95 % interval (Student's t over seeds) leaves out 0."])


def claims_table(study: Study, kept: Sequence[Kept]) -> list[str]:
    """Return each headline claim with what was found."""
    by = columns(study)
    claims = [
        *(
            Claim(words="predicts transformations better", row=OURS, other=other, column=by["mse"])
            for other in (BASELINE, "equimod")
        ),
        *(
            Claim(words="is more equivariant than what learns from labels", row=OURS, other=other, column=by["mrr"])
            for other in LABELLED
        ),
        Claim(words="is better out-domain", row=OURS, other=BASELINE, column=by["out"]),
        Claim(
            words="is close in-domain: no more than 1 point below",
            row=OURS,
            other=BASELINE,
            column=by["in"],
            close=0.01,
        ),
        Claim(words="AugMix helps", row="stl+augmix", other=OURS, column=by["out"]),
    ]
    lines = [
        "| STL | compared | difference | here |",
        "|---|---|--:|---|",
        *(sentence(claim, kept) for claim in claims),
    ]
    return ["\n".join(lines)]


def losses(kept: Sequence[Kept], shown: Sequence[Column]) -> str:
    """Return, by row, the columns in which its mean is better than STL's, with the difference."""
    lines = []
    for row in dict.fromkeys(each["row"] for each in kept):
        worse = []
        for column in shown:
            found = difference(kept, OURS, row, column.metric)
            if (
                row not in (UNTRAINED, OURS)
                and found is not None
                and (found.mean > 0) == column.low
                and found.mean != 0
            ):
                told_ = told(found, column)
                worse.append(f"**{column.name}** {told_}" if found.sign else f"{column.name} {told_}")
        if worse:
            lines.append(f"- to {row}: {'; '.join(worse)}")
    words = (
        "STL minus the row, in every column where STL's mean is the worse one; bold where the interval leaves out 0."
    )
    return "\n".join([words, "", *(lines or ["- nowhere"])])


def beside(kept: Sequence[Kept], shown: Sequence[Column]) -> str:
    """Return our means beside the paper's printed numbers."""
    rows = [row for row in dict.fromkeys(each["row"] for each in kept) if row != UNTRAINED]
    lines = [f"| | {' | '.join(f'{column.name} | paper' for column in shown)} |", f"|---|{'--:|--:|' * len(shown)}"]
    for row in rows:
        cells = []
        for column in shown:
            cells.append(_cell(kept, row, column, bold=False))
            name, key = column.paper or ("", "")
            printed = PAPER.get(name, {}).get(row, {}).get(key)
            cells.append(ABSENT if printed is None else f"{printed.value:g}")
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join(lines)


HEAD = """# Results

Every method on the same images with the same encoder and the same budget. This page is written from `results/`, one
JSON file a run.

```console
python -m study run S1 --sets FOLDER                           # trains and measures what is missing there
python -m study repeat S1 --rows stl --seeds 0 --sets FOLDER   # trains a run once more, compares every number
python -m study write                                          # writes this page and the table of the README
```

FOLDER holds a folder for each set, with `train.parquet` and `test.parquet` in the Hugging Face image layout. The
studies are small: what a CPU with two cores does in an evening. They tell methods apart where the intervals say so, and
nothing else. The images are thinned sets, CIFAR-10 a lossy copy: compare rows with one another, not with the
literature."""

CLAIMS_HEAD = """Holds: the 95 % interval of the difference over seeds, Student's t, lies on the claimed side. With
three seeds that takes a difference of 2.5 standard deviations; undecided is not refuted."""

BESIDE = """The paper trained ResNet-18 on STL-10 at 96 px and measured eleven other sets; of its probes' labels it says
nothing. Columns share a name and a definition, not a scale. Accuracies in %."""
