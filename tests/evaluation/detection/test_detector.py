import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from covary.errors import InputError
from covary.evaluation.detection.model import build_detector
from covary.evaluation.detection.options import SMALL
from covary.nets import build_encoder

TINY = replace(SMALL, sizes=(64,), test_size=64, max_size=128, train_proposals=(100, 40), test_proposals=(100, 40))


def detector(encoder: nn.Module, *, classes: int = 2):
    return build_detector(encoder, classes=classes, schedule=TINY, mean=(0.5,) * 3, std=(0.25,) * 3)


def targets() -> list[dict[str, torch.Tensor]]:
    return [{"boxes": torch.tensor([[8.0, 8.0, 30.0, 30.0]]), "labels": torch.tensor([1])}]


@pytest.mark.parametrize(
    ("name", "stem", "width", "stride", "last"),
    [
        ("resnet8", "cifar", 64, 2, 128),
        ("resnet8", "imagenet", 64, 8, 128),
        ("resnet18", "imagenet", 256, 16, 512),
        ("resnet50", "imagenet", 1024, 16, 2048),
        ("timm:resnet18", "imagenet", 256, 16, 512),
    ],
)
def test_body_and_head_are_the_encoder_cut_before_its_last_stage(name, stem, width: int, stride: int, last: int):
    encoder = build_encoder(name, stem=stem)[0].eval()
    model = detector(encoder).eval()
    assert (model.backbone.out_channels, model.backbone.stride) == (width, stride)
    assert model.roi_heads.box_head.out_channels == last
    images = torch.rand(2, 3, 64, 64)
    with torch.no_grad():
        whole = model.roi_heads.box_head.stage(model.backbone(images)).mean((2, 3))
        torch.testing.assert_close(whole, encoder(images), rtol=1e-4, atol=1e-5)
        assert model.backbone(images).shape == (2, width, 64 // stride, 64 // stride)
        assert model.roi_heads.box_head(torch.rand(5, width, 14, 14)).shape == (5, last)


def test_an_extra_norm_follows_the_last_stage() -> None:
    """In training mode the head's rows have the mean of a BatchNorm's output: its bias."""
    head = detector(build_encoder("resnet8")[0]).roi_heads.box_head.train()
    nn.init.constant_(head.norm.bias, 3.0)
    torch.testing.assert_close(head(torch.randn(8, 64, 14, 14)).mean(0), torch.full((128,), 3.0))


def test_everything_learns_and_the_encoder_stays() -> None:
    torch.manual_seed(0)
    encoder = build_encoder("resnet8", stem="cifar")[0]
    before = copy.deepcopy(encoder.state_dict())
    model = detector(encoder).train()
    losses = model([torch.rand(3, 64, 64)], targets())
    assert set(losses) == {"loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg"}
    sum(losses.values()).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 1 + len([m for m in encoder.modules() if isinstance(m, nn.BatchNorm2d)])
    assert all(int(m.num_batches_tracked) == 1 for m in norms)
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    assert encoder.training
    for name, tensor in encoder.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_anchors_and_new_weights() -> None:
    torch.manual_seed(0)
    model = detector(build_encoder("resnet8")[0], classes=3)
    anchors = torch.cat(list(model.rpn.anchor_generator.cell_anchors))
    width, height = (anchors[:, 2:] - anchors[:, :2]).unbind(1)
    assert len(anchors) == 3 * len(TINY.anchors)
    assert (width * height).sqrt().tolist() == pytest.approx([*TINY.anchors] * 3, rel=0.1)  # corners are whole numbers
    assert (height / width).tolist() == pytest.approx([0.5] * 3 + [1] * 3 + [2] * 3, rel=0.2)
    predictor = model.roi_heads.box_predictor
    assert predictor.cls_score.weight.shape == (4, 128)
    assert predictor.cls_score.weight.std().item() == pytest.approx(0.01, rel=0.1)
    assert predictor.bbox_pred.weight.std().item() == pytest.approx(0.001, rel=0.1)
    assert not predictor.cls_score.bias.any()


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        (build_encoder("timm:vit_tiny_patch16_224")[0], "VisionTransformer has patch_embed, "),
        (nn.Sequential(nn.Conv2d(3, 8, 3)), "Sequential has 0. Choose a resnet."),
        (nn.Identity(), "Identity has no parts. Choose a resnet."),
    ],
)
def test_other_encoders_are_refused(encoder: nn.Module, message: str) -> None:
    with pytest.raises(InputError) as caught:
        detector(encoder)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
