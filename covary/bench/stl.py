"""What STL's step takes beside SimCLR's."""

from covary.bench.finding import Finding, milliseconds, rate, ratio
from covary.bench.loop import Loop
from covary.bench.settings import Case
from covary.bench.timing import steps_of, take_turns

METHODS = ("simclr", "stl")


def stl(case: Case) -> Finding:
    """Measure the whole step of STL in turn with SimCLR's; ``stl / simclr`` is the ratio of their times."""
    blocks = {method: steps_of(Loop(case, method), case.device) for method in METHODS}
    seconds = take_turns(blocks, case.effort)
    return Finding(
        lines=(
            *(milliseconds(f"{method} step", seconds[method]) for method in METHODS),
            *(rate(f"{method} step", case.setting.batch, seconds[method]) for method in METHODS),
            ratio("stl / simclr", seconds["stl"], seconds["simclr"]),
        ),
        seconds=seconds,
    )
