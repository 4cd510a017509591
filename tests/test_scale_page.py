"""The commands of docs/scale.md, executed as they stand by two local processes."""

import json
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import covary

ROOT = Path(covary.__file__).parents[1]
SMALL = (
    "--data shapes:n=64 --image-size 8 --encoder resnet8 --stem cifar --batch-size 16 --epochs 1 --optim.lr 0.003 "
    "--device cpu --precision fp32 --knn-epochs -1 --log-steps 1 "
    "--method.base.head-hidden 16 --method.code-hidden 16 --method.code 8"
)
PROGRAMS = {  # the page's commands are not edited: small sizes come from the covary on the PATH
    "covary": f'exec {sys.executable} -m covary.cli "$@" {SMALL}',
    "torchrun": f'exec {sys.executable} -m torch.distributed.run "$@"',
    "scontrol": 'echo "$@" >> scontrol.txt',
}
STOPPED = "exit 138"  # srun, when its tasks have saved and ended at SIGUSR1
TWO_TASKS = """
export SLURM_STEP_NUM_TASKS=2 SLURM_STEP_NODELIST=127.0.0.1
SLURM_PROCID=1 SLURM_LOCALID=1 "$@" & other=$!
SLURM_PROCID=0 SLURM_LOCALID=0 "$@" || exit
wait $other
"""
WHOLE = {"run.json", "metrics.jsonl", "encoder.safetensors", "method.safetensors", "checkpoints"}


def block(starts: str) -> str:
    """Return the page's block of bash that begins with a text."""
    found = re.findall(r"^```bash\n(.*?)^```$", (ROOT / "docs/scale.md").read_text(), flags=re.MULTILINE | re.DOTALL)
    (text,) = [text for text in found if text.startswith(starts)]
    return text


def job_id() -> str:
    """Return the number of a job whose meeting place is free."""
    for number in range(os.getpid() % 10000, 20000):
        with socket.socket() as free:
            try:
                free.bind(("127.0.0.1", 20000 + number))
            except OSError:
                continue
        return str(number)
    raise RuntimeError("no port is free")


class Machine:
    """A folder with the page's programs on the PATH."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.programs = folder, folder / "bin"
        self.programs.mkdir()
        for name, text in PROGRAMS.items():
            self.provide(name, text)
        self.environ = {
            **os.environ,
            "PATH": f"{self.programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "SLURM_JOB_ID": job_id(),
        }

    def provide(self, name: str, text: str) -> None:
        """Put a program on the PATH."""
        (self.programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (self.programs / name).chmod(0o755)

    def run(self, script: str) -> tuple[int, str]:
        """Return the exit code of a script of bash and what it wrote to stderr."""
        done = subprocess.run(
            ["bash", "-c", script], cwd=self.folder, env=self.environ, capture_output=True, text=True, timeout=200
        )
        return done.returncode, done.stderr

    def left(self, out: str) -> dict[str, torch.Tensor]:
        """Return the weights in a run folder, which is whole and the work of two processes."""
        folder = self.folder / out
        assert {path.name for path in folder.iterdir()} >= WHOLE
        saved = json.loads((folder / "run.json").read_text())
        assert saved["environment"]["processes"] == 2
        assert [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()] == [
            1,
            2,
            3,
            4,
        ]
        return load_file(folder / "method.safetensors")


@pytest.mark.xdist_group("dist")
def test_torchrun_and_slurm_make_the_same_weights(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.provide("srun", TWO_TASKS)
    for script in ("torchrun --standalone", "#!/bin/bash"):
        code, err = machine.run(block(script))
        assert code == 0, err
        assert err.count("step 4 ") == 1
    one, other = machine.left("runs/torchrun"), machine.left("runs/slurm")
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []
    assert not (tmp_path / "scontrol.txt").exists()


def test_a_job_that_was_stopped_is_queued_again(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    machine.provide("srun", STOPPED)
    assert machine.run(block("#!/bin/bash")) == (138, "")
    assert (tmp_path / "scontrol.txt").read_text() == f"requeue {machine.environ['SLURM_JOB_ID']}\n"
    machine.provide("srun", "exit 1")
    assert machine.run(block("#!/bin/bash"))[0] == 1
    assert (tmp_path / "scontrol.txt").read_text().count("requeue") == 1
