"""Checkpoints as other libraries write them: found whole under a prefix, by other names, or refused."""

import copy
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from covary.cli import main
from covary.errors import InputError
from covary.evaluation.source import resolve
from covary.evaluation.weights import load_file
from covary.nets import build_encoder

State = dict[str, Tensor]


def put(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def lightning(state: State) -> dict[str, Any]:
    """What Lightning 2 saves beside a state dict: plain containers, numbers and tensors."""
    moments = {0: {"momentum_buffer": torch.zeros(3)}}
    return {
        "epoch": 1,
        "global_step": 10,
        "pytorch-lightning_version": "2.6.6",
        "state_dict": state,
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 1}}}},
        "callbacks": {"ModelCheckpoint{'monitor': None}": {"monitor": None, "kth_value": torch.tensor(0.0)}},
        "optimizer_states": [{"state": moments, "param_groups": [{"lr": 0.1, "params": [0]}]}],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {"momentum": False},
    }


def stirred(module: nn.Module) -> nn.Module:
    """Give the statistics of BatchNorm values that a network does not start with."""
    for name, buffer in module.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.add_(torch.rand_like(buffer))
    return module.eval()


@torch.no_grad()
def same_features(module: nn.Module, encoder: nn.Module) -> bool:
    images = torch.randn(2, 3, 32, 32)
    return torch.equal(module(images).flatten(1), encoder.eval()(images))


