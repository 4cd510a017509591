"""Networks: encoders by name, heads, the hypernetwork, BatchNorm over several processes."""

from covary.nets.encoder import build_encoder, load_weights
from covary.nets.hypernetwork import LinearHypernetwork
from covary.nets.mlp import mlp
from covary.nets.norm import convert_batchnorm

__all__ = ["LinearHypernetwork", "build_encoder", "convert_batchnorm", "load_weights", "mlp"]
