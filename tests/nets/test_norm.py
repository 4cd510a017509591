"""What one process can see of synchronised BatchNorm; its numbers over several are in test_dist.py."""

import pytest
import timm
import torch
from torch import nn

from covary.errors import InputError
from covary.nets import build_encoder, convert_batchnorm
from covary.nets.norm import BatchNormOverRanks

CPU = torch.device("cpu")


def test_conversion_keeps_state_parameters_and_output() -> None:
    encoder, _ = build_encoder("resnet8")
    before = dict(encoder.state_dict())
    parameters = {id(p) for p in encoder.parameters()}
    x = torch.randn(4, 3, 32, 32)
    expected = encoder.eval()(x)
    converted = convert_batchnorm(encoder, CPU)
    assert converted is encoder
    assert {id(p) for p in converted.parameters()} == parameters
    assert list(converted.state_dict()) == list(before)
    assert not any(type(module) is nn.BatchNorm2d for module in converted.modules())
    assert not any(module.training for module in converted.modules())
    assert torch.equal(converted(x), expected)


def test_conversion_twice_changes_nothing() -> None:
    norm = convert_batchnorm(nn.BatchNorm1d(3, eps=0.1, momentum=None, affine=False), CPU)
    assert isinstance(norm, BatchNormOverRanks)
    assert (norm.eps, norm.momentum, norm.affine) == (0.1, None, False)
    assert convert_batchnorm(norm, CPU) is norm


def test_conversion_for_a_gpu_is_that_of_torch() -> None:
    converted = convert_batchnorm(nn.Sequential(nn.BatchNorm2d(3)), torch.device("cuda"))
    assert type(converted[0]) is nn.SyncBatchNorm


def test_single_process_is_batchnorm() -> None:
    x = torch.randn(6, 3, 2, 2)
    plain, over_ranks = nn.BatchNorm2d(3), convert_batchnorm(nn.BatchNorm2d(3), CPU)
    assert torch.equal(plain(x), over_ranks(x))
    assert torch.equal(plain.running_var, over_ranks.running_var)


def test_layers_with_an_activation_inside_are_refused() -> None:
    encoder = timm.create_model("efficientnet_lite0", num_classes=0)
    with pytest.raises(InputError, match="Layer 'bn1' is a BatchNormAct2d, which cannot be synchronised"):
        convert_batchnorm(encoder, CPU)
