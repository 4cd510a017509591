"""The examples run as they stand, and stay short."""

import importlib.util
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import rich.console

from covary.evaluation.result import Result

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS)
def test_short(script: str) -> None:
    assert len((EXAMPLES / script).read_text(encoding="utf-8").splitlines()) <= 60


def test_the_method_of_40_lines() -> None:
    """It is trained in tests/cli/test_own_method.py and held to its equations in tests/methods/test_own.py."""
    assert len((EXAMPLES / "own_method.py").read_text(encoding="utf-8").splitlines()) <= 40


def test_your_own_loop(tmp_path: Path) -> None:
    done = run("1_your_own_loop.py", tmp_path)
    lines = done.stdout.splitlines()
    assert len(lines) == 512 // 64
    assert all(line.split()[0::2] == ["loss", "inv", "equi", "trans", "spread"] for line in lines)
    assert "Warning" not in done.stderr


def test_lightning(tmp_path: Path) -> None:
    pytest.importorskip("lightning")
    done = run("2_lightning.py", tmp_path)
    assert "max_epochs=2` reached" in done.stderr
    assert "2_lightning.py" not in done.stderr  # a warning about our lines


def test_transfer_of_a_transformation(tmp_path: Path) -> None:
    done = run("3_transfer_a_transformation.py", tmp_path)
    moved, left, chance = map(float, re.findall(r"number (\d+\.\d)", done.stdout))
    assert chance == 10.5
    assert 1 <= moved <= 20
    assert abs(left - chance) < 1e-3


def test_table_of_the_demo() -> None:
    spec = importlib.util.spec_from_file_location("demo", EXAMPLES / "demo.py")
    assert spec
    assert spec.loader
    demo = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(demo)
    console = rich.console.Console(width=60, record=True, file=io.StringIO())
    console.print(demo.table({"untrained": results(0.25, 0.5), "trained": results(0.75, 0.875)}))
    words = console.export_text().replace("│", " ").split()
    assert words[words.index("untrained") :][:3] == ["untrained", "25.0%", "50.0%"]
    assert words[words.index("trained") :][:3] == ["trained", "75.0%", "87.5%"]


def results(*accuracies: float) -> list[Result]:
    rest = {"task": "", "protocol": "", "source": "", "data": "", "seconds": 0.0, "covary": "", "commit": None}
    return [Result(metrics={"top1": accuracy}, **rest) for accuracy in accuracies]


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / script)], cwd=folder, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done
