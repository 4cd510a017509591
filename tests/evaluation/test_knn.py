import math

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from covary.errors import InputError
from covary.evaluation import knn as module
from covary.evaluation.knn import KnnOptions, knn


def sets(n: int = 90, queries: int = 60, classes: int = 5, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, 7, generator=generator)
    labels = torch.arange(n + queries) % classes
    x = centres[labels] + torch.randn(n + queries, 7, generator=generator)
    return x[:n], labels[:n], x[n:], labels[n:]


def naive(
    bank: Tensor, bank_labels: Tensor, queries: Tensor, k: int, temperature: float | None, classes: int
) -> list[int]:
    """The rule in words, with loops: sort by (−similarity, row), let the first k vote, take the first best class."""
    predictions = []
    for query in queries.double():
        scored = []
        for row, other in enumerate(bank.double()):
            norm = math.sqrt(sum(v * v for v in query.tolist())) * math.sqrt(sum(v * v for v in other.tolist()))
            product = sum(a * b for a, b in zip(query.tolist(), other.tolist(), strict=True))
            scored.append((-product / norm if norm else 0.0, row))
        votes = [0.0] * classes
        for negative, row in sorted(scored)[:k]:
            votes[int(bank_labels[row])] += 1.0 if temperature is None else math.exp(-negative / temperature)
        predictions.append(votes.index(max(votes)))
    return predictions


@pytest.mark.parametrize("temperature", [0.07, 1.0, None])
@pytest.mark.parametrize("k", [1, 5, 20, 90])
def test_accuracy_is_that_of_the_rule_in_words(k: int, temperature: float | None) -> None:
    bank, bank_labels, queries, labels = sets()
    expected = naive(bank, bank_labels, queries, k, temperature, 5)
    found = knn(bank, bank_labels, queries, torch.tensor(expected), k=k, temperature=temperature, classes=5)
    assert found.top1 == 1.0
    hits = [e == label for e, label in zip(expected, labels.tolist(), strict=True)]
    assert knn(bank, bank_labels, queries, labels, k=k, temperature=temperature).top1 == pytest.approx(sum(hits) / 60)


@pytest.mark.parametrize("k", [1, 7])
def test_equal_votes_are_scikit_learns(k: int) -> None:
    bank, bank_labels, queries, _ = sets(n=300, queries=200)
    oracle = KNeighborsClassifier(n_neighbors=k, metric="cosine", algorithm="brute").fit(bank, bank_labels)
    expected = torch.from_numpy(oracle.predict(queries))
    assert knn(bank, bank_labels, queries, expected, k=k, temperature=None, classes=5).top1 == 1.0


def test_blocks_of_queries_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = knn(*sets())
    monkeypatch.setitem(module.NUMBERS_AT_ONCE, "cpu", 1)
    assert knn(*sets()) == whole


def test_mean_per_class_weighs_every_class_alike() -> None:
    bank = torch.eye(3)
    queries, labels = bank[[0, 0, 0, 1]], torch.tensor([0, 0, 0, 2])
    found = knn(bank, torch.arange(3), queries, labels, k=1)
    assert found.top1 == 0.75
    assert found.mean_per_class == 0.5  # class 0: 3 of 3; class 1 has no image; class 2: 0 of 1


def test_of_neighbours_at_one_similarity_the_first_are_taken() -> None:
    bank = torch.tensor([[1.0, 0.0]] * 6 + [[0.0, 1.0]] * 2)
    labels = torch.tensor([1, 1, 0, 0, 0, 0, 2, 2])
    assert knn(bank, labels, bank[:1], torch.tensor([1]), k=3, temperature=None).top1 == 1.0
    assert knn(bank.flip(0), labels.flip(0), bank[:1], torch.tensor([0]), k=3, temperature=None, classes=3).top1 == 1.0


def test_of_classes_with_equal_votes_the_smaller_is_predicted() -> None:
    bank, labels = torch.eye(2), torch.tensor([1, 0])
    assert knn(bank, labels, torch.ones(1, 2), torch.tensor([0]), k=2, classes=2).top1 == 1.0


def test_all_images_vote_where_there_are_fewer_than_k() -> None:
    bank, bank_labels, queries, labels = sets(n=10)
    found = knn(bank, bank_labels, queries, labels, k=20)
    assert found.k == 10
    assert found == knn(bank, bank_labels, queries, labels, k=10)


def test_a_small_temperature_does_not_overflow() -> None:
    bank, bank_labels, queries, labels = sets()
    sharp = knn(bank, bank_labels, queries, labels, temperature=1e-6)
    assert sharp.top1 == knn(bank, bank_labels, queries, labels, k=1).top1


def test_scale_and_zero_features_are_no_trouble() -> None:
    bank, bank_labels, queries, labels = sets()
    assert knn(1e6 * bank, bank_labels, 1e-6 * queries, labels) == knn(bank, bank_labels, queries, labels)
    assert knn(torch.zeros_like(bank), bank_labels, queries, labels, k=1).top1 == (labels == 0).double().mean()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": 0}, "knn k is 0; expected 1 or more."),
        ({"temperature": 0.0}, "knn temperature is 0; expected a positive number"),
        ({"temperature": float("nan")}, "knn temperature is nan"),
        ({"classes": 4}, "Labels run from 0 to 4; expected 0 to 3 for 4 classes."),
    ],
)
def test_impossible_options_are_refused(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        knn(*sets(), **change)


def test_options_are_refused_where_they_are_made() -> None:
    with pytest.raises(InputError, match="knn k is -3"):
        KnnOptions(k=-3)


def test_features_that_cannot_be_compared_are_refused() -> None:
    bank, bank_labels, queries, labels = sets()
    broken = queries.clone()
    broken[[3, 7], 2] = torch.tensor([float("nan"), float("inf")])
    for arguments, message in [
        ((bank, bank_labels, broken, labels), "features of 2 of 60 test images are not finite"),
        ((bank, bank_labels, queries[:, :3], labels), "train features have 7 dimensions and test features 3"),
        ((bank, bank_labels, queries, labels[:4]), r"test features have shape \(60, 7\) and labels \(4,\)"),
        ((bank[:0], bank_labels[:0], queries, labels), "There are no train images"),
        ((bank, bank_labels - 1, queries, labels), "Labels run from -1 to 4"),
    ]:
        with pytest.raises(InputError, match=message):
            knn(*arguments)
