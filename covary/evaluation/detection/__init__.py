"""Detection: Faster R-CNN with the C4 body of any residual encoder, images in VOC's layout, COCO's AP."""

from covary.evaluation.detection.detect import DetectionResult, detect
from covary.evaluation.detection.options import DetectionOptions, Schedule

__all__ = ["DetectionOptions", "DetectionResult", "Schedule", "detect"]
