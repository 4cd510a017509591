"""Every part on a case of no size: its lines follow from its seconds."""

import math
import statistics
from collections.abc import Mapping
from dataclasses import replace

import pytest
import torch

from covary.bench import PARTS, Case, Effort, Finding
from covary.bench.evaluation import CLASSES, PER_CLASS, drawn
from covary.bench.floor import encoder_alone
from covary.bench.stages import DATA, STAGES
from covary.evaluation.knn import knn

BATCH = 8
pytestmark = pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # Python 3.12 on: forks of loaders


def medians(finding: Finding) -> Mapping[tuple[str, str], float]:
    """The lines' medians by name and unit."""
    found = {(each.name, each.unit): each.spread.median for each in finding.lines}
    assert len(found) == len(finding.lines)
    return found


def middle(above: tuple[float, ...], below: tuple[float, ...]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def check_seconds(finding: Finding, *names: str) -> None:
    assert list(finding.seconds) == list(names)
    assert {len(values) for values in finding.seconds.values()} == {2}
    assert all(0 < value < math.inf for values in finding.seconds.values() for value in values)


def test_floor(case: Case) -> None:
    finding = PARTS["floor"].measure(case)
    check_seconds(finding, "floor", "step")
    seconds, lines = finding.seconds, medians(finding)
    assert lines["step / floor", ""] == middle(seconds["floor"], seconds["step"])
    assert lines["whole step", "images/s"] == statistics.median(BATCH / each for each in seconds["step"])
    assert lines["encoder forward and backward", "ms"] == 1000 * statistics.median(seconds["floor"])
    assert finding.lines[-1].goal is not None


def test_the_floor_is_forward_and_backward_of_two_views(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, _ = case.encoder()
    seen: list[torch.Tensor] = []
    encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    reached: list[str] = []
    for name, parameter in encoder.named_parameters():
        parameter.register_post_accumulate_grad_hook(lambda parameter, name=name: reached.append(name))
    monkeypatch.setattr(Case, "encoder", lambda self: (encoder, 128))
    job = encoder_alone(case)
    job()
    assert encoder.training
    assert [tuple(view.shape) for view in seen] == [(BATCH, 3, 16, 16)] * 2
    assert all(view.is_contiguous(memory_format=torch.channels_last) for view in seen)
    assert not torch.equal(seen[0], seen[1])
    assert sorted(reached) == sorted(name for name, _ in encoder.named_parameters())
    assert all(parameter.grad is None for parameter in encoder.parameters())


def test_stages(case: Case) -> None:
    finding = PARTS["stages"].measure(case)
    check_seconds(finding, *STAGES)
    lines = medians(finding)
    rounds = [{name: finding.seconds[name][turn] for name in STAGES} for turn in range(2)]
    shares = [sum(each[name] for name in DATA) / sum(each.values()) for each in rounds]
    assert lines["data and augmentation / step", ""] == pytest.approx(statistics.median(shares))
    assert lines["all stages", "ms"] == pytest.approx(1000 * statistics.median(sum(each.values()) for each in rounds))
    for name, said in STAGES.items():
        assert lines[said, "ms"] == 1000 * statistics.median(finding.seconds[name])


def test_stl(case: Case) -> None:
    finding = PARTS["stl"].measure(case)
    check_seconds(finding, "simclr", "stl", "stl, low rank")
    seconds = finding.seconds
    assert medians(finding)["stl / simclr", ""] == middle(seconds["stl"], seconds["simclr"])
    assert medians(finding)["stl, low rank / simclr", ""] == middle(seconds["stl, low rank"], seconds["simclr"])
    longer = {name: [a - b for a, b in zip(seconds[name], seconds["simclr"], strict=True)] for name in seconds}
    found = medians(finding)["overhead, low rank / full", ""]
    assert found == middle(longer["stl, low rank"], longer["stl"])


def test_memory(case: Case) -> None:
    finding = PARTS["memory"].measure(case)
    lines = medians(finding)
    assert list(lines) == [
        (f"{method} {what}", "MB") for method in ("simclr", "stl", "stl, low rank") for what in ("step", "process")
    ]
    for method in ("simclr", "stl", "stl, low rank"):
        assert 0 <= lines[f"{method} step", "MB"] < lines[f"{method} process", "MB"]
        assert lines[f"{method} process", "MB"] > 100  # torch alone


def test_memory_is_not_told_everywhere(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    import covary.bench.memory

    monkeypatch.setattr(covary.bench.memory, "RESET", covary.bench.memory.RESET / "absent")
    finding = PARTS["memory"].measure(case)
    assert (finding.lines, len(finding.notes)) == ((), 1)


def test_rivals(case: Case) -> None:
    pytest.importorskip("kornia")
    pytest.importorskip("lightly")
    finding = PARTS["rivals"].measure(case)
    check_seconds(finding, "covary", "torchvision, tensors", "torchvision, PIL", "kornia", "lightly")
    seconds, lines = finding.seconds, medians(finding)
    for name in ("kornia", "lightly"):
        assert lines[f"covary / {name}", ""] == middle(seconds[name], seconds["covary"])
    for name, values in seconds.items():
        assert lines[name, "images/s"] == statistics.median(BATCH / each for each in values)
    assert finding.notes == ()


def test_augmentation(case: Case) -> None:
    finding = PARTS["augmentation"].measure(case)
    seconds, lines = finding.seconds, medians(finding)
    assert list(seconds)[:3] == ["covary", "torchvision, tensors", "torchvision, PIL"]
    assert lines["covary", "µs/image"] == pytest.approx(1e6 * statistics.median(seconds["covary"]) / BATCH)
    goals = {each.name: each.goal.bound for each in finding.lines if each.goal}
    assert goals["covary / torchvision"] == 3
    assert goals.get("covary / kornia", 2) == 2


def test_processes(case: Case) -> None:
    finding = PARTS["processes"].measure(case)
    check_seconds(finding, "alone", "share", "together")
    seconds, lines = finding.seconds, medians(finding)
    assert lines["efficiency", ""] == pytest.approx(0.5 * middle(seconds["share"], seconds["together"]))
    together = f"{case.effort.processes} processes with a share each (1)"
    assert lines[together, "images/s"] == statistics.median(BATCH / each for each in seconds["together"])


def test_processes_need_a_gpu_each(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    finding = PARTS["processes"].measure(replace(case, device=torch.device("cuda")))
    assert finding.notes == ("2 processes need 2 GPUs; there is 1.",)


def test_evaluation(case: Case) -> None:
    finding = PARTS["evaluation"].measure(replace(case, effort=Effort(repeats=2, block_seconds=0)))
    check_seconds(finding, "forward", "extraction", "knn", "linear")
    seconds, lines = finding.seconds, medians(finding)
    assert lines["extraction / forward", ""] == middle(seconds["forward"], seconds["extraction"])
    assert lines["linear sweep", "s"] == statistics.median(seconds["linear"])


def test_drawn_features_are_neither_all_right_nor_chance() -> None:
    train, test = (drawn(16, split, torch.device("cpu")) for split in PER_CLASS)
    assert (len(train[0]), len(test[0])) == tuple(CLASSES * count for count in PER_CLASS.values())
    assert not torch.equal(train[0][:5], test[0][:5])
    assert 0.2 < knn(*train, *test).top1 < 0.95
