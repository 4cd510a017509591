"""kNN accuracy while a run trains: on held-out labelled images, with the encoder as it stands."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from covary.data import Fit, ImageStore, load
from covary.errors import InputError
from covary.evaluation.features import extract
from covary.evaluation.knn import knn
from covary.keyed import permutation
from covary.run import Run

BANK, QUERIES = 5000, 2000  # images at most, so that an evaluation takes seconds on a CPU


@dataclass(frozen=True)
class OnlineKnn:
    """Two labelled stores, and how often they are looked at."""

    run: Run
    bank: ImageStore
    queries: ImageStore
    every: int

    @classmethod
    def prepare(
        cls, run: Run, *, every: int, root: Path | None, cache: Path | None, say: Callable[[str], None]
    ) -> Self | None:
        """Return the evaluation, or None: ``every`` is -1, or the SPEC has no labels (said in a line).

        every: epochs between evaluations; 0 takes ten over the run.
        """
        if every == -1:
            return None
        fit = Fit.evaluate(run.augment.size)
        try:
            bank = load(run.data, split="train", fit=fit, root=root, cache=cache, labelled=True)
            queries = load(run.data, split="test", fit=fit, root=root, cache=cache, labelled=True)
        except InputError as error:
            say(f"no online kNN: {error}")
            return None
        return cls(run=run, bank=bank, queries=queries, every=every or max(1, run.epochs // 10))

    def due(self, epoch: int) -> bool:
        """Return whether the end of ``epoch`` (from 0) is one to look at; the last always is."""
        return (epoch + 1) % self.every == 0 or epoch + 1 == self.run.epochs

    def accuracy(self, encoder: nn.Module, device: torch.device) -> float:
        """Return the kNN top-1 accuracy of the encoder in evaluation mode; leaves its mode as it was."""
        training = encoder.training
        bank = self._features(encoder, self.bank, BANK, device)
        queries = self._features(encoder, self.queries, QUERIES, device)
        encoder.train(training)
        return knn(*bank, *queries).top1

    def _features(
        self, encoder: nn.Module, store: ImageStore, most: int, device: torch.device
    ) -> tuple[Tensor, Tensor]:
        rows = permutation(len(store), seed=0, stream="online knn", epoch=0)[:most]
        features = extract(
            encoder,
            store,
            mean=self.run.augment.mean,
            std=self.run.augment.std,
            device=device,
            rows=rows,
            batch_size=self.run.batch_size // self.run.accumulate,  # which has room for it
        )
        return features, torch.as_tensor(store.labels)[rows]
