"""Whole training steps with others' views, and with lightly's head and loss; encoder and optimiser are the run's."""

import importlib
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchvision.transforms.v2.functional import to_pil_image

from covary.bench.loop import LEAST_BATCHES, Loop, noise
from covary.bench.rivals.chains import kornia_chain, lightly_transform, torchvision_chain
from covary.bench.rivals.loaders import Repeated, Transformed, loaded
from covary.bench.settings import Case
from covary.bench.timing import Block, steps_of
from covary.methods import SimCLR
from covary.methods.base import default_hidden
from covary.optim import build_optimizer
from covary.types import Views


def torchvision_step(case: Case, *, pil: bool) -> Block:
    """Return SimCLR's step on views of torchvision's pipeline in a DataLoader, from uint8 tensors or PIL images."""
    loop = Loop(case)
    chain = Repeated(torchvision_chain(loop.run.augment), loop.run.augment.views)
    return _loaded(case, chain, lambda views: loop.step.update(_views(views), loop.index()), pil=pil)


def kornia_step(case: Case) -> Block:
    """Return SimCLR's step on views of kornia's chain, on the device, from covary's batches."""
    loop = Loop(case)
    chain = kornia_chain(loop.run.augment).to(case.device)

    def job() -> None:
        images = loop.batch().images.float() / 255
        with torch.no_grad():
            views = torch.stack([chain(images) for _ in range(loop.run.augment.views)])
        loop.step.update(_views(views), loop.index())

    return steps_of(job, case.device)


def lightly_step(case: Case) -> Block:
    """Return the step of lightly's documentation: its transformation in a DataLoader, its projector, its loss.

    The encoder is channels-last and the optimiser fused, as in covary's step.
    """
    run = case.run()
    network = LightlySimCLR(case).to(case.device).train()
    optimizer = build_optimizer(run.optim, network)
    case.compiled(network)

    def update(views: Tensor) -> None:
        with case.autocast():
            loss = network(views)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return _loaded(case, lightly_transform(run.augment), update, pil=True)


class LightlySimCLR(nn.Module):
    """SimCLR of lightly's parts around the run's encoder; views (2, b, 3, s, s) to the loss."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        config = cast(SimCLR, case.run().method)
        heads, losses = (importlib.import_module(f"lightly.{name}") for name in ("models.modules", "loss"))
        self.encoder, features = case.encoder()
        self.head: nn.Module = heads.SimCLRProjectionHead(
            features,
            config.head_hidden or default_hidden(features),
            config.embedding,
            num_layers=config.head_layers,
        )
        self.loss: nn.Module = losses.NTXentLoss(temperature=config.temperature)

    def forward(self, views: Tensor) -> Tensor:
        """Return the loss."""
        return self.loss(*(self.head(self.encoder(view)) for view in views))


def decoded(case: Case, *, pil: bool) -> Sequence[Any]:
    """Return some batches of images of noise, decoded: uint8 tensors (3, s, s) or PIL images."""
    images, _ = noise(case.setting.size, batch=case.setting.batch).images(range(LEAST_BATCHES * case.setting.batch))
    return [to_pil_image(image) for image in images] if pil else [*images]


def _loaded(
    case: Case, transform: Callable[[Any], Sequence[Tensor]], use: Callable[[Tensor], object], *, pil: bool
) -> Block:
    return loaded(
        Transformed(decoded(case, pil=pil), transform),
        use,
        batch_size=case.setting.batch,
        workers=case.workers,
        device=case.device,
    )


def _views(images: Tensor) -> Views:
    return Views(images=images, params=images.new_empty(*images.shape[:2], 0), partners=False)
