"""Finished runs, never trained, whose BatchNorm statistics are not those that a network starts with."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from covary import config, rundir
from covary.methods import METHODS, AbstractConfig
from covary.nets.resnet import Stem
from covary.recipes import start_run
from covary.rundir import RunDir
from tests.tiny import small

SIMCLR = small(METHODS["simclr"])
MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """Return a function that leaves a run folder as training does."""

    def make(encoder: str = "timm:test_resnet", *, stem: Stem = "imagenet", method: AbstractConfig = SIMCLR) -> Path:
        run = start_run(data="shapes", method=method, image_size=32)
        run = replace(run, encoder=encoder, stem=stem, method=method, augment=method.fit(run.augment))
        folder = RunDir(tmp_path / "run")
        folder.path.mkdir(parents=True, exist_ok=True)
        folder.write_run(config.to_json(run), {"covary": "0", "torch": torch.__version__})
        with torch.random.fork_rng():
            torch.manual_seed(0)
            built = run.build_method()
            for name, buffer in built.named_buffers():
                if name.endswith(("running_mean", "running_var")):
                    buffer.add_(torch.rand_like(buffer))
        rundir.write_tensors(folder.encoder_file, built.encoder.state_dict())
        rundir.write_tensors(folder.method_file, built.state_dict())
        return folder.path

    return make
