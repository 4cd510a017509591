"""The loop that is measured is the loop that trains."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import covary.training
from covary.bench import Case
from covary.bench.loop import LEAST_BATCHES, Loop, noise
from covary.data import ImageStore
from covary.rundir import RunDir
from covary.training import Session, train


def test_noise_is_a_store_of_whole_images() -> None:
    store = noise(5, batch=2)
    assert (len(store), store.nbytes) == (LEAST_BATCHES * 2, LEAST_BATCHES * 2 * 75)
    images, sizes = store.images([3, 0])
    assert torch.equal(images, store.pixels.view(-1, 3, 5, 5)[[3, 0]])
    assert sizes.tolist() == [[5, 5], [5, 5]]
    assert len(store.pixels.unique()) > 200


@pytest.mark.parametrize("method", ["simclr", "stl"])
def test_its_steps_are_those_of_training(
    method: str, case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Losses and final weights, bit by bit, of a run on the same images."""

    def load(*arguments: object, **options: object) -> ImageStore:
        return noise(case.setting.size, batch=case.setting.batch)

    monkeypatch.setattr(covary.training, "load", load)
    run = replace(case.run(method), epochs=1)
    train(run, tmp_path, Session(device="cpu", log_steps=1, knn_epochs=-1))
    lines = [json.loads(line) for line in RunDir(tmp_path).metrics_file.read_text().splitlines()]

    monkeypatch.setattr(Case, "run", lambda self, method: run)
    loop = Loop(case, method)
    losses = [float(loop.step(loop.batch(), loop.index())["loss"]) for _ in lines]
    assert losses == pytest.approx([line["loss"] for line in lines], rel=1e-6)
    assert len(losses) == LEAST_BATCHES


def test_it_has_no_end(case: Case) -> None:
    loop = Loop(case)
    epochs = [loop.batch().epoch for _ in range(2 * LEAST_BATCHES + 1)]
    assert epochs == [0] * LEAST_BATCHES + [1] * LEAST_BATCHES + [2]
