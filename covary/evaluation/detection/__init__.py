"""Detection: Faster R-CNN with the C4 body of any residual encoder, images in VOC's layout, COCO's AP."""

from covary.evaluation.detection.options import DetectionOptions, Schedule
from covary.evaluation.detection.voc import has_boxes

__all__ = ["DetectionOptions", "Schedule", "has_boxes"]
