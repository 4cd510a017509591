"""Networks: encoders by name, heads, the hypernetwork, the teacher, BatchNorm over several processes."""

from covary.nets.encoder import build_encoder, load_weights
from covary.nets.hypernetwork import LinearHypernetwork
from covary.nets.low_rank import LowRankHypernetwork
from covary.nets.mlp import mlp
from covary.nets.norm import buffers_agree, convert_batchnorm
from covary.nets.teacher import Teacher

__all__ = [
    "LinearHypernetwork",
    "LowRankHypernetwork",
    "Teacher",
    "buffers_agree",
    "build_encoder",
    "convert_batchnorm",
    "load_weights",
    "mlp",
]
