import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from covary.errors import InputError
from covary.evaluation import few_shot as module
from covary.evaluation.few_shot import FewShotOptions, episodes, few_shot, one_against_rest

SMALL = {"ways": 3, "queries": 4, "episodes": 12}


def images(scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Features (120, 11) and labels of six of eight classes, of 12 to 28 images, in no order."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.tensor([0] * 20 + [1] * 12 + [3] * 28 + [4] * 20 + [6] * 20 + [7] * 20)
    labels = labels[torch.randperm(120, generator=generator)]
    x = torch.randn(8, 11, generator=generator)[labels] + torch.randn(120, 11, generator=generator)
    return scale * x, labels


def drawn(labels: Tensor, shots: int, options: FewShotOptions, seed: int = 0) -> Tensor:
    return torch.cat(list(episodes(labels, shots=shots, options=options, seed=seed)))


def naive_centroid(support: np.ndarray, queries: np.ndarray) -> float:
    means = [np.mean([x / np.linalg.norm(x) for x in rows], axis=0) for rows in support]
    hits = [
        int(np.argmax([query @ mean / np.linalg.norm(mean) for mean in means]) == way)
        for way, rows in enumerate(queries)
        for query in rows
    ]
    return sum(hits) / len(hits)


def scikit_learn(support: np.ndarray, queries: np.ndarray) -> float:
    """AugSelf's classifier: liblinear, one class against the rest, C = 1."""
    ways, shots = support.shape[:2]
    x, z = support.reshape(ways * shots, -1), queries.reshape(-1, support.shape[2])
    truth = np.repeat(np.arange(ways), queries.shape[1])
    scores = [
        LogisticRegression(solver="liblinear", tol=1e-10, max_iter=10_000)
        .fit(x, np.repeat(np.arange(ways), shots) == way)
        .decision_function(z)
        for way in range(ways)
    ]
    return float((np.argmax(scores, axis=0) == truth).mean())


@pytest.mark.parametrize(("classifier", "oracle"), [("centroid", naive_centroid), ("logistic", scikit_learn)])
def test_accuracy_and_interval_are_those_of_a_loop_over_episodes(classifier: str, oracle) -> None:
    x, labels = images()
    options = FewShotOptions(**SMALL, classifier=classifier)
    found = few_shot(x, labels, options=options, seed=3)
    assert list(found) == [1, 5]
    for shots, result in found.items():
        episode_features = x[drawn(labels, shots, options, seed=3)].double().numpy()
        accuracies = [oracle(e[:, :shots], e[:, shots:]) for e in episode_features]
        assert 0.4 < result.accuracy < 1
        assert result.accuracy == pytest.approx(np.mean(accuracies), abs=1e-12)
        assert result.ci95 == pytest.approx(1.96 * np.std(accuracies) / np.sqrt(12), abs=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4])
def test_the_fit_is_scikit_learns_whatever_the_scale(scale: float) -> None:
    x, labels = images(scale)
    rows = drawn(labels, 5, FewShotOptions(**SMALL))[:4, :, :5]
    z = torch.cat([x[rows].double().flatten(1, 2), torch.ones(4, 15, 1)], dim=2)
    target = 2 * torch.eye(3).double().repeat_interleave(5, dim=1) - 1
    weight = one_against_rest(z, target)
    for e in range(4):
        for way in range(3):
            oracle = LogisticRegression(solver="newton-cholesky", fit_intercept=False, tol=1e-10, max_iter=1000)
            oracle.fit(z[e].numpy(), target[way].numpy())
            largest = abs(oracle.coef_).max()
            np.testing.assert_allclose(weight[e, way], oracle.coef_[0], rtol=1e-3, atol=1e-4 * largest)


def test_an_episode_has_different_classes_and_different_images_of_them() -> None:
    _, labels = images()
    options = FewShotOptions(ways=4, queries=6, episodes=300)
    rows = drawn(labels, 5, options)
    assert rows.shape == (300, 4, 11)
    found = labels[rows]
    assert (found == found[:, :, :1]).all()
    for episode, classes in zip(rows, found[:, :, 0], strict=True):
        assert len(set(classes.tolist())) == 4
        assert len(set(episode.flatten().tolist())) == 44
    share = torch.bincount(found[:, :, 0].flatten(), minlength=8) / 300
    assert share[[2, 5]].tolist() == [0, 0]
    assert (share[[0, 1, 3, 4, 6, 7]] - 4 / 6).abs().max() < 0.14  # five standard deviations of 300 draws at 4/6
    uses = torch.bincount(rows[found == 3], minlength=120)[labels == 3]
    assert (uses - uses.float().mean()).abs().max() < 5 * (uses.float().mean() * 17 / 28).sqrt()


def test_episodes_depend_on_seed_and_shots_and_not_on_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels = images()
    options = FewShotOptions(**SMALL)
    whole, result = drawn(labels, 1, options), few_shot(x, labels, options=options)
    assert not torch.equal(whole, drawn(labels, 1, options, seed=1))
    assert not torch.equal(whole, drawn(labels, 5, options)[:, :, :5])
    monkeypatch.setitem(module.NUMBERS_AT_ONCE, "cpu", 1)
    assert torch.equal(whole, drawn(labels, 1, options))
    assert few_shot(x, labels, options=options) == result


def test_features_that_say_nothing_give_chance_and_features_that_tell_the_class_give_one() -> None:
    _, labels = images()
    options = FewShotOptions(ways=5, queries=4, episodes=50)
    for classifier in ("logistic", "centroid"):
        chosen = FewShotOptions(ways=5, queries=4, episodes=50, classifier=classifier)
        assert few_shot(torch.ones(120, 3), labels, options=chosen)[1].accuracy == pytest.approx(1 / 5)
    found = few_shot(torch.eye(8)[labels], labels, options=options)[1]
    assert (found.accuracy, found.ci95) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shots": ()}, "few-shot shots is 0; expected 1 or more."),
        ({"shots": (5, 0)}, "few-shot shots is 0; expected 1 or more."),
        ({"ways": 1}, "few-shot ways is 1; expected 2 or more."),
        ({"queries": 0}, "few-shot queries is 0; expected 1 or more."),
        ({"episodes": 1}, "few-shot episodes is 1; expected 2 or more."),
        ({"classifier": "centriod"}, "expected logistic or centroid. Did you mean 'centroid'?"),
    ],
)
def test_impossible_options_are_refused(change: dict, message: str) -> None:
    with pytest.raises(InputError) as caught:
        FewShotOptions(**change)
    assert message in str(caught.value)


def test_sets_too_small_for_an_episode_are_refused() -> None:
    x, labels = images()
    with pytest.raises(InputError, match="are of 6 classes; few-shot ways is 7: lower it"):
        few_shot(x, labels, options=FewShotOptions(ways=7))
    with pytest.raises(InputError, match=r"A class has 12 test images; 5 shots and 8 queries need 13: lower few-shot"):
        few_shot(x, labels, options=FewShotOptions(queries=8))
    few_shot(x, labels, options=FewShotOptions(queries=7, episodes=2))
    x[5] = float("nan")
    with pytest.raises(InputError, match="features of 1 of 120 train images are not finite"):
        few_shot(x, labels, options=FewShotOptions(**SMALL))
