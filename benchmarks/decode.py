"""Images a second from JPEG files: what a core decodes, what ``Batches`` of an encoded store give, and under training.

    python benchmarks/decode.py [--count 20000] [--folder DIR] [--out FILE.json]
    python benchmarks/decode.py --width 4000 --height 3000 --count 40 --rounds 5    # photographs of a telephone
    python benchmarks/decode.py --device cuda --encoder resnet50 --batch 256 --precision bf16

The files are coloured noise whose amplitude falls with frequency as 1 / f^1.4, at quality 85: about 36 kB at 400 x 300.
Each file is a function of its number. Every round times each contestant once, in turn, so that a busy machine is busy
for all; the median of the rounds is shown: images a second, and milliseconds that an image costs one core, which do not
count what other programs take. ``simplejpeg`` and ``torchcodec`` take part where they are installed.
"""

import argparse
import importlib
import json
import multiprocessing
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from covary.data import Batches, Fit, load
from covary.data.cores import cores
from covary.data.decode import decode, planes
from covary.data.encoded import EncodedStore
from covary.meter import passport
from covary.recipes import start_run
from covary.step import Step, build
from covary.types import Batch

FIELDS = 24  # of noise, which images are mixtures of
LIMIT, BATCHES = "as stored", "Batches"
SINGLE = 200  # files that the single-core contestants decode a round


def noise(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return a periodic field of deviation 1 whose amplitude falls with frequency: float64 (height, width)."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width))
    frequency[0, 0] = np.inf
    spectrum = frequency**-1.4 * np.exp(2j * np.pi * rng.random(frequency.shape))
    field = np.fft.irfft2(spectrum, s=(height, width))
    return field / field.std()


def write(folder: Path, count: int, *, width: int, height: int, quality: int) -> None:
    """Write the files that are missing of ``count``, in ten class folders; each is three fields, mixed and shifted."""
    fields = np.stack([noise(np.random.default_rng(index), height, width) for index in range(FIELDS)])

    def one(index: int) -> None:
        path = folder / str(index % 10) / f"{index:06d}.jpg"
        if path.exists():
            return
        rng = np.random.default_rng([1, index])
        a, b = (fields[rng.permutation(FIELDS)[:3]] for _ in range(2))
        shifted = np.roll(b, (rng.integers(height), rng.integers(width)), axis=(1, 2))
        values = 128 + np.array([52, 18, 18])[:, None, None] * (a + shifted) / np.sqrt(2)
        image = Image.fromarray(values.clip(0, 255).astype(np.uint8).transpose(1, 2, 0), "YCbCr")
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, quality=quality)

    with ThreadPoolExecutor(cores()) as pool:
        list(pool.map(one, range(count)))


def decoders(fit: Fit) -> dict[str, Callable[[bytes], object]]:
    """Return for each name a function that decodes a file on one core."""
    from torchvision.io import ImageReadMode, decode_jpeg

    def torchvision(data: bytes) -> object:
        return decode_jpeg(torch.frombuffer(bytearray(data), dtype=torch.uint8), mode=ImageReadMode.RGB)

    found: dict[str, Callable[[bytes], object]] = {
        "Pillow": decode,
        **{f"Pillow, reduced by {by}": partial(decode, reduction=lambda *_, by=by: by) for by in (2, 4, 8)},
        LIMIT: lambda data: planes(fit.decode(data)),
        "as stored, in full": lambda data: planes(fit.apply(decode(data))),
        "torchvision": torchvision,
    }
    for module, function in {"simplejpeg": "decode_jpeg", "torchcodec.decoders": "decode_jpeg"}.items():
        try:
            found[module] = getattr(importlib.import_module(module), function)
        except ImportError:
            continue
    return found


def decode_all(store: EncodedStore, rows: range) -> int:
    """Decode images of a store as its readers do, and keep nothing."""
    out = torch.empty((1, 3, *store.canvas(range(len(store)))), dtype=torch.uint8)
    for row in rows:
        store.fill(np.array([row]), out)
    return len(rows)


class Processes:
    """Processes that decode images of a store; they are forked, so that they have it."""

    store: EncodedStore

    def __init__(self, store: EncodedStore, count: int) -> None:
        self.pool = ProcessPoolExecutor(
            count, mp_context=multiprocessing.get_context("fork"), initializer=Processes.adopt, initargs=(store,)
        )

    @classmethod
    def adopt(cls, store: EncodedStore) -> None:
        cls.store = store

    @classmethod
    def decode(cls, rows: range) -> int:
        return decode_all(cls.store, rows)


def endless(batches: Batches) -> Iterator[Batch]:
    """Yield the batches of one epoch after another."""
    epoch = 0
    while True:
        yield from batches.epoch(epoch)
        epoch += 1


