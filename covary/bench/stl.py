"""What STL's step takes beside SimCLR's, with the full hypernetwork and with one of low rank."""

from covary.bench.finding import Finding, Goal, line, milliseconds, rate, ratio
from covary.bench.loop import Loop
from covary.bench.settings import Case
from covary.bench.timing import steps_of, take_turns
from covary.methods import STL, AbstractConfig
from covary.nets import build_encoder

LOW = "stl, low rank"
HALF = Goal(sense="at most", bound=0.5)


def variants(case: Case) -> dict[str, str | AbstractConfig]:
    """Return the methods that are compared; the rank of the hypernetwork of low rank is the number of features."""
    _, features = build_encoder(case.setting.encoder, stem=case.setting.stem)
    return {"simclr": "simclr", "stl": "stl", LOW: STL(rank=features)}


def stl(case: Case) -> Finding:
    """Measure the whole steps of SimCLR, STL and STL with a hypernetwork of low rank in turn.

    ``stl / simclr`` is the ratio of their times. ``overhead, low rank / full``: what a step takes longer than SimCLR's
    with the hypernetwork of low rank, over the same with the full one.
    """
    blocks = {name: steps_of(Loop(case, method), case.device) for name, method in variants(case).items()}
    seconds = take_turns(blocks, case.effort)
    overheads = [
        (low - simclr) / (full - simclr)
        for simclr, full, low in zip(seconds["simclr"], seconds["stl"], seconds[LOW], strict=True)
    ]
    return Finding(
        lines=(
            *(milliseconds(f"{name} step", taken) for name, taken in seconds.items()),
            *(rate(f"{name} step", case.setting.batch, taken) for name, taken in seconds.items()),
            ratio("stl / simclr", seconds["stl"], seconds["simclr"]),
            ratio(f"{LOW} / simclr", seconds[LOW], seconds["simclr"]),
            line("overhead, low rank / full", "", overheads, HALF),
        ),
        seconds=seconds,
    )