def test_a_checkpoint_of_lightly(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heads = pytest.importorskip("lightly.models.modules")
    backbone = stirred(nn.Sequential(*list(torchvision.models.resnet18().children())[:-1]))
    head = heads.SimCLRProjectionHead(512, 512, 128)
    state = put(backbone.state_dict(), "backbone.") | put(head.state_dict(), "projection_head.")
    path = tmp_path / "last.ckpt"
    torch.save(lightning(state), path)
    assert same_features(backbone, resolve(path, encoder="resnet18").encoder)
    said = capsys.readouterr().err
    assert "read 120 of 120 tensors of the encoder from 'state_dict.backbone.', children by number, 0 conv1" in said
    assert "; left out 13 others: state_dict.projection_head, callbacks" in said


def test_a_momentum_encoder_makes_it_a_choice(tmp_path: Path) -> None:
    backbone = stirred(nn.Sequential(*list(torchvision.models.resnet18().children())[:-1]))
    teacher = stirred(copy.deepcopy(backbone))
    path = tmp_path / "last.ckpt"
    state = put(backbone.state_dict(), "backbone.") | put(teacher.state_dict(), "backbone_momentum.")
    torch.save(lightning(state), path)
    with pytest.raises(InputError) as caught:
        resolve(path, encoder="resnet18")
    assert str(caught.value) == (
        f"{path} holds this encoder 2 times, under 'state_dict.backbone.' and 'state_dict.backbone_momentum.'; "
        "choose one with prefix."
    )
    for module, prefix in ((backbone, "state_dict.backbone."), (teacher, "state_dict.backbone_momentum.")):
        assert same_features(module, resolve(path, encoder="resnet18", prefix=prefix).encoder)


@pytest.mark.parametrize("whole", [True, False])
def test_the_resnets_of_lightly(tmp_path: Path, whole: bool) -> None:
    models = pytest.importorskip("lightly.models")
    network = stirred(models.ResNetGenerator("resnet-18"))
    children = nn.Sequential(*list(network.children())[:-1], nn.AdaptiveAvgPool2d(1))
    path = tmp_path / "lightly.pt"
    torch.save(put((network if whole else children).state_dict(), "backbone."), path)
    network.linear = nn.Identity()
    assert same_features(network, resolve(path, encoder="resnet18", stem="cifar").encoder)


@pytest.mark.parametrize("momentum", [False, True])
def test_a_checkpoint_of_solo_learn(tmp_path: Path, momentum: bool) -> None:
    """Names as in solo/methods/base.py: a ResNet with a 3x3 stem, a projector, an online classifier."""
    encoder = stirred(build_encoder("resnet18", stem="cifar")[0])
    state = put(encoder.state_dict(), "backbone.") | {"classifier.weight": torch.zeros(10, 512)}
    state |= {"projector.0.weight": torch.zeros(8, 512)}
    state |= put(encoder.state_dict(), "momentum_backbone.") if momentum else {}
    path = tmp_path / "simclr-cifar10.ckpt"
    torch.save(lightning(state), path)
    prefix = "state_dict.momentum_backbone." if momentum else ""
    assert same_features(encoder, resolve(path, encoder="resnet18", stem="cifar", prefix=prefix).encoder)
    with pytest.raises(InputError) as caught:
        resolve(path, encoder="resnet18")
    assert "under 'state_dict.backbone.' do not fit this network: 119 of its 120 tensors" in str(caught.value)
    assert "conv1.weight (64, 3, 3, 3) not (64, 3, 7, 7)" in str(caught.value)


def test_a_plain_checkpoint_of_torchvision_without_counters(tmp_path: Path) -> None:
    network, path = stirred(torchvision.models.resnet18()), tmp_path / "resnet18.pth"
    state = {name: value for name, value in network.state_dict().items() if "num_batches_tracked" not in name}
    torch.save(state, path)
    encoder, _ = build_encoder("resnet18")
    assert load_file(encoder, path) == (
        f"{path}: read 100 of 120 tensors of the encoder; the file lacks the 20 named num_batches_tracked, "
        "on which no feature depends; left out 2 others: fc"
    )
    network.fc = nn.Identity()
    assert same_features(network, encoder)


def test_a_deeper_network_is_not_taken_for_a_shallow_one(tmp_path: Path) -> None:
    for wrap in (lambda module: module, lambda module: nn.Sequential(*list(module.children())[:-1])):
        path = tmp_path / "resnet34.pth"
        torch.save(put(wrap(torchvision.models.resnet34()).state_dict(), "backbone."), path)
        resolve(path, encoder="resnet34")
        with pytest.raises(InputError, match=r"under 'backbone\.' do not fit .* 96 unexpected \((layer1|4)\.2\.bn1"):
            resolve(path, encoder="resnet18")


WRAPS: dict[str, tuple[Callable[[State], Any], str]] = {
    "dino": (lambda state: {"student": put(state, "module.backbone."), "teacher": put(state, "backbone.")}, "teacher."),
    "moco v3": (
        lambda state: {
            "state_dict": put(state | {"head.0.weight": torch.zeros(2, 2)}, "module.base_encoder.")
            | put(state, "module.momentum_encoder.")
        },
        "state_dict.module.base_encoder.",
    ),
}


@pytest.mark.parametrize("kind", WRAPS)
def test_vision_transformers(tmp_path: Path, kind: str) -> None:
    timm = pytest.importorskip("timm")
    network, path = timm.create_model("test_vit", num_classes=0).eval(), tmp_path / "checkpoint.pth"
    wrap, prefix = WRAPS[kind]
    torch.save(wrap(network.state_dict()), path)
    with pytest.raises(InputError, match="holds this encoder 2 times, under"):
        resolve(path, encoder="timm:test_vit")
    found = resolve(path, encoder="timm:test_vit", prefix=prefix).encoder.state_dict()
    assert all(torch.equal(tensor, found[name]) for name, tensor in network.state_dict().items())


def test_objects_beside_the_tensors_are_refused_with_the_way_to_convert(tmp_path: Path) -> None:
    path, state = tmp_path / "last.ckpt", build_encoder("resnet8")[0].state_dict()
    torch.save({**lightning(state), "hyper_parameters": types.SimpleNamespace(lr=0.1)}, path)
    with pytest.raises(InputError) as caught:
        resolve(path, encoder="resnet8")
    told = str(caught.value)
    assert "types.SimpleNamespace); rebuilding it could run code, so it is refused. Where you trust" in told
    code = told[told.index("torch.save(") :].removesuffix(".")
    new = str(tmp_path / "new.pt")
    exec(code, {"torch": torch, "OLD": str(path), "NEW": new})
    resolve(new, encoder="resnet8")


def test_the_command_says_what_it_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "weights.pt"
    torch.save(put(build_encoder("resnet8")[0].state_dict(), "backbone."), path)
    arguments = ["evaluate", str(path), "--encoder", "resnet8", "--data", "shapes:n=24", "--image-size", "8"]
    assert main([*arguments, "--task", "knn"]) == 0
    assert capsys.readouterr().err == f"{path}: read 54 of 54 tensors of the encoder from 'backbone.'\n"
