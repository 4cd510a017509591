"""Training, resuming and measuring a detector, in one process and in two."""

import ast
import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from ranks import run_ranks
from torch import nn
from torch.nn.functional import pad

from covary import dist, rundir
from covary.cli import main
from covary.errors import InputError, TrainingError
from covary.evaluation import Options, evaluate
from covary.evaluation.detection import DetectionOptions, training
from covary.evaluation.detection.batches import batches
from covary.evaluation.detection.detect import detect
from covary.evaluation.detection.model import build_detector
from covary.evaluation.detection.training import find_objects, renew_statistics
from covary.evaluation.detection.voc import load
from covary.evaluation.source import resolve
from covary.nets import build_encoder
from covary.rundir import RunDir
from covary.stop import Interrupted

CPU = torch.device("cpu")
QUICK = DetectionOptions(iterations=6, batch_size=2, sizes=(64, 80), test_size=64)
NOWHERE = Path("/nonexistent")


def source():
    return resolve("untrained:resnet8", stem="imagenet")


def weights(work: Path) -> dict[str, torch.Tensor]:
    checkpoint, damaged = RunDir(work).newest_checkpoint()
    assert checkpoint is not None
    assert not damaged
    return checkpoint.tensors


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def killed_at_the(count: int) -> Callable[..., Iterator]:
    """Return ``batches`` that bring a SIGTERM with the batch of this number."""

    def killed(*args, **kwargs) -> Iterator:
        for number, batch in enumerate(batches(*args, **kwargs), start=1):
            if number == count:
                os.kill(os.getpid(), signal.SIGTERM)
            yield batch

    return killed


def test_a_detector_learns_to_find_rectangles(drawn: Path, tmp_path: Path) -> None:
    options = replace(QUICK, iterations=60, anchors=(24,), lr=0.02)
    result = detect(source(), str(drawn), options=options, device=CPU, work=tmp_path / "work")
    assert result.ap50 > 0.5
    assert result.ap <= result.ap50
    assert result.per_class.keys() == {"red", "blue"}
    assert result.ap == pytest.approx(sum(result.per_class.values()) / 2)
    assert result.images == (6, 3)
    start = detect(source(), str(drawn), options=replace(options, iterations=1, lr=1e-6), device=CPU)
    assert start.ap50 < 0.2


