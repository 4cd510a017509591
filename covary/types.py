"""The values that layers hand to each other: a batch of images, and the views made of it."""

from dataclasses import dataclass, replace

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """Images of one step as they lie in the store.

    images:    uint8 (b, 3, h, w) on the training device; an image smaller than (h, w) lies at the top left, zeros
               fill the rest.
    sizes:     int64 (b, 2) on the CPU, true height and width of each image.
    positions: int64 (b,) on the CPU, place of each image in the order of its epoch; with seed, epoch, view and slot
               it is the key of every random number drawn for the image. Rows 2i and 2i+1 hold positions 2j and
               2j+1, so that ``position // 2`` names the pair.
    epoch:     the epoch the positions belong to.
    """

    images: Tensor
    sizes: Tensor
    positions: Tensor
    epoch: int


@dataclass(frozen=True)
class Views:
    """Views of one batch: every image after ``v`` transformations.

    images:   float (v, b, 3, s, s), normalised.
    params:   float (v, b, p), how each view was made (columns: ``Recipe.columns``); what label-based methods
              learn from, what STL must never read.
    partners: whether rows 2i and 2i+1 went through the same aligned transformations.
    turned:   float (4, b, 3, s', s'), the extra view that the recipe declares, turned by 0 to 3 quarter turns
              counterclockwise; None where it declares none.
    """

    images: Tensor
    params: Tensor
    partners: bool
    turned: Tensor | None = None

    def rows(self, part: slice) -> "Views":
        """Return the views of a part of the images."""
        turned = None if self.turned is None else self.turned[:, part]
        return replace(self, images=self.images[:, part], params=self.params[:, part], turned=turned)
