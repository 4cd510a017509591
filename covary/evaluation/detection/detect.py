"""Detection: a detector trained from an encoder's weights, and its average precision on test images."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from covary import config, dist
from covary.data import cache_root, data_root
from covary.errors import InputError
from covary.evaluation.detection import voc
from covary.evaluation.detection.ap import Truth, average_precision, check_installed
from covary.evaluation.detection.model import build_detector, split
from covary.evaluation.detection.options import DetectionOptions, Schedule
from covary.evaluation.detection.training import find_objects, renew_statistics, train
from covary.evaluation.features import RGB
from covary.evaluation.source import Source
from covary.keyed import derive
from covary.nets import convert_batchnorm
from covary.rundir import RunDir

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, as torchvision; for sources that say none


@dataclass(frozen=True, kw_only=True)
class DetectionResult:
    """Average precision on the test images, as fractions, and how it came about.

    ap:         mean over IoU .5, .55, ..., .95 and over classes. ap50, ap75: at one IoU.
    per_class:  ap by name of the class.
    images:     numbers of training and test images.
    schedule:   what the detector was trained by.
    protocol:   all of it in a line.
    """

    ap: float
    ap50: float
    ap75: float
    per_class: dict[str, float]
    images: tuple[int, int]
    schedule: Schedule
    protocol: str


def check(source: Source, data: str, *, options: DetectionOptions, root: Path | None) -> None:
    """Raise InputError for what ``detect`` would refuse before its training."""
    check_installed()
    split(source.encoder)
    _batch_shared(options.resolved(data))
    voc.load(data, root=data_root(root))


def detect(
    source: Source,
    data: str,
    *,
    options: DetectionOptions = DetectionOptions(),
    device: torch.device,
    seed: int = 0,
    work: Path | None = None,
    root: Path | None = None,
    cache: Path | None = None,
) -> DetectionResult:
    """Train a Faster R-CNN that begins with an encoder's weights, and measure what it finds in test images.

    The encoder itself stays as it is. Processes that have met (``dist.processes``) train together, BatchNorm over all
    of them; every one returns the result.

    data: SPEC of images with boxes, see ``voc.load``, also for ``root`` (``data.load``).
    seed: of new weights, order, sizes, flips, and of the samples that the losses are taken on.
    work: folder of checkpoints and ``metrics.jsonl``: a call that was interrupted continues when it is made again, one
          that was done is measured again. Where None, ``detection/DIGEST`` below ``cache`` (``data.load``), DIGEST
          being one of everything that the training depends on.

    Raises InputError: pycocotools is missing, the encoder is no residual network, images or options are wrong, the
    folder holds another training. TrainingError, Interrupted: see ``training.train``.
    """
    check_installed()
    schedule = options.resolved(data)
    _batch_shared(schedule)
    mean, std = source.mean or MEAN, source.std or STD
    images = dist.main_first(lambda: voc.load(data, root=data_root(root)))
    training = {
        "schedule": config.to_json(schedule),
        "images": images.identity,
        "weights": source.weights,
        "mean": list(mean),
        "std": list(std),
        "seed": seed,
    }
    digest = hashlib.blake2b(json.dumps(training, sort_keys=True).encode(), digest_size=8).hexdigest()
    folder = RunDir(work or cache_root(cache) / "detection" / digest)
    with _generators_kept(device):
        torch.manual_seed(derive(seed, "detection"))
        model = build_detector(source.encoder, classes=len(images.classes), schedule=schedule, mean=mean, std=std)
        if dist.world_size() > 1:
            convert_batchnorm(model, device)
        model.to(device).to(memory_format=torch.channels_last)
        with _claimed(folder, training):
            train(model, images.train, schedule, folder=folder, device=device, seed=seed)
        if schedule.precise_bn:
            renew_statistics(model, images.train, schedule, device=device, seed=seed)
        found = find_objects(model, images.test, schedule, device=device)
    truth = [Truth(boxes=one.boxes, labels=one.labels, difficult=one.difficult) for one in images.test]
    measured = average_precision(found, truth)
    return DetectionResult(
        ap=measured.ap,
        ap50=measured.ap50,
        ap75=measured.ap75,
        per_class={images.classes[label - 1]: value for label, value in measured.per_class.items()},
        images=(len(images.train), len(images.test)),
        schedule=schedule,
        protocol=_protocol(schedule, train=len(images.train), test=len(images.test), mean=mean, std=std, seed=seed),
    )


def _batch_shared(schedule: Schedule) -> None:
    world = dist.world_size()
    if schedule.batch_size % world:
        raise InputError(
            f"detection batch_size is {schedule.batch_size}, which {world} processes cannot share; "
            f"choose a multiple of {world}."
        )


@contextmanager
def _generators_kept(device: torch.device) -> Iterator[None]:
    """Put torch's generators back at the end."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


@contextmanager
def _claimed(folder: RunDir, training: dict[str, Any]) -> Iterator[None]:
    """Hold the folder of a training, new or begun; InputError where another process or another training has it."""
    with ExitStack() as held:

        def claim() -> None:
            if not dist.is_main():
                return
            held.enter_context(folder.made())
            held.enter_context(folder.lock())
            saved = folder.read_run()
            if saved and (changed := config.differences(saved["run"], training)):
                raise InputError(
                    f"{folder.path} holds another detection training ({'; '.join(changed)}); give the old options to "
                    "continue it, or another folder."
                )
            folder.clear_staging()
            folder.write_run(training, {})

        dist.main_first(claim)
        yield


def _protocol(schedule: Schedule, *, train: int, test: int, mean: RGB, std: RGB, seed: int) -> str:
    drops = ", ".join(str(round(share * schedule.iterations)) for share in schedule.drops)
    sizes = " ".join(str(size) for size in schedule.sizes)
    colours = ", ".join(f"{name} {'/'.join(f'{v:.4g}' for v in rgb)}" for name, rgb in (("mean", mean), ("std", std)))
    statistics = f"mean of {schedule.precise_bn} training batches" if schedule.precise_bn else "running"
    return (
        "Faster R-CNN, body up to the last stage but one, last stage and BatchNorm as head (C4), all layers trained, "
        f"anchors {' '.join(str(anchor) for anchor in schedule.anchors)} px at 1:2 1:1 2:1; "
        f"{schedule.iterations} iterations of {schedule.batch_size} images, SGD momentum {schedule.momentum:g}, "
        f"lr {schedule.lr:g} / 10 at {drops}, warm-up over {round(schedule.warmup * schedule.iterations)} from "
        f"{schedule.warmup_factor:g}, weight decay {schedule.weight_decay:g} (BatchNorm 0), shorter side {sizes} px, "
        f"longer side {schedule.max_size} px at most, flips, {colours}, seed {seed}, {dist.world_size()} process(es); "
        f"BatchNorm statistics of the test: {statistics}; {train} training and {test} test images of shorter side "
        f"{schedule.test_size} px, longer side {schedule.max_size} px at most; COCO AP (pycocotools), difficult "
        "objects not asked for"
    )
