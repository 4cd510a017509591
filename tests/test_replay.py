"""The step that was not finite, repeated from what the run left."""

from dataclasses import replace
from pathlib import Path

import pytest

from covary.errors import InputError, TrainingError
from covary.optim import OptimConfig
from covary.recipes import start_run
from covary.replay import replay
from covary.run import Run
from covary.tracking import TrackingConfig
from covary.training import Session, train

QUIET = Session(device="cpu", log_steps=4, knn_epochs=-1, tracking=TrackingConfig(progress=False))


def run_of(lr: float) -> Run:
    run = start_run(data="shapes:n=32", method="simclr", image_size=16)
    return replace(run, encoder="resnet8", epochs=2, batch_size=8, optim=OptimConfig(lr=lr))


def test_the_step_is_repeated_and_the_first_bad_layer_named(tmp_path: Path) -> None:
    run = run_of(1e30)
    with pytest.raises(TrainingError, match=r"not finite at step 2 .*--replay repeats the step"):
        train(run, tmp_path, QUIET)
    before = sorted(tmp_path.rglob("*"))
    found = replay(run, tmp_path, QUIET)
    assert (found.step, found.finite) == (1, False)
    assert "the output of encoder." in found.found[0]
    assert "and" in found.images[0] or "train/" in found.images[0]
    assert found.lines()[0] == "step 2 repeated: not finite again"
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_without_such_a_step_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no step that was not finite"):
        replay(run_of(0.05), tmp_path, QUIET)
