"""The loop: resume, refusals, signals, non-finite steps; all on a run of seconds."""

import itertools
import json
import math
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pictures import class_folders
from safetensors.torch import load_file
from tiny import small, tiny_views

import covary.step
import covary.training
from covary.compiling import Choice
from covary.data import Batches
from covary.errors import InputError
from covary.methods import BYOL, ESSL, STL, AbstractConfig, AbstractMethod, SimSiam
from covary.optim import OptimConfig
from covary.recipes import start_run
from covary.run import Run
from covary.rundir import RunDir
from covary.tracking import TrackingConfig
from covary.training import Interrupted, Session, TrainingError, pretrain, train

QUIET = Session(device="cpu", checkpoint_steps=3, log_steps=2, knn_epochs=-1, tracking=TrackingConfig(progress=False))


def tiny(method: str | AbstractConfig = "stl", **changes: Any) -> Run:
    run = start_run(data="shapes:n=64", method=method, image_size=16)
    return replace(
        run, **{"encoder": "resnet8", "epochs": 2, "batch_size": 16, "optim": OptimConfig(lr=0.05), **changes}
    )


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "method.safetensors")


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


class Stopped(Exception):
    """Stands for a process that dies."""


def dies_at(step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let training die when it is about to augment step ``step`` (from 0) of the process."""
    real, seen = covary.step.make_views, 0

    def make_views(*arguments: Any, **options: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen > step:
            raise Stopped
        return real(*arguments, **options)

    monkeypatch.setattr(covary.step, "make_views", make_views)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tiny(), tmp_path_factory.mktemp("finished"), QUIET)


def after_every_step(monkeypatch: pytest.MonkeyPatch, look: Callable[[AbstractMethod, float], None]) -> None:
    """Let ``look`` see the method, its teachers moved, and the progress that it was told of."""
    real = AbstractMethod.after_step

    def after_step(self: AbstractMethod, progress: float) -> None:
        real(self, progress)
        look(self, progress)

    monkeypatch.setattr(AbstractMethod, "after_step", after_step)


TAUGHT = tiny(method=STL(base=BYOL(head_hidden=16, embedding=8, predictor_hidden=8)))


@pytest.fixture(scope="module")
def finished_with_teachers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(TAUGHT, tmp_path_factory.mktemp("taught"), QUIET)


def test_a_run_leaves_what_everything_later_builds_on(finished: Path) -> None:
    encoder = load_file(finished / "encoder.safetensors")
    assert all(torch.equal(encoder[name], weights(finished)[f"encoder.{name}"]) for name in encoder)
    saved = json.loads((finished / "run.json").read_text())
    assert saved["run"]["method"]["name"] == "stl"
    assert (saved["run"]["stem"], saved["run"]["precision"]) == ("cifar", "fp32")
    assert saved["environment"]["images"] == 64
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 8
    for name in ("loss", "inv", "equi", "trans", "spread", "gradient", "lr", "images_per_second"):
        assert name in lines[-1]
    for line in lines:
        assert line["loss"] == pytest.approx(line["inv"] + line["equi"] + 0.2 * line["trans"], rel=1e-5)


def test_the_same_command_gives_the_same_bits(finished: Path, tmp_path: Path) -> None:
    assert equal(weights(train(tiny(), tmp_path, QUIET)), weights(finished))


def test_another_seed_gives_other_weights(finished: Path, tmp_path: Path) -> None:
    assert not equal(weights(train(tiny(seed=1), tmp_path, QUIET)), weights(finished))


@pytest.mark.parametrize("deaths", [(0,), (2,), (3,), (4,), (5, 1), (7, 0, 1), (4, 4)])
def test_resume_is_bit_identical(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaths: tuple[int, ...]
) -> None:
    for step in deaths:
        with monkeypatch.context() as patch:
            dies_at(step, patch)
            with pytest.raises(Stopped):
                train(tiny(), tmp_path, QUIET)
    assert equal(weights(train(tiny(), tmp_path, QUIET)), weights(finished))
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps))
    assert steps[-1] == 8


@pytest.mark.parametrize("deaths", [(2,), (5, 1)])
def test_resume_with_teachers_is_bit_identical(
    finished_with_teachers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deaths: tuple[int, ...]
) -> None:
    for step in deaths:
        with monkeypatch.context() as patch:
            dies_at(step, patch)
            with pytest.raises(Stopped):
                train(TAUGHT, tmp_path, QUIET)
    whole = weights(finished_with_teachers)
    assert equal(weights(train(TAUGHT, tmp_path, QUIET)), whole)
    students = {name: name.replace("teacher.networks.", "") for name in whole if "teacher.networks." in name}
    assert {name.split(".")[0] for name in students} == {"teacher", "heads"}
    assert not any(
        torch.equal(whole[name], whole[student]) for name, student in students.items() if name.endswith("weight")
    )


def test_methods_are_told_how_much_of_the_run_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float] = []
    after_every_step(monkeypatch, lambda method, progress: told.append(progress))
    with monkeypatch.context() as patch:
        dies_at(5, patch)
        with pytest.raises(Stopped):
            train(TAUGHT, tmp_path, QUIET)
    assert told == [1 / 8, 2 / 8, 3 / 8, 4 / 8, 5 / 8]
    told.clear()
    train(TAUGHT, tmp_path, QUIET)  # from the checkpoint of step 3
    assert told == [4 / 8, 5 / 8, 6 / 8, 7 / 8, 1]


def test_teachers_are_the_moving_average_of_the_weights_of_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    momentum = 0.6
    base = BYOL(head_hidden=16, embedding=8, predictor_hidden=8, momentum=momentum)
    run = replace(TAUGHT, method=STL(base=base)).resolved(torch.device("cpu"))

    def parameters(method: AbstractMethod) -> dict[str, torch.Tensor]:
        return {name: p.detach().double() for name, p in method.named_parameters()}

    seen = [parameters(covary.step.build(run, torch.device("cpu"))[0])]
    after_every_step(monkeypatch, lambda method, progress: seen.append(parameters(method)))
    train(run, tmp_path, QUIET)
    assert len(seen) == 1 + 8
    students = {name: name.replace("teacher.networks.", "") for name in seen[0] if "teacher.networks." in name}
    assert {name.split(".")[0] for name in students} == {"teacher", "heads"}
    for name, student in students.items():
        expected = first = seen[0][name]
        for step, found in enumerate(seen[1:], start=1):
            m = 1 - (1 - momentum) * (math.cos(math.pi * step / 8) + 1) / 2
            expected = m * expected + (1 - m) * found[student]
            torch.testing.assert_close(found[name], expected, rtol=1e-5, atol=1e-6)
        assert not torch.equal(seen[-1][name], first)


def test_parts_in_constant_lr_keep_it_while_the_others_follow_the_schedule(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = covary.step.build_optimizer
    rates: list[dict[str, float]] = []

    def build_optimizer(config: OptimConfig, module: AbstractMethod) -> torch.optim.Optimizer:
        names = {id(p): name for name, p in module.named_parameters()}

        def note(optimizer: torch.optim.Optimizer, *_: Any) -> None:
            rates.append({names[id(p)]: group["lr"] for group in optimizer.param_groups for p in group["params"]})

        optimizer = real(config, module)
        optimizer.register_step_pre_hook(note)
        return optimizer

    monkeypatch.setattr(covary.step, "build_optimizer", build_optimizer)
    train(tiny(small(SimSiam), optim=OptimConfig(lr=0.05, constant_lr=("predictor",))), tmp_path, QUIET)
    assert len(rates) == 8
    assert {name.split(".")[0] for name in rates[0]} == {"encoder", "heads"}
    for step, rate in enumerate(rates):
        cosine = 0.05 / 2 * (1 + math.cos(math.pi * step / 8))
        expected = {name: 0.05 if name.startswith("heads.inv.predictor.") else cosine for name in rate}
        assert rate == pytest.approx(expected, rel=1e-12)


def test_a_finished_run_is_left_as_it_is(finished: Path) -> None:
    before = weights(finished)
    train(tiny(), finished, QUIET)
    assert equal(weights(finished), before)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_signal_saves_and_the_run_goes_on(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, signum: signal.Signals
) -> None:
    real = covary.step.make_views
    calls = []

    def make_views(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 5:
            os.kill(os.getpid(), signum)
        return real(*arguments, **options)

    handler = signal.getsignal(signum)
    session = replace(QUIET, checkpoint_steps=0)
    with monkeypatch.context() as patch:
        patch.setattr(covary.step, "make_views", make_views)
        with pytest.raises(Interrupted, match=f"stopped by {signum.name} at step 5") as caught:
            train(tiny(), tmp_path, session)
    assert caught.value.signum == signum
    assert signal.getsignal(signum) == handler
    checkpoint, _ = RunDir(tmp_path).newest_checkpoint()
    assert checkpoint is not None
    assert checkpoint.step == 5
    assert equal(weights(train(tiny(), tmp_path, session)), weights(finished))


def test_a_changed_configuration_is_refused_with_the_difference(finished: Path) -> None:
    with pytest.raises(InputError) as caught:
        train(tiny(seed=3, optim=OptimConfig(lr=0.1)), finished, QUIET)
    assert "optim.lr: 0.05 -> 0.1; seed: 0 -> 3" in str(caught.value)


def test_changed_images_are_refused(finished: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = json.loads((finished / "run.json").read_text())
    content["environment"]["fingerprint"] = "other"
    monkeypatch.setattr(RunDir, "read_run", lambda self: content)
    with pytest.raises(InputError, match=r"images of shapes.* have changed since the run began"):
        train(tiny(), finished, QUIET)


def test_residence_changes_nothing(finished: Path, tmp_path: Path) -> None:
    assert equal(weights(train(tiny(), tmp_path, replace(QUIET, residence="streamed"))), weights(finished))


def test_a_run_continues_from_files_what_it_began_from_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class_folders(tmp_path / "images", {"a": 20, "b": 20}, suffix=".jpg")
    run, session = tiny(data=str(tmp_path / "images")), replace(QUIET, cache=tmp_path / "cache")
    whole = train(run, tmp_path / "whole", replace(session, residence="resident"))
    with monkeypatch.context() as patch:
        dies_at(3, patch)
        with pytest.raises(Stopped):
            train(run, tmp_path / "moved", replace(session, residence="streamed"))
    moved = train(run, tmp_path / "moved", replace(session, residence="encoded", readers=3))
    assert equal(weights(moved), weights(whole))


def test_threads_of_the_first_start_are_restored_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        dies_at(4, patch)
        with pytest.raises(Stopped):
            train(tiny(), tmp_path, QUIET)
    file = tmp_path / "run.json"
    content = json.loads(file.read_text())
    threads = torch.get_num_threads()
    content["environment"] |= {"threads": threads + 1, "processes": 2}
    file.write_text(json.dumps(content))
    capsys.readouterr()
    try:
        train(tiny(), tmp_path, QUIET)
        assert torch.get_num_threads() == threads + 1
        said = capsys.readouterr().err
        assert f"the run began with {threads + 1} threads, {threads} now: set to {threads + 1}" in said
        assert "the run began with 2 processes, 1 now" in said
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("threads", [0, -1, 10**9, 10**30, True, "2"])
def test_threads_that_cannot_be_are_refused(tmp_path: Path, threads: object, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        dies_at(4, patch)
        with pytest.raises(Stopped):
            train(tiny(), tmp_path, QUIET)
    file = tmp_path / "run.json"
    content = json.loads(file.read_text())
    content["environment"]["threads"] = threads
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"is damaged: environment\.threads is "):
        train(tiny(), tmp_path, QUIET)


def test_a_queue_that_is_not_finite_reaches_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Run.build_method

    def build(run: Run) -> AbstractMethod:
        method = real(run)
        method.register_buffer("mask", torch.tensor([0.0, -math.inf]))
        method.register_buffer("queue", torch.zeros(4))
        steps = itertools.count(1)

        def spoil(progress: float) -> None:
            if next(steps) == 3:
                method.get_buffer("queue")[1] = math.nan

        monkeypatch.setattr(method, "after_step", spoil)
        return method

    monkeypatch.setattr(Run, "build_method", build)
    with pytest.raises(TrainingError, match="is not finite at step 4"):
        train(tiny(), tmp_path, replace(QUIET, checkpoint_steps=1))
    checkpoint, _ = RunDir(tmp_path).newest_checkpoint()
    assert checkpoint is not None
    assert checkpoint.step == 2
    assert checkpoint.tensors["method.queue"].isfinite().all()


def test_a_run_goes_on_compiled_as_it_began(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compiled: list[dict[str, Any]] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module, **options: compiled.append(options))
    with monkeypatch.context() as patch:
        chosen = Choice(compile="on", reason="compiled: it was faster")
        patch.setattr(covary.training, "choose_compile", lambda *arguments, **options: chosen)
        dies_at(5, patch)
        with pytest.raises(Stopped):
            train(tiny(), tmp_path, QUIET)
    content = json.loads((tmp_path / "run.json").read_text())
    assert (content["run"]["compile"], content["environment"]["compiled"]) == ("auto", True)
    assert "compiled: it was faster" in capsys.readouterr().err
    train(tiny(), tmp_path, QUIET)
    assert "compiled: as it began" in capsys.readouterr().err
    assert compiled == [{"dynamic": False}] * 2
    assert json.loads((finished / "run.json").read_text())["environment"]["compiled"] is False


def test_a_non_finite_loss_stops_before_anything_is_updated(tmp_path: Path) -> None:
    run = tiny(optim=OptimConfig(lr=1e30))
    with pytest.raises(TrainingError, match=r"a statistic of BatchNorm is not finite at step \d .*Lower --optim.lr"):
        train(run, tmp_path, replace(QUIET, checkpoint_steps=1, log_steps=1))
    checkpoint, damaged = RunDir(tmp_path).newest_checkpoint()
    assert checkpoint is not None
    assert damaged == []
    assert all(torch.isfinite(tensor).all() for tensor in checkpoint.tensors.values() if tensor.is_floating_point())
    assert not (tmp_path / "encoder.safetensors").exists()


def test_accumulation_takes_the_mean_over_the_parts(tmp_path: Path) -> None:
    whole, parts = tiny(epochs=1), tiny(epochs=1, accumulate=2)
    assert (
        weights(train(parts, tmp_path / "parts", QUIET)).keys() == weights(train(whole, tmp_path / "w", QUIET)).keys()
    )
    lines = (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == 4
    with pytest.raises(InputError, match=r"batch_size is 16; expected a multiple of 6 \(partners come in twos\)"):
        tiny(accumulate=3)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_parts_of_a_batch_hold_their_own_rows_of_everything(count: int) -> None:
    views = tiny_views(6)
    parts = list(covary.step._parts(views, count))
    assert len(parts) == count
    for index, part in enumerate(parts):
        rows = slice(6 // count * index, 6 // count * (index + 1))
        assert torch.equal(part.images, views.images[:, rows])
        assert torch.equal(part.params, views.params[:, rows])
        assert torch.equal(part.turned, views.turned[:, rows])
        assert part.partners == views.partners


def test_accumulation_with_a_turned_view(tmp_path: Path) -> None:
    run = tiny(small(ESSL), epochs=1, accumulate=2)
    lines = (train(run, tmp_path, QUIET) / "metrics.jsonl").read_text().splitlines()
    last = json.loads(lines[-1])
    assert last["step"] == 4
    assert last["loss"] == pytest.approx(last["inv"] + 0.5 * last["turn"], rel=1e-5)


def test_online_knn_is_logged_and_changes_nothing(finished: Path, tmp_path: Path) -> None:
    train(tiny(), tmp_path, replace(QUIET, knn_epochs=1))
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    accuracies = [line["knn"] for line in lines if "knn" in line]
    assert len(accuracies) == 2
    assert all(0 <= accuracy <= 1 for accuracy in accuracies)
    assert equal(weights(tmp_path), weights(finished))


def test_simclr_runs_without_partners(tmp_path: Path) -> None:
    run = tiny("simclr")
    assert not run.augment.partners
    lines = (train(run, tmp_path, QUIET) / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["loss"] > 0


def test_pretrain_takes_values_and_names(tmp_path: Path) -> None:
    folder = pretrain(
        data="shapes:n=64",
        method="simclr",
        out=tmp_path / "api",
        image_size=16,
        encoder="resnet8",
        epochs=1,
        batch_size=32,
        session=QUIET,
    )
    saved = json.loads((folder / "run.json").read_text())["run"]
    assert (saved["batch_size"], saved["epochs"], saved["method"]["name"]) == (32, 1, "simclr")


def test_collapse_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(covary.training, "COLLAPSED", 100.0)
    train(tiny(BYOL(head_hidden=8, predictor_hidden=8), epochs=1), tmp_path, QUIET)
    said = capsys.readouterr().err
    assert said.count("features have collapsed (spread ") == 1
    assert said.count("embeddings have collapsed (spread_embedding ") == 1


def test_batches_are_the_same_whichever_step_they_start_from() -> None:
    from covary.data import Fit, load

    store = load("shapes:n=64", split="train", fit=Fit.train(16))
    batches = Batches(store, batch_size=16, seed=0, device=torch.device("cpu"))
    whole = list(batches.epoch(1))
    for start in range(batches.steps_per_epoch):
        for a, b in zip(batches.epoch(1, start_step=start), whole[start:], strict=True):
            assert torch.equal(a.images, b.images)
            assert torch.equal(a.positions, b.positions)
