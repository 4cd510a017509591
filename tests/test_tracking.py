"""What a run tells: means, lines of metrics.jsonl, TensorBoard's files, warnings said once."""

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from covary.errors import InputError
from covary.tracking import Meter, Tracker, TrackingConfig

SILENT = TrackingConfig(progress=False)


@pytest.fixture
def tracker(tmp_path: Path) -> Callable[..., Tracker]:
    """Return a function that makes trackers of one run folder."""

    def make(config: TrackingConfig = SILENT, *, main: bool = True) -> Tracker:
        return Tracker(config, metrics_file=tmp_path / "metrics.jsonl", main=main, done=0, total=10, run={})

    return make


def test_meter_reads_means_since_the_last_reading() -> None:
    meter = Meter()
    for loss, inv in ((1.0, 4.0), (2.0, 5.0), (6.0, 0.0)):
        meter.add({"loss": torch.tensor(loss, requires_grad=True), "inv": torch.tensor(inv)})
    assert meter.read() == {"loss": 3.0, "inv": 3.0}
    meter.add({"loss": torch.tensor(7.0)})
    assert meter.read() == {"loss": 7.0}


def test_meter_keeps_the_digits_of_many_steps() -> None:
    meter = Meter()
    for _ in range(10_000):
        meter.add({"loss": torch.tensor(0.1)})
    assert meter.read()["loss"] == pytest.approx(float(torch.tensor(0.1)), rel=1e-12)


def test_one_line_of_metrics_a_logged_step(tracker: Callable[..., Tracker], tmp_path: Path) -> None:
    with tracker() as first:
        first.log(10, 0, {"loss": 2.0, "lr": 0.1}, images=640)
        first.log(10, 0, {"knn": 0.5}, images=0)
    with tracker() as continued:
        continued.log(20, 1, {"loss": 1.0, "lr": 0.05}, images=640)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line.pop("images_per_second", 0) > 0 for line in lines] == [True, False, True]
    assert lines == [
        {"step": 10, "epoch": 0, "loss": 2.0, "lr": 0.1},
        {"step": 10, "epoch": 0, "knn": 0.5},
        {"step": 20, "epoch": 1, "loss": 1.0, "lr": 0.05},
    ]


def test_a_line_is_on_disk_when_it_is_logged(tracker: Callable[..., Tracker], tmp_path: Path) -> None:
    with tracker() as open_tracker:
        open_tracker.log(1, 0, {"loss": 2.0}, images=0)
        assert json.loads((tmp_path / "metrics.jsonl").read_text())["loss"] == 2.0


def test_a_pause_does_not_count(
    tracker: Callable[..., Tracker], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    now = 100.0
    monkeypatch.setattr("covary.tracking.time.perf_counter", lambda: now)
    with tracker() as clocked:
        now += 2
        with clocked.pause():
            now += 50
        clocked.log(1, 0, {}, images=64)
    assert json.loads((tmp_path / "metrics.jsonl").read_text())["images_per_second"] == 32


def test_other_processes_are_silent_and_write_nothing(
    tracker: Callable[..., Tracker], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with tracker(TrackingConfig(tensorboard=True), main=False) as other:
        other.say("line")
        other.warn_once("line", about="x")
        other.advance(0)
        other.log(1, 0, {"loss": 1.0}, images=1)
    assert capsys.readouterr() == ("", "")
    assert list(tmp_path.iterdir()) == []


def test_a_line_a_step_where_there_is_no_terminal(
    tracker: Callable[..., Tracker], capsys: pytest.CaptureFixture[str]
) -> None:
    with tracker(TrackingConfig()) as verbose:
        verbose.log(10, 1, {"loss": 2.0, "lr": 0.1}, images=0)
    assert capsys.readouterr().err == "epoch 2  step 10  loss 2\n"


def test_a_warning_is_said_once_for_each_subject(
    tracker: Callable[..., Tracker], capsys: pytest.CaptureFixture[str]
) -> None:
    with tracker() as warning:
        for line, about in (("a", "collapse"), ("b", "collapse"), ("c [x]", "data")):
            warning.warn_once(line, about=about)
    assert capsys.readouterr().err == "warning: a\nwarning: c [x]\n"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_gets_every_value(tracker: Callable[..., Tracker], tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra track is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with tracker(TrackingConfig(progress=False, tensorboard=True)) as both:
        both.log(10, 0, {"loss": 2.0}, images=0)
        both.log(20, 0, {"loss": 1.5}, images=0)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(10, 2.0), (20, 1.5)]


@pytest.mark.parametrize(
    ("config", "package"),
    [(TrackingConfig(wandb="project"), "wandb"), (TrackingConfig(tensorboard=True), "tensorboard")],
)
def test_a_missing_package_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, config: TrackingConfig, package: str
) -> None:
    def absent(name: str) -> Any:
        return None

    monkeypatch.setattr(importlib.util, "find_spec", absent)
    SILENT.check()
    with pytest.raises(InputError) as caught:
        config.check()
    assert str(caught.value) == (
        f"--tracking.{package} needs the package {package}; install covary[track] or leave the option out."
    )
