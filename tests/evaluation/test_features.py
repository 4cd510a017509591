"""Features kept on disk: computed once for the same weights and images, never taken for others."""

from pathlib import Path

import pytest
import torch

from covary.evaluation import evaluate, features, means
from covary.evaluation.features import fingerprint, kept
from covary.evaluation.result import Result
from covary.nets import build_encoder


def test_a_tensor_is_computed_once_and_anew_where_the_file_is_damaged(tmp_path: Path) -> None:
    calls = []

    def compute() -> torch.Tensor:
        calls.append(1)
        return torch.arange(6.0).view(2, 3)

    first, again, other = (kept(tmp_path, key, compute) for key in ("a", "a", "b"))
    assert torch.equal(first, again)
    assert len(calls) == 2
    assert torch.equal(first, other)
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:-5])
    assert torch.equal(kept(tmp_path, "a", compute), first)
    assert len(calls) == 3


def test_a_fingerprint_is_that_of_layers_and_weights() -> None:
    encoder, _ = build_encoder("resnet8", stem="cifar")
    before = fingerprint(encoder)
    assert fingerprint(encoder.train(False)) == before
    with torch.no_grad():
        next(encoder.parameters()).view(-1)[0] += 1e-3
    assert fingerprint(encoder) != before
    assert fingerprint(torch.nn.ReLU()) != fingerprint(torch.nn.Tanh())


def test_the_encoder_sees_the_same_images_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    extract = features.extract
    monkeypatch.setattr(features, "extract", lambda *a, **k: seen.append(len(a[1])) or extract(*a, **k))
    call = {"data": "shapes:n=60", "image_size": 16, "device": "cpu", "cache": tmp_path}
    first = evaluate("untrained:resnet8", task=["knn", "linear"], **call)
    again = evaluate("untrained:resnet8", task="knn", **call)
    assert seen == [60, 2000]
    assert again[0].metrics == first[0].metrics
    evaluate("untrained:resnet8", task="knn", seed=1, **call)  # other weights
    evaluate("untrained:resnet8", task="knn", mean=(0.1, 0.1, 0.1), **call)
    evaluate("untrained:resnet8", task="knn", **{**call, "image_size": 20})
    assert seen == [60, 2000] * 4


def test_means_are_over_the_sets_of_a_task() -> None:
    def result(task: str, data: str, **metrics: float) -> Result:
        return Result(
            task=task, protocol="", source="s", data=data, metrics=metrics, seconds=1, covary="0", commit=None
        )

    results = [
        result("knn", "a", top1=0.5, mean_per_class=0.25, k=20),
        result("knn", "b", top1=0.7, mean_per_class=0.75, k=10),
        result("linear", "a", top1=0.1, mean_per_class=0.1),
    ]
    assert means(results) == {"knn": pytest.approx({"top1": 0.6, "mean_per_class": 0.5})}


def test_several_sets_are_measured_in_turn() -> None:
    results = evaluate(
        "untrained:resnet8", data=["shapes:n=60", "shapes:n=80", "shapes:n=60"], task="knn", image_size=16, device="cpu"
    )
    assert [result.data for result in results] == ["shapes:n=60", "shapes:n=80"]
