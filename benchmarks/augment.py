"""Time to make one view of each image of a batch: covary, kornia's batched chain, torchvision's per-image pipeline.

    python benchmarks/augment.py [--out FILE.json]

All do the paper's recipe (crop, jitter, gray, flip, blur, normalise) with eager kernels on the same number of threads.
covary starts from uint8 images and draws its numbers inside the time. The rivals get the faster of their forms:
kornia an ``nn.Sequential`` (AugmentationSequential is slower) and images that are float already; torchvision a
DataLoader with one worker per thread, kept alive, over decoded images, as uint8 tensors and as PIL images. Every round
times each once, in turn, so that a busy machine is busy for all.
"""

import argparse
import json
import platform
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import kornia
import torch
import torchvision
from PIL.Image import Image
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from covary.augment import Recipe, make_views, preset
from covary.types import Batch
from covary.version import commit

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # ImageNet


class Transformed(Dataset):
    """Decoded images behind a torchvision pipeline."""

    def __init__(self, images: Sequence[Tensor | Image], transform: nn.Module) -> None:
        self.images, self.transform = images, transform

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return self.transform(self.images[index])


def kornia_chain(recipe: Recipe) -> nn.Module:
    """Return the recipe as kornia's batched chain, numbers drawn per image."""
    k, jitter, size = kornia.augmentation, recipe.jitter, (recipe.size, recipe.size)
    strength = (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
    return nn.Sequential(
        k.RandomResizedCrop(size, scale=recipe.crop.scale, ratio=recipe.crop.ratio),
        k.ColorJitter(*strength, p=jitter.p),
        k.RandomGrayscale(p=recipe.grayscale),
        k.RandomHorizontalFlip(p=recipe.flip),
        k.RandomGaussianBlur((recipe.blur.kernel, recipe.blur.kernel), recipe.blur.sigma, p=recipe.blur.p),
        k.Normalize(torch.tensor(recipe.mean), torch.tensor(recipe.std)),
    )


def torchvision_chain(recipe: Recipe) -> nn.Module:
    """Return the recipe as torchvision's per-image pipeline, for uint8 tensors and PIL images."""
    jitter, blur = recipe.jitter, recipe.blur
    strength = (jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue)
    return v2.Compose(
        [
            v2.RandomResizedCrop(recipe.size, scale=recipe.crop.scale, ratio=recipe.crop.ratio, antialias=True),
            v2.RandomApply([v2.ColorJitter(*strength)], p=jitter.p),
            v2.RandomGrayscale(recipe.grayscale),
            v2.RandomHorizontalFlip(recipe.flip),
            v2.RandomApply([v2.GaussianBlur(blur.kernel, blur.sigma)], p=blur.p),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(list(recipe.mean), list(recipe.std)),
        ]
    )


def contestants(recipe: Recipe, batch: Batch, *, threads: int, batches: int) -> dict[str, Callable[[], int]]:
    """Return for each name a function that makes views and says of how many images."""
    b = len(batch.images)
    floats = batch.images.float() / 255
    chain = kornia_chain(recipe)

    def loader(images: Sequence[Tensor | Image]) -> Callable[[], int]:
        data = Transformed([*images] * batches, torchvision_chain(recipe))
        workers = DataLoader(data, batch_size=b, shuffle=True, num_workers=threads, persistent_workers=True)
        return lambda: sum(len(views) for views in workers)

    return {
        "covary": lambda: len(make_views(batch, recipe, seed=0).images[0]),
        "kornia": lambda: len(chain(floats)),
        "torchvision, tensors": loader([*batch.images]),
        "torchvision, PIL": loader([v2.functional.to_pil_image(image) for image in batch.images]),
    }


def measure(functions: dict[str, Callable[[], int]], rounds: int) -> dict[str, list[float]]:
    """Return for each name the microseconds per image of every round, after one round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for _ in range(rounds + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            images = function()
            times[name].append((time.perf_counter() - start) / images * 1e6)
    return {name: values[1:] for name, values in times.items()}


def summary(values: list[float]) -> dict[str, float]:
    """Return median and quartiles."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return {"median": middle, "quartile_1": low, "quartile_3": high}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=96, help="height and width of images and views")
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--out", type=Path, help="JSON file to write")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # the rivals' own
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)

    b, size = arguments.batch_size, arguments.size
    recipe = Recipe(size=size, mean=MEAN, std=STD, blur=preset("paper", size=size, mean=MEAN, std=STD).blur, views=1)
    batch = Batch(
        images=torch.randint(0, 256, (b, 3, size, size), dtype=torch.uint8),
        sizes=torch.full((b, 2), size),
        positions=torch.arange(b),
        epoch=0,
    )
    times = measure(contestants(recipe, batch, threads=arguments.threads, batches=2), arguments.rounds)
    report = {
        "machine": f"{platform.machine()}, {arguments.threads} threads",
        "versions": {m.__name__: m.__version__ for m in (torch, torchvision, kornia)} | {"covary": commit()},
        "size": size,
        "batch_size": b,
        "rounds": arguments.rounds,
        "microseconds_per_image": {name: summary(values) for name, values in times.items()},
        "times_slower_than_covary": {
            name: summary([theirs / ours for theirs, ours in zip(values, times["covary"], strict=True)])
            for name, values in times.items()
            if name != "covary"
        },
    }
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
