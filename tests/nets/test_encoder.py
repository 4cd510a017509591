import importlib.util
from types import SimpleNamespace

import pytest
import timm
import torch
import torchvision
from torch import nn

from covary.errors import InputError
from covary.nets import build_encoder, load_weights
from covary.nets.encoder import ENCODERS

SMALL = {"resnet8": 128, "resnet14": 128}
TORCHVISION = {"resnet18": 512, "resnet34": 512, "resnet50": 2048, "resnet101": 2048}


@pytest.mark.parametrize(("name", "features"), {**SMALL, **TORCHVISION}.items())
@pytest.mark.parametrize("stem", ["imagenet", "cifar"])
def test_features(name: str, features: int, stem: str) -> None:
    with torch.device("meta"):
        encoder, found = build_encoder(name, stem=stem)
    assert found == features
    assert encoder(torch.zeros(2, 3, 32, 32, device="meta")).shape == (2, features)


def test_every_encoder_is_tested() -> None:
    assert {*SMALL, *TORCHVISION} == set(ENCODERS)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_names_and_start_are_torchvisions(name: str) -> None:
    torch.manual_seed(0)
    encoder, _ = build_encoder(name)
    torch.manual_seed(0)
    reference = torchvision.models.get_model(name, zero_init_residual=True)
    expected = {key: value for key, value in reference.state_dict().items() if not key.startswith("fc.")}
    found = encoder.state_dict()
    assert list(found) == list(expected)
    assert all(torch.equal(found[key], expected[key]) for key in expected)


@pytest.mark.parametrize("name", SMALL)
def test_small_encoders_start_as_torchvisions(name: str) -> None:
    torch.manual_seed(0)
    encoder, _ = build_encoder(name, stem="cifar")
    blocks = [module for module in encoder.modules() if isinstance(module, torchvision.models.resnet.BasicBlock)]
    assert len(blocks) == {"resnet8": 3, "resnet14": 6}[name]
    assert all((block.bn2.weight == 0).all() for block in blocks)
    weight = blocks[-1].conv2.weight.detach()
    fan_out = weight.shape[0] * weight[0, 0].numel()
    assert float(weight.std()) == pytest.approx((2 / fan_out) ** 0.5, rel=0.02)


def test_stems() -> None:
    imagenet, cifar = build_encoder("resnet18")[0], build_encoder("resnet18", stem="cifar")[0]
    assert (imagenet.conv1.kernel_size, imagenet.conv1.stride) == ((7, 7), (2, 2))
    assert isinstance(imagenet.maxpool, nn.MaxPool2d)
    assert (cifar.conv1.kernel_size, cifar.conv1.stride) == ((3, 3), (1, 1))
    assert isinstance(cifar.maxpool, nn.Identity)
    assert float(cifar.conv1.weight.detach().std()) == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)


def test_timm() -> None:
    encoder, features = build_encoder("timm:resnet10t")
    assert features == 512
    assert encoder(torch.zeros(2, 3, 32, 32)).shape == (2, 512)


def test_timm_with_a_hidden_layer_before_the_classifier() -> None:
    encoder, features = build_encoder("timm:test_mambaout")
    assert encoder.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, features)


def test_timm_downloads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(timm, "create_model", lambda *given, **options: asked.append((given, options)) or model)
    model = SimpleNamespace(head_hidden_size=7)
    assert build_encoder("timm:resnet10t") == (model, 7)
    assert asked == [(("resnet10t",), {"pretrained": False, "num_classes": 0})]


@pytest.mark.parametrize(
    ("name", "stem", "message"),
    [
        ("resnet19", "imagenet", r"Unknown encoder 'resnet19'; known: resnet8, .*, timm:NAME\. Did you mean 'resnet1"),
        ("resnet18", "cifer", r"Unknown stem 'cifer'; known: imagenet, cifar\. Did you mean 'cifar'\?"),
        ("timm:resnet18", "cifar", "has a stem of its own; leave the stem at 'imagenet'"),
        ("timm:resnt50", "imagenet", r"timm has no model 'resnt50'\. Did you mean 'resnet50'\?"),
    ],
)
def test_wrong_names(name: str, stem: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_encoder(name, stem=stem)


def test_timm_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"needs timm; install it with: pip install 'covary\[timm\]'"):
        build_encoder("timm:resnet18")


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod."])
def test_weights_come_back(prefix: str) -> None:
    source, target = build_encoder("resnet8")[0], build_encoder("resnet8")[0]
    load_weights(target, {prefix + name: value for name, value in source.state_dict().items()}, source="w.safetensors")
    assert all(torch.equal(target.state_dict()[name], value) for name, value in source.state_dict().items())


def test_weights_of_another_network() -> None:
    network = build_encoder("resnet8")[0]
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state = dict(network.state_dict())
    state["fc.weight"] = state.pop("bn1.weight") + 1
    state["conv1.weight"] = torch.zeros(32, 3, 3, 3)
    with pytest.raises(InputError) as caught:
        load_weights(network, state, source="w.safetensors")
    message = str(caught.value)
    numbers = {name: tensor.numel() for name, tensor in before.items()}
    share = 1 - (numbers["conv1.weight"] + numbers["bn1.weight"]) / sum(numbers.values())
    fit = f"{len(before) - 2} of its {len(before)} tensors ({share:.1%} of its numbers) fit; "
    assert message.startswith(f"The weights of w.safetensors do not fit this network: {fit}")
    assert "1 missing (bn1.weight); 1 unexpected (fc.weight); " in message
    assert "1 of another shape (conv1.weight (32, 3, 3, 3) not (32, 3, 7, 7))" in message
    assert "\n" not in message
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())


def test_two_names_of_one_tensor_are_refused() -> None:
    network = build_encoder("resnet8")[0]
    state = {**network.state_dict(), "module.conv1.weight": torch.zeros(3)}
    with pytest.raises(InputError, match=r"hold 1 twice \(conv1\.weight\), with and without a prefix; keep one"):
        load_weights(network, state, source="w.safetensors")


def test_long_lists_are_cut() -> None:
    listed = r"\d\d missing \(bn1\.bias, bn1\.num_batches_tracked, bn1\.running_mean, \.\.\.\)"
    with pytest.raises(InputError, match=listed):
        load_weights(build_encoder("resnet8")[0], {}, source="w.safetensors")