def test_interrupted_and_continued_is_the_same_to_the_bit(drawn: Path, tmp_path: Path, monkeypatch) -> None:
    whole = detect(source(), str(drawn), options=QUICK, device=CPU, work=tmp_path / "whole")

    monkeypatch.setattr(training, "batches", killed_at_the(4))
    with pytest.raises(Interrupted, match="stopped by SIGTERM at step 4"):
        detect(source(), str(drawn), options=QUICK, device=CPU, work=tmp_path / "parts")
    monkeypatch.undo()
    state = torch.get_rng_state()
    parts = detect(source(), str(drawn), options=QUICK, device=CPU, work=tmp_path / "parts")
    assert torch.equal(torch.get_rng_state(), state)
    assert_same(weights(tmp_path / "parts"), weights(tmp_path / "whole"))
    assert parts == whole
    steps = [line.split(",")[0] for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    assert steps == ['{"step": 6']


def test_the_command_line_stops_and_goes_on(drawn: Path, tmp_path: Path, monkeypatch, capsys) -> None:
    command = ["evaluate", "untrained:resnet8", "--data", str(drawn), "--cache", str(tmp_path), "--device", "cpu"]
    command += ["--detection.iterations", "3", "--detection.batch-size", "2", "--detection.sizes", "64"]
    monkeypatch.setattr(training, "batches", killed_at_the(1))
    assert main(command) == 128 + signal.SIGTERM
    assert "stopped by SIGTERM at step 1; run the same command to continue" in capsys.readouterr().err
    monkeypatch.undo()
    assert main([*command, "--out", str(tmp_path / "out.json")]) == 0
    out = capsys.readouterr().out
    assert f"detection  {drawn}" in out
    assert "  per_class  red " in out
    assert json.loads((tmp_path / "out.json").read_text())["task"] == "detection"


def test_the_cache_continues_what_is_the_same_and_begins_what_is_not(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COVARY_CACHE", str(tmp_path))
    first = evaluate(
        "untrained:resnet8", data=str(drawn), task="detection", options=Options(detection=QUICK), device="cpu"
    )
    (folder,) = (tmp_path / "detection").iterdir()
    again = evaluate("untrained:resnet8", data=str(drawn), options=Options(detection=QUICK), device="cpu")
    assert [one.metrics for one in first] == [one.metrics for one in again]
    assert first[0].metrics.keys() == {"ap", "ap50", "ap75", "per_class.red", "per_class.blue"}
    assert "6 iterations of 2 images" in first[0].protocol
    assert "shorter side 64 80 px, longer side 320 px at most, flips" in first[0].protocol
    assert "test images of shorter side 64 px, longer side 320 px at most; COCO" in first[0].protocol
    assert "6 training and 3 test images" in first[0].protocol
    assert len(list((tmp_path / "detection").iterdir())) == 1
    evaluate("untrained:resnet8", data=str(drawn), options=Options(detection=QUICK), device="cpu", seed=1)
    assert len(list((tmp_path / "detection").iterdir())) == 2
    assert (folder / "run.json").exists()


def test_a_folder_of_another_training_is_refused(drawn: Path, tmp_path: Path) -> None:
    detect(source(), str(drawn), options=replace(QUICK, iterations=1), device=CPU, work=tmp_path / "w")
    with pytest.raises(InputError, match=r"holds another detection training \(schedule.lr: 0.1 -> 0.5\)"):
        detect(source(), str(drawn), options=replace(QUICK, iterations=1, lr=0.5), device=CPU, work=tmp_path / "w")


def test_a_loss_that_explodes_is_named(drawn: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"The detector's loss is not finite at iteration \d \(lr .*lower"):
        detect(source(), str(drawn), options=replace(QUICK, lr=1e30), device=CPU, work=tmp_path)


def test_a_full_disk_is_a_line_and_the_exit_code_of_a_training(
    drawn: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(path: Path, content: bytes) -> None:
        if path.name == "state.safetensors":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        path.write_bytes(content)

    monkeypatch.setattr(rundir, "_write_synced", full)
    command = ["evaluate", "untrained:resnet8", "--data", str(drawn), "--cache", str(tmp_path), "--device", "cpu"]
    command += ["--detection.iterations", "1", "--detection.batch-size", "1", "--detection.sizes", "64"]
    assert main(command) == 1
    complaint = capsys.readouterr().err.splitlines()[-1]
    assert complaint.startswith("covary: The checkpoint of step 1 cannot be written to ")
    assert " (No space left on device): " in complaint
    assert complaint.endswith(" MB free. Make room, then run the same command to continue.")


def test_a_size_of_images_is_refused(drawn: Path) -> None:
    with pytest.raises(InputError) as caught:
        evaluate("untrained:resnet8", data=str(drawn), task="detection", image_size=64, device="cpu")
    assert str(caught.value) == (
        "detection chooses image sizes itself: --detection.sizes, --detection.test-size; leave out image_size."
    )


def test_test_images_with_difficult_objects_only_are_refused_before_the_training(
    drawn: Path, tmp_path: Path, write_annotation: Callable
) -> None:
    for index in range(3):
        write_annotation(drawn, f"test{index}", [("red", 5, 5, 30, 30)], difficult=1)
    with pytest.raises(InputError, match=r"\S+test.txt names no image with an object that is not difficult"):
        detect(source(), str(drawn), options=QUICK, device=CPU, work=tmp_path / "work")
    assert not (tmp_path / "work").exists()


def test_commands_that_build_no_detector_do_not_import_one() -> None:
    script = "import sys, covary.cli.pretrain; print([name for name in sys.modules if name.startswith(sys.argv[1])])"
    done = subprocess.run(
        [sys.executable, "-c", script, "covary.evaluation.detection"], capture_output=True, text=True, check=True
    )
    imported = {name.rpartition(".")[2] for name in ast.literal_eval(done.stdout)}
    assert "options" in imported  # evaluation itself is there
    assert imported.isdisjoint({"model", "detect", "training", "transforms", "batches", "ap"})


def test_an_encoder_without_stages_is_refused_before_its_images_are_read() -> None:
    with pytest.raises(InputError, match="A detector needs a residual network"):
        evaluate("untrained:timm:vit_tiny_patch16_224", data="voc07+12", task="detection", device="cpu")


def test_batches_follow_each_other_and_know_no_start(drawn: Path) -> None:
    images, schedule = load(str(drawn), root=NOWHERE).train, QUICK.resolved("")
    whole = list(batches(images, schedule, seed=0, start=0, stop=6))
    late = list(batches(images, schedule, seed=0, start=4, stop=6))
    for one, other in zip(whole[4:], late, strict=True):
        for a, b in zip(one, other, strict=True):
            assert torch.equal(a.pixels, b.pixels)
            assert torch.equal(a.boxes, b.boxes)
    for epoch in (whole[:3], whole[3:]):  # 6 images in 3 batches: each once
        seen = {one.pixels.mean().item() for batch in epoch for one in batch}
        assert len(seen) == 6


def quick_detector():
    torch.manual_seed(0)
    encoder, _ = build_encoder("resnet8")
    return build_detector(encoder, classes=2, schedule=QUICK.resolved(""), mean=(0.5,) * 3, std=(0.25,) * 3)


def test_renewed_statistics_are_means_over_batches(drawn: Path) -> None:
    schedule = replace(QUICK.resolved(""), precise_bn=3)
    model, images = quick_detector(), load(str(drawn), root=NOWHERE).train
    renew_statistics(model, images, schedule, device=CPU, seed=0)
    conv, norm = model.backbone.layers[0], model.backbone.layers[1]
    means, variances = [], []
    for batch in batches(images, schedule, seed=0, start=6, stop=9):
        normalised = [(one.pixels - 0.5) / 0.25 for one in batch]
        height, width = (-(-max(x.shape[axis] for x in normalised) // 8) * 8 for axis in (1, 2))
        x = torch.stack([pad(x, (0, width - x.shape[2], 0, height - x.shape[1])) for x in normalised])
        y = conv(x).detach().double()
        means.append(y.mean((0, 2, 3)))
        variances.append(y.var((0, 2, 3)))
    torch.testing.assert_close(norm.running_mean.double(), torch.stack(means).mean(0), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(norm.running_var.double(), torch.stack(variances).mean(0), rtol=1e-5, atol=1e-6)
    assert norm.momentum == nn.BatchNorm2d(1).momentum


def in_processes(drawn: str, work: str) -> tuple[dict[str, torch.Tensor], list, list[float]]:
    """Train in the processes that have met; return weights, what an untrained detector finds, and the result."""
    images = load(drawn, root=NOWHERE)
    found = find_objects(quick_detector(), images.test, QUICK.resolved(""), device=CPU)
    result = detect(source(), drawn, options=QUICK, device=CPU, work=Path(work, str(dist.world_size())))
    return (
        weights(Path(work, str(dist.world_size()))),
        [(one.boxes, one.labels, one.scores) for one in found],
        [result.ap, result.ap50, result.ap75, *result.per_class.values()],
    )


@pytest.mark.xdist_group("dist")
def test_two_processes_agree_and_share_the_test_images(drawn: Path, tmp_path: Path) -> None:
    one = in_processes(str(drawn), str(tmp_path))
    first, second = run_ranks(in_processes, 2, str(drawn), str(tmp_path))
    assert_same(first[0], second[0])
    assert first[2] == second[2]
    for alone, together in zip(one[1], first[1], strict=True):
        assert len(alone[0]) > 0
        for a, b in zip(alone, together, strict=True):
            torch.testing.assert_close(a, b)
    assert first[0].keys() == one[0].keys()


def test_a_batch_that_processes_cannot_share_is_refused(drawn: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist, "world_size", lambda: 4)
    with pytest.raises(InputError, match="detection batch_size is 2, which 4 processes cannot share"):
        detect(source(), str(drawn), options=QUICK, device=CPU)
