import torch
from torch import nn

from covary.nets import mlp


def test_layers() -> None:
    layers = mlp([6, 5, 4, 3])
    kinds = [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert [type(layer) for layer in layers] == kinds
    assert [tuple(layer.weight.shape) for layer in layers if isinstance(layer, nn.Linear)] == [(5, 6), (4, 5), (3, 4)]
    assert all(layer.bias is None for layer in layers if isinstance(layer, nn.Linear))


def test_one_layer_is_linear() -> None:
    layer = mlp([4, 3])
    x = torch.randn(2, 4)
    assert torch.equal(layer(x), x @ layer[0].weight.T)
