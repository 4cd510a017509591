"""What the time of a training step goes into, as a picture."""

from collections.abc import Mapping

from matplotlib.figure import Figure

SHOWN = 0.08  # of a step: a shorter part has no label


def stages(steps: Mapping[str, Mapping[str, float]]) -> Figure:
    """Draw one bar for each step, divided into its stages by their shares.

    steps: name of the step to stage to milliseconds; all steps have the same stages.
    """
    figure = Figure(figsize=(9, 1.6 + 0.6 * len(steps)), layout="constrained")
    axes = figure.subplots()
    starts = dict.fromkeys(steps, 0.0)
    for name in next(iter(steps.values())):
        shares = {step: taken[name] / sum(taken.values()) for step, taken in steps.items()}
        bars = axes.barh(list(steps), list(shares.values()), left=list(starts.values()), label=name)
        labels = [f"{taken[name]:,.0f} ms" if shares[step] >= SHOWN else "" for step, taken in steps.items()]
        axes.bar_label(bars, labels, label_type="center", fontsize=8, color="white")
        starts = {step: start + shares[step] for step, start in starts.items()}
    axes.set_xlim(0, 1)
    axes.invert_yaxis()
    axes.set_xlabel("share of the step")
    figure.legend(ncols=6, loc="outside lower center", fontsize=8, frameon=False)
    return figure
