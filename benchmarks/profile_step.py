"""The picture of docs/performance.md: what the time of a training step goes into.

``python benchmarks/profile_step.py bench.json ... [--out docs/images/step.png]`` draws the parts ``stages`` of what
``covary bench`` wrote.
"""

import argparse
import json
from pathlib import Path
from statistics import median

from covary.draw.stages import stages


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw what the time of a step goes into.")
    parser.add_argument("bench", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("docs/images/step.png"))
    given = parser.parse_args()
    entries = [entry for file in given.bench for entry in json.loads(file.read_text())["entries"]]
    steps = {
        f"{entry['setting']}, {entry['precision']}": {
            name: 1000 * median(values) for name, values in entry["seconds"].items()
        }
        for entry in entries
        if entry["part"] == "stages"
    }
    stages(steps).savefig(given.out, dpi=120)


if __name__ == "__main__":
    main()
