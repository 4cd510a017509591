"""Average precision as COCO defines it, by pycocotools.

For a class and an IoU threshold: detections of all images by falling score; each takes the object of its image and
class that it overlaps most, if by the threshold or more and no better one has taken it; AP is the mean, over the
recalls 0, 0.01, ..., 1, of the largest precision at this recall or a higher one. An object marked difficult is COCO's
crowd: it is not asked for, and a detection of which the threshold's share lies within it is neither right nor wrong.
"""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from covary.data.source import require

DETECTIONS = 100  # of an image that count, the best of each class: COCO


@dataclass(frozen=True, kw_only=True)
class Detections:
    """Boxes found in an image: boxes (m, 4), x1, y1, x2, y2; labels int64 (m,); scores (m,)."""

    boxes: Tensor
    labels: Tensor
    scores: Tensor


@dataclass(frozen=True, kw_only=True)
class Truth:
    """Objects of an image: boxes (m, 4), x1, y1, x2, y2; labels int64 (m,); difficult bool (m,)."""

    boxes: Tensor
    labels: Tensor
    difficult: Tensor


@dataclass(frozen=True, kw_only=True)
class AveragePrecision:
    """Fractions: ap, the mean over IoU .5, .55, ..., .95; ap50; ap75; per class, by label, ap. Means over classes."""

    ap: float
    ap50: float
    ap75: float
    per_class: dict[int, float]


def check_installed() -> None:
    """Raise InputError unless pycocotools is installed."""
    _import("cocoeval")


def average_precision(found: Sequence[Detections], truth: Sequence[Truth]) -> AveragePrecision:
    """Return the AP of what was found in each image; classes without an object that is asked for do not count.

    Raises InputError: pycocotools is not installed. ValueError: no object is asked for, or the lengths differ.
    """
    cocoeval = _import("cocoeval")
    if len(found) != len(truth):
        raise ValueError(f"{len(found)} images with detections for {len(truth)} with objects; expected as many.")
    labels = sorted({int(label) for image in truth for label in image.labels[~image.difficult]})
    if not labels:
        raise ValueError("No object is asked for; average precision needs one or more.")
    objects = [
        {"image_id": index, "category_id": int(label), "bbox": box, "area": 1.0, "iscrowd": int(crowd)}
        for index, image in enumerate(truth)
        for box, label, crowd in zip(_xywh(image.boxes), image.labels, image.difficult, strict=True)
    ]
    detections = [
        {"image_id": index, "category_id": int(label), "bbox": box, "area": 1.0, "score": float(score)}
        for index, image in enumerate(found)
        for box, label, score in zip(_xywh(image.boxes), image.labels, image.scores, strict=True)
    ]
    with contextlib.redirect_stdout(io.StringIO()):  # it reports every phase
        evaluation = cocoeval.COCOeval(_coco(len(truth), objects), _coco(len(truth), detections), "bbox")
        evaluation.params.catIds = labels
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0.0, 1e10]], ["all"]
        evaluation.params.maxDets = [DETECTIONS]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = np.asarray(evaluation.eval["precision"])[..., 0, 0].mean(axis=1)  # (thresholds, classes)
    return AveragePrecision(
        ap=float(precision.mean()),
        ap50=float(precision[0].mean()),
        ap75=float(precision[5].mean()),
        per_class=dict(zip(labels, precision.mean(axis=0).tolist(), strict=True)),
    )


def _xywh(boxes: Tensor) -> list[list[float]]:
    boxes = boxes.double()
    return [
        [*corner, *size]
        for corner, size in zip(boxes[:, :2].tolist(), (boxes[:, 2:] - boxes[:, :2]).tolist(), strict=True)
    ]


def _coco(images: int, annotations: list[dict[str, object]]) -> object:
    """Return pycocotools' form of the boxes of images 0, 1, ..."""
    coco = _import("coco").COCO()
    coco.dataset = {
        "images": [{"id": index} for index in range(images)],
        "categories": [{"id": label} for label in sorted({one["category_id"] for one in annotations})],  # pyright: ignore
        "annotations": [{"id": index + 1, "iscrowd": 0, **one} for index, one in enumerate(annotations)],
    }
    coco.createIndex()
    return coco


def _import(module: str) -> Any:
    return require(f"pycocotools.{module}", extra="detection", needed_for="average precision")
