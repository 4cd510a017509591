"""Faster R-CNN with the C4 body of a residual network, of torchvision's parts.

Ren et al. (arXiv 1506.01497) with the split of He et al. (arXiv 1512.03385, appendix A): stem and all stages but the
last give the one map that proposals are made on; the last stage, "res5", runs on every proposal. The BatchNorm after it
is MoCo's ``Res5ROIHeadsExtraNorm`` (arXiv 1911.05722). Where this differs from detectron2: ``docs/detection.md``.
"""

import copy
import re
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.faster_rcnn import FasterRCNN, FastRCNNPredictor
from torchvision.ops import MultiScaleRoIAlign

from covary.errors import InputError
from covary.evaluation.detection.options import Schedule
from covary.evaluation.features import RGB

RATIOS = (0.5, 1.0, 2.0)  # height / width of the anchors, arXiv 1506.01497 section 3.1.1
ROI_SIZE = 14  # cells a side of a proposal's map, which res5 halves: arXiv 1512.03385 appendix A
SAMPLES = 0  # points a side of every bin of RoIAlign: one for each cell of the map, as detectron2
PROBE = 64  # side of the image that tells width and stride of a body


class Body(nn.Module):
    """Stem and all stages but the last: images (b, 3, h, w) to one map (b, out_channels, h / stride, w / stride)."""

    def __init__(self, layers: Sequence[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)
        shape = _shape(self.layers, (1, 3, PROBE, PROBE))
        self.out_channels, self.stride = shape[1], PROBE // shape[2]

    def forward(self, images: Tensor) -> Tensor:
        """Return the map."""
        return self.layers(images)


class Head(nn.Module):
    """The last stage on the maps of proposals, BatchNorm, mean over space: (n, c, 14, 14) to (n, out_channels)."""

    def __init__(self, stage: nn.Module, in_channels: int) -> None:
        super().__init__()
        self.stage = stage
        self.out_channels = _shape(stage, (1, in_channels, ROI_SIZE, ROI_SIZE))[1]
        self.norm = nn.BatchNorm2d(self.out_channels)

    def forward(self, maps: Tensor) -> Tensor:
        """Return a row for each proposal."""
        return self.norm(self.stage(maps)).mean(dim=(2, 3))


def build_detector(encoder: nn.Module, *, classes: int, schedule: Schedule, mean: RGB, std: RGB) -> FasterRCNN:
    """Return a detector whose body and head begin with a copy of the encoder's weights; all of them are trained.

    What is new is drawn from torch's generator: the proposal network as torchvision does, the box predictor from
    normal distributions of deviation 0.01 (classes) and 0.001 (boxes), biases 0 (Fast R-CNN, arXiv 1504.08083, 2.3).

    In training mode: images (list of float (3, h, w) in [0, 1]) and targets to losses; they are taken in the sizes
    they have. In evaluation mode: images of ``schedule.test_size`` to boxes, labels and scores in their pixels.

    classes: without the background. mean, std: of the images that the encoder was trained with.

    Raises InputError: the encoder is no residual network with stages layer1, layer2, ...
    """
    layers, last = split(copy.deepcopy(encoder))
    body = Body(layers)
    head = Head(last, body.out_channels)
    predictor = FastRCNNPredictor(head.out_channels, classes + 1)
    for linear, deviation in ((predictor.cls_score, 0.01), (predictor.bbox_pred, 0.001)):
        nn.init.normal_(linear.weight, std=deviation)
        nn.init.zeros_(linear.bias)
    options: dict[str, Any] = {"_skip_resize": True, "size_divisible": body.stride}  # of torchvision's own transform
    return FasterRCNN(
        body,
        min_size=schedule.test_size,
        max_size=schedule.max_size,
        image_mean=list(mean),
        image_std=list(std),
        rpn_anchor_generator=AnchorGenerator(sizes=(schedule.anchors,), aspect_ratios=(RATIOS,)),
        rpn_pre_nms_top_n_train=schedule.train_proposals[0],
        rpn_post_nms_top_n_train=schedule.train_proposals[1],
        rpn_pre_nms_top_n_test=schedule.test_proposals[0],
        rpn_post_nms_top_n_test=schedule.test_proposals[1],
        rpn_batch_size_per_image=schedule.anchor_samples,
        box_roi_pool=MultiScaleRoIAlign(["0"], ROI_SIZE, SAMPLES),
        box_head=head,
        box_predictor=predictor,
        box_batch_size_per_image=schedule.box_samples,
        **options,
    )


def split(encoder: nn.Module) -> tuple[list[nn.Module], nn.Module]:
    """Return stem and stages but the last, in order, and the last stage.

    Raises InputError: the encoder is no residual network with stages layer1, layer2, ...
    """
    children = dict(encoder.named_children())
    stages = [name for name in children if re.fullmatch(r"layer\d+", name)]
    before = list(children)[: list(children).index(stages[0])] if stages else []
    if len(stages) < 2 or "conv1" not in before:
        raise InputError(
            f"A detector needs a residual network with conv1 and stages layer1, layer2, ...; {type(encoder).__name__} "
            f"has {', '.join(list(children)[:6]) or 'no parts'}. Choose a resnet."
        )
    layers = [children[name] for name in (*before, *stages)]
    return layers[:-1], layers[-1]


def _shape(module: nn.Module, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape that a module makes of zeros of a shape; its statistics and its mode stay."""
    mode, device = module.training, next(module.parameters()).device
    with torch.no_grad():
        out = cast(Tensor, module.eval()(torch.zeros(shape, device=device)))
    module.train(mode)
    return tuple(out.shape)
