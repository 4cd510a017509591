"""What is known of data sets before their images are read: the size of an image, mean and deviation of the channels."""

from covary.data.shapes import SIZE as SHAPES_SIZE
from covary.data.torchvision_sets import SETS

RGB = tuple[float, float, float]

IMAGENET: tuple[RGB, RGB] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # torchvision's weights
LARGEST = 224  # the native size of photographs, whatever their camera

_STATISTICS: dict[str, tuple[RGB, RGB]] = {
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    "stl10": ((0.43, 0.42, 0.39), (0.27, 0.26, 0.27)),  # STL's and AugSelf's code
    "shapes": ((0.50, 0.50, 0.50), (0.16, 0.16, 0.16)),  # measured on the train images at 32 px
}

SIZES: dict[str, int] = {
    **dict.fromkeys(SETS, LARGEST),
    "imagenet100": LARGEST,
    "shapes": SHAPES_SIZE,
    "cifar10": 32,
    "cifar100": 32,
    "svhn": 32,
    "eurosat": 64,
    "stl10": 96,
}


def normalization(spec: str) -> tuple[RGB, RGB]:
    """Return (mean, std) of a SPEC's images: those of a known set, ImageNet's for everything else."""
    return _STATISTICS.get(spec.partition(":")[0], IMAGENET)
