from urllib.error import URLError

import pytest
import torch
import torchvision
from torch import nn

from covary.errors import InputError
from covary.evaluation.pretrained import architecture, from_timm, from_torchvision


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let torchvision's published weights be random ones of the right shapes."""

    def download(weights: torchvision.models.WeightsEnum, **_: object) -> dict[str, torch.Tensor]:
        torch.manual_seed(len(weights.name))
        return torchvision.models.get_model("resnet18", weights=None).state_dict()

    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", download)


@pytest.mark.usefixtures("published")
def test_torchvision_brings_weights_size_and_normalisation() -> None:
    found = from_torchvision("resnet18@IMAGENET1K_V1")
    assert found.image_size == 224
    assert (found.mean, found.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    expected = torchvision.models.ResNet18_Weights.IMAGENET1K_V1.get_state_dict()
    for name, tensor in found.encoder.state_dict().items():
        assert torch.equal(tensor, expected[name])
    assert found.encoder.eval()(torch.zeros(1, 3, 64, 64)).shape == (1, 512)
    newest = from_torchvision("resnet18").encoder.state_dict()
    assert torch.equal(newest["conv1.weight"], expected["conv1.weight"])


@pytest.mark.parametrize(
    ("name", "features"),
    [("resnet18", 512), ("mobilenet_v3_small", 1024), ("shufflenet_v2_x0_5", 1024)],
)
def test_features_are_what_the_classifier_of_torchvision_takes(name: str, features: int) -> None:
    encoder = architecture(f"torchvision:{name}", stem=None).eval()
    assert encoder(torch.zeros(2, 3, 64, 64)).shape == (2, features)
    assert not any(isinstance(m, nn.Linear) and m.out_features == 1000 for m in encoder.modules())


def test_weights_that_cannot_be_downloaded_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torchvision.models.WeightsEnum, "get_state_dict", _unreachable)
    with pytest.raises(InputError) as caught:
        from_torchvision("resnet18@DEFAULT")
    assert str(caught.value) == (
        "The weights of 'torchvision:resnet18@DEFAULT' are not at hand (<urlopen error Name or service not known>); "
        "download them where there is a network, then give the file as SOURCE with encoder 'torchvision:resnet18'."
    )


def test_torchvision_names_are_checked_before_anything_is_downloaded() -> None:
    for spec, message in [
        ("resnet19", "torchvision has no classification model 'resnet19'. Did you mean 'resnet18'?"),
        ("resnet18@IMAGENET1K_V9", "torchvision has no weights 'IMAGENET1K_V9' for 'resnet18'; expected one of"),
    ]:
        with pytest.raises(InputError) as caught:
            from_torchvision(spec)
        assert str(caught.value).startswith(message)


def test_timm_brings_its_own_size_and_normalisation(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, **options: create(name, **options | {"pretrained": False}))
    found = from_timm("test_vit")
    assert (found.image_size, found.mean, found.std) == (160, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    assert found.encoder.eval()(torch.zeros(1, 3, 160, 160)).ndim == 2


def test_timm_weights_that_are_not_at_hand_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    timm = pytest.importorskip("timm")
    monkeypatch.setattr(timm, "create_model", _unreachable)
    with pytest.raises(
        InputError, match=r"The weights of 'timm:test_vit' are not at hand .*with encoder 'timm:test_vit'"
    ):
        from_timm("test_vit")
    with pytest.raises(InputError, match=r"timm has no model 'resnet19'\. Did you mean 'resnet1"):
        from_timm("resnet19")


def test_timm_names_the_tags_that_are_wrong() -> None:
    pytest.importorskip("timm")
    with pytest.raises(InputError, match="Invalid pretrained tag"):
        from_timm("resnet18.no_such_tag")


def _unreachable(*_: object, **__: object) -> None:
    raise URLError("Name or service not known")
