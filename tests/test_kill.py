"""SIGKILL at random moments and at every step of the checkpoint protocol: the final state is always the same."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.timeout(600)
def test_killed_runs_end_bit_identical(tmp_path: Path) -> None:
    server = Path(__file__).with_name("kill_server.py")
    done = subprocess.run(
        [sys.executable, str(server), str(tmp_path), "20", "1"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures["kills"] == figures["identical"] == 20
    assert figures["points"] > 40
    assert figures["points_identical"] == figures["points"]
