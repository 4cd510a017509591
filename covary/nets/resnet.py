"""Residual networks: torchvision's, and small ones of the same blocks for a CPU."""

from typing import Literal, cast

import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

Stem = Literal["imagenet", "cifar"]


class SmallResNet(nn.Module):
    """A residual network of three stages, 32, 64 and 128 channels wide, sized for a CPU.

    The plan of the CIFAR networks of He et al. (arXiv 1512.03385, section 4.2) at twice their width, of
    torchvision's ``BasicBlock`` and with torchvision's names, as far as they exist. Input float (b, 3, s,
    s), output features (b, 128).

    Images a second, forward and backward, 32 px, batch 128, float32, channels last, one thread of an x86
    machine busy with other jobs, best of 6, torch 2.15.0::

        encoder     parameters    stem imagenet    stem cifar
        resnet8         0.31 M            5,200           320
        resnet14        0.70 M            2,350           200
        resnet18       11.2  M              520            36
    """

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 32, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(32)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        self.layer1 = _stage(32, 32, stride=1, blocks=blocks)
        self.layer2 = _stage(32, 64, stride=2, blocks=blocks)
        self.layer3 = _stage(64, 128, stride=2, blocks=blocks)
        self.avgpool = nn.AdaptiveAvgPool2d(1)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features (b, 128) of the images (b, 3, s, s)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        return self.avgpool(self.layer3(self.layer2(self.layer1(x)))).flatten(1)


def _stage(width_in: int, width_out: int, *, stride: int, blocks: int) -> nn.Sequential:
    shortcut = nn.Sequential(
        nn.Conv2d(width_in, width_out, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(width_out)
    )
    first = BasicBlock(width_in, width_out, stride, shortcut if stride > 1 else None)
    return nn.Sequential(first, *(BasicBlock(width_out, width_out) for _ in range(blocks - 1)))


def small_resnet(blocks: int, *, stem: Stem) -> tuple[nn.Module, int]:
    """Return a ``SmallResNet``, started as torchvision's networks are, and its number of features."""
    network = SmallResNet(blocks)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            _start(module)
        elif isinstance(module, BasicBlock):
            nn.init.zeros_(cast(Tensor, module.bn2.weight))
    return _with_stem(network, stem, width=32), 128


def torchvision_resnet(name: str, features: int, *, stem: Stem) -> tuple[nn.Module, int]:
    """Return torchvision's ResNet without its classifier and its number of features.

    Started as the authors of STL do: torchvision's default with ``zero_init_residual=True``, so that every
    block begins as an identity.
    """
    network = torchvision.models.get_model(name, weights=None, zero_init_residual=True)
    network.fc = nn.Identity()
    return _with_stem(network, stem, width=64), features


def _with_stem(network: nn.Module, stem: Stem, *, width: int) -> nn.Module:
    if stem == "cifar":  # SimCLR (arXiv 2002.05709) appendix B.9
        network.conv1 = nn.Conv2d(3, width, kernel_size=3, stride=1, padding=1, bias=False)
        network.maxpool = nn.Identity()
        _start(network.conv1)
    return network


def _start(convolution: nn.Conv2d) -> None:
    nn.init.kaiming_normal_(convolution.weight, mode="fan_out", nonlinearity="relu")
