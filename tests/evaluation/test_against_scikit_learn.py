"""The linear protocol on real images: the same accuracies, objectives and choice as scikit-learn's fits."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy

from covary.evaluation.linear import LinearOptions, linear
from covary.evaluation.logistic import minimise, predict, with_constant
from covary.nets import build_encoder

OPTIONS = LinearOptions(penalties=5, penalty_range=(1e-3, 1e4))
IMAGES, VALIDATION, TESTS = 720, 200, 400


def images(file: Path, count: int) -> tuple[Tensor, Tensor]:
    """The first images of CIFAR-10 at half their size, float (n, 3, 16, 16), and their labels."""
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs the data extra")
    rows = next(parquet.ParquetFile(file).iter_batches(batch_size=count)).to_pylist()
    pixels = [np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])).convert("RGB")) for row in rows]
    x = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float() / 255
    return (avg_pool2d(x, 2) - 0.47) / 0.25, torch.tensor([row["label"] for row in rows])


def train(encoder: nn.Module, features: int, x: Tensor, labels: Tensor) -> None:
    """Teach an encoder a little: sixteen steps of supervised learning."""
    head = nn.Linear(features, 10)
    optimiser = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=2e-3)
    for rows in torch.arange(len(x)).repeat(2).split(90):
        optimiser.zero_grad()
        cross_entropy(head(encoder(x[rows])), labels[rows]).backward()
        optimiser.step()


@pytest.fixture(scope="module", params=["untrained", "trained"])
def features(request: pytest.FixtureRequest, shared_data: Path) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x, labels = images(shared_data / "cifar10" / "train.parquet", IMAGES + VALIDATION)
    test_x, test_labels = images(shared_data / "cifar10" / "test.parquet", TESTS)
    torch.manual_seed(0)
    encoder, length = build_encoder("resnet8", stem="cifar")
    if request.param == "trained":
        train(encoder, length, x[:IMAGES], labels[:IMAGES])
    encoder.eval()
    with torch.no_grad():
        return encoder(x), labels, encoder(test_x), test_labels


def scikit_learn(x: Tensor, labels: Tensor, penalty: float) -> LogisticRegression:
    model = LogisticRegression(C=1 / (2 * penalty), fit_intercept=False, solver="newton-cg", tol=1e-6, max_iter=1000)
    return model.fit(with_constant(x).numpy(), labels.numpy())


def accuracy(model: LogisticRegression, x: Tensor, labels: Tensor) -> float:
    return float((model.predict(with_constant(x).numpy()) == labels.numpy()).mean())


def test_objective_and_accuracy_are_scikit_learns_at_every_penalty(features) -> None:
    x, labels, test_x, test_labels = features
    found = minimise(x, labels, classes=10, penalties=OPTIONS.lambdas(), tolerance=1e-8, max_steps=5000)
    ours = (predict(test_x, found.weight) == test_labels).double().mean(1)
    assert ours.max() > 0.2
    for row, penalty in enumerate(OPTIONS.lambdas()):
        model = scikit_learn(x, labels, penalty)
        weight = torch.from_numpy(model.coef_)
        loss = cross_entropy(with_constant(x) @ weight.mT, labels, reduction="sum")
        theirs = (loss + penalty * weight.square().sum()).item()
        assert found.objective[row].item() == pytest.approx(theirs, rel=1e-5)
        assert ours[row].item() == pytest.approx(accuracy(model, test_x, test_labels), abs=0.003)


def test_the_penalty_chosen_is_scikit_learns(features) -> None:
    x, labels, test_x, test_labels = features
    fitted, rows = torch.arange(IMAGES), torch.arange(IMAGES, IMAGES + VALIDATION)
    models = [scikit_learn(x[fitted], labels[fitted], penalty) for penalty in OPTIONS.lambdas()]
    scores = [accuracy(model, x[rows], labels[rows]) for model in models]
    chosen = OPTIONS.lambdas()[scores.index(max(scores))]
    found = linear(x, labels, test_x, test_labels, validation=rows, options=OPTIONS)
    assert found.scores == pytest.approx(scores, abs=0.5 / VALIDATION)
    assert found.penalty == chosen
    theirs = accuracy(scikit_learn(x, labels, chosen), test_x, test_labels)
    assert found.accuracy == pytest.approx(theirs, abs=0.003)
