"""Single changes of images, for the map of transformation codes."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from covary.data import ImageStore
from covary.evaluation.codes import QUARTERS, Pairs, single_changes
from covary.evaluation.prepared import reader_of
from covary.evaluation.subject import Subject
from covary.evaluation.transformations import TYPES, ranges_of
from covary.explore.maps import as_map
from covary.explore.page import packed
from covary.explore.sprites import sheet

CODES = 2000  # at most


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Pairs of an image and a view of which one thing is changed."""

    pairs: Pairs

    def to_json(self) -> Mapping[str, Any]:
        """Return what the page colours the codes by."""
        return {
            "types": ["colour: " + name if name != "crop" else name for name in TYPES],
            "quarters": [f"quarter {number} of its range" for number in range(1, QUARTERS + 1)],
            "type": packed(self.pairs.types.to(torch.int32)),
            "quarter": packed(self.pairs.quarters.to(torch.int32)),
        }

    def sheet(self, folder: Path, store: ImageStore) -> Mapping[str, Any]:
        """Write pictures of the pairs, before and after."""
        pairs = self.pairs
        params = torch.stack([pairs.before, pairs.after])
        return sheet(folder, "changes", store, pairs.images, pairs.recipe, params, on_map=True)


def changes_of(subject: Subject, images: int) -> Changes:
    """Return changes of as many test images, of at most ``CODES``; 0 is as many as there can be."""
    return Changes(pairs=single_changes(subject, min(images or CODES, CODES)))


def codes_map(subject: Subject, changes: Changes) -> Mapping[str, Any]:
    """Return the map of what a run says of each change: codes, or differences of features where it reads none."""
    pairs, reader = changes.pairs, reader_of(subject)
    recipe = ranges_of(pairs.recipe, subject.extractor, "auto")
    params = torch.stack([pairs.before, pairs.after])
    before, after = subject.extractor.views(subject.test, pairs.images, params, recipe).to(subject.device)
    rows = after - before if reader is None else reader(before, after)
    says = "codes that the run reads off pairs" if reader else "differences of features, as the run reads no codes"
    return {**as_map(rows.cpu(), seed=subject.seed), "says": says}
