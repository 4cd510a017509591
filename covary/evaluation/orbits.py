"""Orbits: the views of test images along one parameter, as an encoder sees them, and their features."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from covary.augment import Recipe, apply
from covary.errors import InputError
from covary.evaluation.sensitivity import between_images, for_orbits, orbit
from covary.evaluation.subject import Subject, some_rows
from covary.evaluation.transformations import ranges_of, unchanged


@dataclass(frozen=True)
class Orbits:
    """An encoder's images along the parameters of ``subject.options.sensitivity``.

    Of ``names`` and steps see ``SensitivityOptions.orbits``; the first view is the one where the parameter is 0.
    """

    subject: Subject

    @cached_property
    def rows(self) -> Tensor:
        """The test images that results are means over, int64 (n,)."""
        count = self.subject.options.sensitivity.images
        return some_rows(self.subject.test, count, self.subject.seed, "sensitivity", even=True)

    @cached_property
    def base(self) -> Recipe:
        """The recipe at the size and normalisation of the encoder."""
        return ranges_of(self.subject.source.recipe, self.subject.extractor, self.subject.options.sensitivity.ranges)

    @cached_property
    def unit(self) -> float:
        """The mean distance between different images of ``rows``, in which distances are told.

        Raises InputError: the encoder gives all images the same features.
        """
        still = unchanged(self.base, len(self.rows))[None]
        unit = between_images(self.subject.extractor.views(self.subject.test, self.rows, still, self.base)[0])
        if unit < 1e-9:
            raise InputError(
                f"The encoder gives all images of {self.subject.data} the same features; there is nothing to compare "
                "with."
            )
        return unit

    def features(self, name: str, rows: Tensor) -> Tensor:
        """Return the features of the views of test images along a parameter, float32 (1 + v, n, D) on the CPU."""
        return self.subject.extractor.views(self.subject.test, rows, self._numbers(name, len(rows)), self._along)

    def images(self, name: str, rows: Tensor) -> Tensor:
        """Return the views themselves, float32 (1 + v, n, 3, s, s), values in [0, 1]."""
        images, sizes = self.subject.test.images(rows)
        plain = replace(self._along, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        return apply(images, self._numbers(name, len(rows)), plain, sizes=sizes).clamp(0, 1)

    @cached_property
    def _along(self) -> Recipe:
        return for_orbits(self.base, self.subject.options.sensitivity)

    def _numbers(self, name: str, count: int) -> Tensor:
        """Return how the views are made, float32 (1 + v, count, P)."""
        options = self.subject.options.sensitivity
        views, start = orbit(name, options.orbits[name], unchanged(self.base, count), options)
        return torch.cat([start[None], views])
