"""What a task measures: an encoder on the images of a SPEC, loaded and encoded when first asked for."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from covary.data import Fit, ImageStore, Split, features_folder, load, native_size, normalization
from covary.errors import InputError
from covary.evaluation.features import RGB, Extractor, kept
from covary.evaluation.options import Options
from covary.evaluation.source import Source
from covary.keyed import permutation


def check_numbers(*, batch_size: int, image_size: int | None, std: RGB | None, seed: int) -> None:
    """Raise InputError for a number that a ``Subject`` cannot have."""
    for name, number in (("batch_size", batch_size), ("image_size", 1 if image_size is None else image_size)):
        if number < 1:
            raise InputError(f"{name} is {number}; expected 1 or more.")
    if not 0 <= seed < 2**63:
        raise InputError(f"seed is {seed}; expected a whole number in [0, 2**63).")
    if std is not None and min(std) <= 0:
        raise InputError(f"std is {std}; expected three positive numbers.")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An encoder on the images of a SPEC.

    source:      the encoder.
    data:        the SPEC.
    device:      where the encoder and the tasks compute.
    batch_size:  images that the encoder sees at once.
    seed:        of whatever a task draws.
    options:     of the tasks.
    image_size, mean, std: of the images that the encoder sees; None: the source's own, else those of the images.
    root, cache: where data sets, and stores of images and features lie (``data.load``).
    """

    source: Source
    data: str
    device: torch.device
    batch_size: int
    seed: int
    options: Options
    image_size: int | None = None
    mean: RGB | None = None
    std: RGB | None = None
    root: Path | None = None
    cache: Path | None = None

    @cached_property
    def extractor(self) -> Extractor:
        """The encoder, and how images are brought to it."""
        mean, std = normalization(self.data)
        return Extractor(
            encoder=self.source.encoder,
            size=self.image_size or self.source.image_size or native_size(self.data, root=self.root),
            mean=self.mean or self.source.mean or mean,
            std=self.std or self.source.std or std,
            device=self.device,
            batch_size=self.batch_size,
        )

    @cached_property
    def labelled(self) -> bool:
        """Whether the images have labels."""
        labels = self._load("test", labelled=False).labels
        return labels is not None and bool((labels >= 0).any())

    @cached_property
    def train(self) -> ImageStore:
        """Images to fit or to look up. Where there are no labels, those that are not among the test images."""
        if self.labelled:
            return self._load("train", labelled=True)
        store = self._load("train", labelled=False)
        held_out = {digest.tobytes() for digest in self.test.digests}
        left = [row for row, digest in enumerate(store.digests) if digest.tobytes() not in held_out]
        if not left:
            raise InputError(f"{self.data} has no training image that is not a test image; give more images.")
        return store.select(np.array(left))

    @cached_property
    def test(self) -> ImageStore:
        """Images to measure on."""
        return self._load("test", labelled=self.labelled)

    @cached_property
    def classes(self) -> int:
        """The number of classes.

        Raises InputError: there are no labels, one class, or the splits disagree.
        """
        if not self.labelled:
            self._load("test", labelled=True)  # which says what is missing
        names, others = self.train.classes or (), self.test.classes or ()
        if names != others:
            different = sorted(set(names) ^ set(others)) or ["their order"]
            raise InputError(
                f"The train and test splits of {self.train.name} have different classes "
                f"({len(names)} and {len(others)}; not in both: {', '.join(different[:5])}); "
                "give both the same classes."
            )
        if len(names) < 2:
            raise InputError(f"{self.train.name} has one class; an evaluation needs two or more.")
        return len(names)

    @cached_property
    def train_features(self) -> Tensor:
        """Features of the training images, float32 (n, D) on the device; for those of a module see ``transient``.

        All others are kept in the cache: the same weights never see the same images at the same size, mean and
        deviation twice.
        """
        return self.features_of(self.train)

    @cached_property
    def test_features(self) -> Tensor:
        """Features of the test images; see ``train_features``."""
        return self.features_of(self.test)

    @cached_property
    def train_labels(self) -> Tensor:
        """Labels of the training images, int64 (n,) on the device."""
        return torch.as_tensor(self.train.labels, device=self.device)

    @cached_property
    def test_labels(self) -> Tensor:
        """Labels of the test images, int64 (n,) on the device."""
        return torch.as_tensor(self.test.labels, device=self.device)

    @property
    def says_features(self) -> str:
        """The words of a protocol line about the features."""
        return f"{self.test_features.shape[1]} features of {self.extractor.says_images}"

    def features_of(self, store: ImageStore) -> Tensor:
        """Features of images of a store that ``train`` or ``test`` gave, or that was selected from one."""
        extractor = self.extractor
        if self.source.transient:
            return extractor.features(store).to(self.device)
        seen = (store.pixels_fingerprint, extractor.size, extractor.mean, extractor.std)
        key = (self.source.weights, *seen, self.device.type)
        return kept(features_folder(self.cache), key, lambda: extractor.features(store)).to(self.device)

    def _load(self, split: Split, *, labelled: bool) -> ImageStore:
        fit = Fit.evaluate(self.extractor.size)
        return load(self.data, split=split, fit=fit, labelled=labelled, root=self.root, cache=self.cache)


def some_rows(store: ImageStore, count: int, seed: int, stream: str, *, even: bool = False) -> Tensor:
    """Return rows of images in random order, all where count is 0 or there are fewer, an even number where asked."""
    found = permutation(len(store), seed=seed, stream=stream, epoch=0)[: count or len(store)]
    return found[: len(found) - len(found) % 2] if even else found
