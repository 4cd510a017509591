"""STL inside Lightning: the method is a plain module, the batches an iterable (needs the package lightning)."""

from collections.abc import Iterator
from dataclasses import replace

import lightning
import torch
from torch.utils.data import DataLoader, IterableDataset

from covary.augment import make_views, preset
from covary.data import Batches, Fit, load, normalization
from covary.methods import STL
from covary.nets import build_encoder
from covary.types import Batch

SIZE, BATCH, SEED = 32, 64, 0


class Epochs(IterableDataset):
    """One epoch after another of ready batches."""

    def __init__(self) -> None:
        store = load("shapes:n=512", split="train", fit=Fit.train(SIZE))
        self.batches = Batches(store, batch_size=BATCH, seed=SEED, device=torch.device("cpu"))
        self.epoch = -1

    def __iter__(self) -> Iterator[Batch]:
        self.epoch += 1
        return self.batches.epoch(self.epoch)


class LitSTL(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        encoder, features = build_encoder("resnet8", stem="cifar")
        mean, std = normalization("shapes")
        self.recipe = preset("paper", size=SIZE, mean=mean, std=std)
        self.method = STL().build(encoder, features, self.recipe)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        return replace(batch, images=batch.images.to(device))

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:
        terms = self.method(make_views(batch, self.recipe, seed=SEED))
        self.log_dict({name: value.detach() for name, value in terms.items()}, batch_size=BATCH, prog_bar=True)
        return terms["loss"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.03, momentum=0.9, weight_decay=5e-4)


def main() -> None:
    lightning.seed_everything(SEED)
    trainer = lightning.Trainer(max_epochs=2, logger=False, enable_checkpointing=False)
    trainer.fit(LitSTL(), DataLoader(Epochs(), batch_size=None))


if __name__ == "__main__":
    main()
