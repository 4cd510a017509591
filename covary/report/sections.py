"""The page's sections, in order: each is a function of the runs, and one that has nothing to say has no blocks.

Those with pictures are functions of the runs' encoders on images.
"""

import shlex
from collections.abc import Sequence

from covary.report.blocks import Block, Chart, Charts, Command, Section, Series, Text
from covary.report.codes import codes
from covary.report.first_batch import first_batch
from covary.report.neighbours import neighbours
from covary.report.orbits import orbits
from covary.report.read import RunFiles
from covary.report.results import UNTRAINED, results
from covary.report.shown import Shown
from covary.report.tables import compared, differing, number
from covary.report.throughput import MEMORY, THROUGHPUT, progress, throughput
from covary.training import COLLAPSED

SUMMARY = {
    "method": "method.name",
    "base": "method.base.name",
    "images": "data",
    "image size": "augment.size",
    "encoder": "encoder",
    "epochs": "epochs",
    "batch size": "batch_size",
    "optimiser": "optim.name",
    "learning rate": "optim.lr",
    "precision": "precision",
    "seed": "seed",
}
"""What a reader asks for first, by its place in run.json."""
ACCURACY, SPREAD, LOSS = "knn", "spread", "loss"
TITLES = {
    ACCURACY: "Online kNN accuracy",
    SPREAD: "Spread of the features",
    LOSS: "Loss",
    "inv": "Invariance loss",
    "equi": "Equivariance loss",
    "trans": "Transformation loss",
    "gradient": "Norm of the gradient",
    "lr": "Learning rate",
}


def trained(runs: Sequence[RunFiles]) -> Section:
    """What was trained, and how far; of results without a run, what was measured."""
    measured = [
        Text(words=f"{run.name} holds results alone, of {' and '.join({each.source: 0 for each in run.results})}.")
        for run in runs
        if not run.trained
    ]
    runs = [run for run in runs if run.trained]
    if not runs:
        return Section(title="What was trained", blocks=tuple(measured))
    summaries = [
        {name: run.settings[place] for name, place in SUMMARY.items() if place in run.settings}
        | {"training images": run.environment.get("images"), "steps": progress(run)}
        for run in runs
    ]
    whole = compared("Every setting", runs, [run.settings for run in runs], folded=True)
    blocks: list[Block] = [compared("", runs, summaries)]
    if len(runs) > 1:
        unlike = differing(whole, title="Where the settings differ")
        blocks.append(unlike if unlike.rows else Text(words="The runs have the same settings."))
    blocks += [
        Text(words=f"{run.name} is not finished: {progress(run)} steps are logged. What follows is what it did so far.")
        for run in runs
        if not run.done
    ]
    return Section(title="What was trained", blocks=(*blocks, *measured, whole))


def training(runs: Sequence[RunFiles]) -> Section:
    """Curves of everything that was logged, the loss and the online accuracy first."""
    logged = dict.fromkeys(name for run in runs for name in run.curves if name not in (THROUGHPUT, MEMORY))
    order = [name for name in (LOSS, ACCURACY, SPREAD) if name in logged]
    charts = tuple(_chart(runs, name) for name in [*order, *(name for name in logged if name not in order)])
    blocks = (Charts(charts=charts), *_spread(runs)) if charts else (Text(words="Nothing has been logged yet."),)
    return Section(title="Training", blocks=blocks)


def _chart(runs: Sequence[RunFiles], name: str) -> Chart:
    having = [(index, run.curves[name]) for index, run in enumerate(runs) if name in run.curves]
    return Chart(
        title=TITLES.get(name, name),
        series=tuple(Series(run=index, steps=curve.steps, values=curve.values) for index, curve in having),
        last=tuple(number(float(curve.values[-1])) for _, curve in having),
    )


def _spread(runs: Sequence[RunFiles]) -> list[Text]:
    """Say what the last logged spread of each run means."""
    found = []
    for run in runs:
        if SPREAD in run.curves:
            last = float(run.curves[SPREAD].values[-1])
            collapsed = not last >= COLLAPSED
            meaning = (
                "the features have collapsed, all images look alike to the encoder"
                if collapsed
                else "the features have not collapsed"
            )
            words = f"{run.name}: the last spread is {number(last)}; under {COLLAPSED:g} is a collapse, so {meaning}."
            found.append(Text(words=words, warning=collapsed))
    return found


def environment(runs: Sequence[RunFiles]) -> Section:
    """Return versions, device and threads, with what differs marked."""
    return Section(title="Environment", blocks=(compared("", runs, [run.environment for run in runs]),))


def missing(runs: Sequence[RunFiles], *, pictured: bool) -> Section:
    """Return the commands that make what the page lacks; pictured: it has those that need images."""
    blocks: list[Block] = []
    for run in runs:
        name, spec = shlex.quote(run.name), shlex.quote(str(run.settings.get("data")))
        if not run.done:
            blocks.append(Text(words=f"{run.name}: the rest of the training; the command that began it continues it."))
        elif not any(not result.source.startswith(UNTRAINED) for result in run.results):
            words = f"{run.name}: results; this measures everything that the images suit."
            blocks.append(Command(words=words, command=f"covary evaluate {name} --data {spec}"))
        elif not any(result.source.startswith(UNTRAINED) for result in run.results):
            tasks = " ".join(dict.fromkeys(shlex.quote(result.task) for result in run.results))
            command = (
                f"covary evaluate untrained:{name} --data {spec} --task {tasks} --out {name}/results/untrained.json"
            )
            blocks.append(
                Command(words=f"{run.name}: the same of its weights before training, to compare with.", command=command)
            )
        if run.first_batch is None:
            words = (
                f"{run.name}: the picture of the first batch; the command that began the run makes it with --dry-run."
            )
            blocks.append(Text(words=words))
    done = [run for run in runs if run.done]
    if done and not pictured:
        names = " ".join(shlex.quote(run.name) for run in runs)
        spec = shlex.quote(str(done[0].settings.get("data")))
        words = "Pictures of what the encoders have learned: sample orbits, nearest neighbours, transformation codes."
        blocks.append(Command(words=words, command=f"covary report {names} --data {spec} --out report.html"))
    return Section(title="What is missing", blocks=tuple(blocks))


def sections(runs: Sequence[RunFiles], shown: Sequence[Shown] | None = None) -> list[Section]:
    """Return the page's sections; shown: the finished runs on images, None leaves out what needs images.

    runs: run folders, then results alone.
    """
    folders = [run for run in runs if run.trained]
    if not folders:
        return [trained(runs), results(runs)]
    pictured = shown is not None
    return [
        trained(runs),
        training(folders),
        first_batch(folders),
        *([orbits(runs, shown)] if pictured else []),
        results(runs),
        *([neighbours(shown), codes(shown)] if pictured else []),
        throughput(folders),
        environment(folders),
        missing(folders, pictured=pictured),
    ]
