"""Rate of ``embed`` beside the encoder's own forward on batches that lie ready, in turn; median of the ratios.

OMP_NUM_THREADS=2 python benchmarks/embed.py --data cifar10 --encoder resnet18 --stem cifar
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import torch

from covary.data import Fit, load
from covary.embed import embed
from covary.evaluation.features import evaluating
from covary.meter import passport
from covary.nets import build_encoder


def forward_seconds(encoder: torch.nn.Module, batches: list[torch.Tensor]) -> float:
    """Return how long the encoder alone takes for all batches."""
    begin = time.perf_counter()
    with torch.no_grad(), evaluating(encoder, torch.device("cpu")):
        for batch in batches:
            encoder(batch)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", default="cifar10", help="SPEC, whose test images are taken")
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--stem", default="imagenet")
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cache", type=Path)
    options = parser.parse_args()
    encoder, _ = build_encoder(options.encoder, stem=options.stem)
    encoder = encoder.to(memory_format=torch.channels_last)
    count = len(load(options.data, split="test", fit=Fit.evaluate(options.size), cache=options.cache))
    batches = [
        torch.randn(min(256, count - start), 3, options.size, options.size).to(memory_format=torch.channels_last)
        for start in range(0, count, 256)
    ]
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(options.rounds + 1):
            alone = forward_seconds(encoder, batches)
            out = Path(folder) / f"{turn}.parquet"
            size, cache = options.size, options.cache
            begin = time.perf_counter()
            embed(encoder, data=options.data, out=out, split="test", image_size=size, cache=cache, device="cpu")
            whole = time.perf_counter() - begin
            if turn > 0:  # the first warms up
                ratios.append(alone / whole)
                rates = f"forward {count / alone:,.0f} images/s  embed, table and all {count / whole:,.0f}"
                print(f"{rates}  ratio {ratios[-1]:.3f}")
    print(f"median {statistics.median(ratios):.3f} of {count:,} images  {passport(torch.device('cpu'))}")


if __name__ == "__main__":
    main()