def rates(contestants: dict[str, Callable[[], int]], rounds: int) -> dict[str, dict[str, float]]:
    """Return for each name the medians over the rounds, after one round to warm up.

    The time of cores is that of this process alone.
    """
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    for _ in range(rounds + 1):
        for name, contestant in contestants.items():
            start, spent = time.perf_counter(), time.process_time()
            images = contestant()
            elapsed, spent = time.perf_counter() - start, time.process_time() - spent
            found[name].append((images / elapsed, 1000 * spent / images))
    medians = {
        name: [statistics.median(column) for column in zip(*values[1:], strict=True)] for name, values in found.items()
    }
    return {name: {"images/s": round(rate), "core ms": round(core, 3)} for name, (rate, core) in medians.items()}


def readers(store: EncodedStore, count: int, batch: int, device: torch.device) -> dict[str, Callable[[], int]]:
    """Return what decodes all images of a store: threads and processes that keep nothing, and ``Batches``."""
    parts = [range(start, min(start + 16, len(store))) for start in range(0, len(store), 16)]
    threads, processes = ThreadPoolExecutor(count), Processes(store, count).pool
    fed = Batches(store, batch_size=batch, seed=0, device=device, readers=count)
    return {
        f"{count} threads": lambda: sum(threads.map(partial(decode_all, store), parts)),
        f"{count} processes": lambda: sum(processes.map(Processes.decode, parts)),
        BATCHES: lambda: sum(len(batch.images) for batch in fed.epoch(0)),
    }


def training(store: EncodedStore, options: argparse.Namespace, device: torch.device) -> dict[str, Callable[[], int]]:
    """Return steps on one batch that is at hand, and steps on batches that are decoded ahead."""
    run = start_run(data=store.name, method=options.method, image_size=options.size)
    run = replace(run, encoder=options.encoder, batch_size=options.batch, precision=options.precision).resolved(device)
    method, optimizer = build(run, device)
    batches = Batches(store, batch_size=run.batch_size, seed=run.seed, device=device)
    step = Step(run, method, optimizer, device=device, per_epoch=batches.steps_per_epoch)
    coming = endless(batches)
    at_hand = next(coming)

    def steps(source: Callable[[], Batch]) -> int:
        losses = [step(source(), 0)["loss"] for _ in range(options.steps)]
        torch.stack(losses).tolist()  # waits for the device
        return options.steps * run.batch_size

    return {
        "steps on one batch": lambda: steps(lambda: at_hand),
        "steps, decoding": lambda: steps(lambda: next(coming)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--width", type=int, default=400)
    parser.add_argument("--height", type=int, default=300)
    parser.add_argument("--quality", type=int, default=85)
    parser.add_argument("--folder", type=Path, help="where files and store stay; by default they are removed")
    parser.add_argument("--size", type=int, default=224, help="of the views; images are stored 1.5 times as large")
    parser.add_argument("--readers", type=int, default=cores())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--steps", type=int, default=0, help="steps of training a round; 0 for none")
    parser.add_argument("--method", default="simclr")
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # torchvision's, about its successor
    device = torch.device(options.device)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        shape = {name: getattr(options, name) for name in ("width", "height", "quality")}
        write(folder / "files", options.count, **shape)
        fit = Fit.train(options.size)
        start = time.perf_counter()
        store = load(str(folder / "files"), split="train", fit=fit, cache=folder / "cache", residence="encoded")
        seconds = time.perf_counter() - start
        assert isinstance(store, EncodedStore)
        files = [store.file.read(*store.spans[row]) for row in range(min(SINGLE, len(store)))]

        def all_files(one: Callable[[bytes], object]) -> int:
            for data in files:
                one(data)
            return len(files)

        fed = readers(store, options.readers, options.batch, device)
        result = {
            **passport(device),
            **shape,
            "count": len(store),
            "bytes of a file": round(store.file.nbytes / len(store)),
            "bytes of an image": round(store.nbytes / len(store)),
            "seconds to build": round(seconds, 1),
            "one core": rates({name: partial(all_files, one) for name, one in decoders(fit).items()}, options.rounds),
            "readers": rates(fed, options.rounds),
            "training": rates(training(store, options, device), options.rounds) if options.steps else {},
        }
    one, all_ = result["one core"][LIMIT], result["readers"][BATCHES]
    threads, processes = (result["readers"][f"{options.readers} {kind}"] for kind in ("threads", "processes"))
    result["Batches, of the decode limit"] = {
        "images/s, of as many times one core": round(all_["images/s"] / (options.readers * one["images/s"]), 3),
        "images/s, of as many processes": round(all_["images/s"] / processes["images/s"], 3),
        "core ms, of as many threads": round(threads["core ms"] / all_["core ms"], 3),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
