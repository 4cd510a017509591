"""A detector's training, resumable, and what it finds in test images."""

import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.models.detection.faster_rcnn import FasterRCNN

from covary import dist
from covary.errors import TrainingError
from covary.evaluation.detection.ap import DETECTIONS, Detections
from covary.evaluation.detection.batches import batches
from covary.evaluation.detection.options import Schedule
from covary.evaluation.detection.transforms import Example, fixed_example
from covary.evaluation.detection.voc import Boxed
from covary.keyed import derive
from covary.rundir import RunDir
from covary.state import restore_state, state_tensors
from covary.stop import Interrupted, stop_signals
from covary.tracking import Meter, Tracker, TrackingConfig

LOG_ITERATIONS = 20
CHECKPOINT_MINUTES = 5.0


def train(
    model: FasterRCNN, images: Sequence[Boxed], schedule: Schedule, *, folder: RunDir, device: torch.device, seed: int
) -> None:
    """Train a detector in place, from the newest checkpoint of the folder on where there is one.

    SGD on the sum of the four losses of Faster R-CNN: class and box of the proposal network, class and box of the
    head. Checkpoints are written every five minutes, at the end and on a signal to stop. On a CPU a training that was
    interrupted and continued ends with the same bits as one that was not.

    Draws from torch's generator: seed it and put it back around the call.

    Raises TrainingError: the loss is not finite, or a checkpoint cannot be written. Interrupted: a signal asked for a
    stop; a checkpoint was written.
    """
    optimizer = _optimizer(model, schedule)
    checkpoint, damaged = folder.newest_checkpoint()
    done = checkpoint.step if checkpoint else 0
    if checkpoint:
        restore_state(checkpoint.tensors, model, optimizer)
    module = dist.wrap(model, next(model.parameters()).device)  # which has an index
    if dist.is_main():
        folder.truncate_metrics(done)
    tracker = Tracker(
        TrackingConfig(),
        metrics_file=folder.metrics_file,
        main=dist.is_main(),
        done=done,
        total=schedule.iterations,
        run={},
    )
    for line in damaged:
        tracker.say(line)
    if done:
        tracker.say(f"continuing after iteration {done:,}")
    meter, logged, saved_at = Meter(), done, time.monotonic()
    model.train()
    with tracker, stop_signals() as stop:
        for iteration, batch in enumerate(
            batches(images, schedule, seed=seed, start=done, stop=schedule.iterations), start=done
        ):
            torch.manual_seed(derive(seed, "detection", iteration, dist.rank()))
            lr = schedule.learning_rate(iteration)
            for group in optimizer.param_groups:
                group["lr"] = lr
            losses = module(*_inputs(batch, device))
            loss = sum(losses.values(), torch.zeros((), device=device))
            if dist.any_rank(not math.isfinite(loss.item())):
                raise TrainingError(
                    f"The detector's loss is not finite at iteration {iteration} (lr {lr:.3g}); lower --detection.lr."
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            meter.add({"loss": loss, **losses})
            epoch, step = iteration * schedule.batch_size // len(images), iteration + 1
            tracker.advance(epoch)
            last = step == schedule.iterations
            if step % LOG_ITERATIONS == 0 or last:
                tracker.log(step, epoch, {**meter.read(), "lr": lr}, images=(step - logged) * schedule.batch_size)
                logged = step
            stop_now = dist.largest(stop.signum or 0)  # the signal, whichever process it came to
            if dist.any_rank(time.monotonic() - saved_at > CHECKPOINT_MINUTES * 60) or last or stop_now > 0:
                if dist.is_main():
                    for line in folder.save_checkpoint(step, state_tensors(model, optimizer), {}):
                        tracker.warn_once(line, about=line)
                saved_at = time.monotonic()
            if stop_now and not last:
                raise Interrupted(stop_now, step)


def _optimizer(model: nn.Module, schedule: Schedule) -> torch.optim.Optimizer:
    """Return SGD; the parameters of BatchNorm have no weight decay, as in detectron2."""
    norms = [p for m in model.modules() if isinstance(m, _BatchNorm) for p in m.parameters()]
    known = {id(p) for p in norms}
    others = [p for p in model.parameters() if id(p) not in known]
    return torch.optim.SGD(
        [{"params": others, "weight_decay": schedule.weight_decay}, {"params": norms, "weight_decay": 0.0}],
        lr=schedule.lr,
        momentum=schedule.momentum,
    )


def _inputs(batch: Sequence[Example], device: torch.device) -> tuple[list[Tensor], list[dict[str, Tensor]]]:
    """Return images and targets as torchvision's detectors take them."""
    images = [example.pixels.to(device) for example in batch]
    return images, [{"boxes": one.boxes.to(device), "labels": one.labels.to(device)} for one in batch]


@torch.no_grad()
def renew_statistics(
    model: FasterRCNN, images: Sequence[Boxed], schedule: Schedule, *, device: torch.device, seed: int
) -> None:
    """Replace the running statistics of every BatchNorm by their mean over ``schedule.precise_bn`` training batches.

    detectron2's PRECISE_BN: the running statistics follow weights that have changed since; the mean of batches under
    the final weights does not. The batches are those that would follow the training.
    """
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    momenta = [module.momentum for module in norms]
    for module in norms:
        module.reset_running_stats()
        module.momentum = None  # a plain mean over batches
    model.train()
    first = schedule.iterations
    for iteration, batch in enumerate(
        batches(images, schedule, seed=seed, start=first, stop=first + schedule.precise_bn), start=first
    ):
        torch.manual_seed(derive(seed, "detection", iteration, dist.rank()))
        model(*_inputs(batch, device))
    for module, momentum in zip(norms, momenta, strict=True):
        module.momentum = momentum


@torch.no_grad()
def find_objects(
    model: FasterRCNN, images: Sequence[Boxed], schedule: Schedule, *, device: torch.device
) -> list[Detections]:
    """Return what a detector finds in each image, in the pixels of its file; every process returns all of it.

    Image i is looked at by process i mod W, alone, so that no padding depends on its neighbours.
    """
    model.eval()
    world, rank = dist.world_size(), dist.rank()
    own = [index % len(images) for index in range(rank, math.ceil(len(images) / world) * world, world)]
    rows = dist.all_gather_rows(torch.stack([_find(model, fixed_example(images[i], schedule), device) for i in own]))
    by_image = rows.view(world, len(own), DETECTIONS, 6).transpose(0, 1).flatten(0, 1)[: len(images)].cpu()
    return [
        Detections(boxes=kept[:, :4], labels=kept[:, 4].long(), scores=kept[:, 5])
        for kept in (image[image[:, 4] > 0] for image in by_image)
    ]


def _find(model: FasterRCNN, example: Example, device: torch.device) -> Tensor:
    """Return box, label and score of the detections of one image, float32 (100, 6); rows of zeros where fewer."""
    (found,) = model([example.pixels.to(device)])
    boxes = found["boxes"] / torch.tensor([*example.scale, *example.scale], device=device)
    rows = torch.cat([boxes, found["labels"][:, None], found["scores"][:, None]], dim=1)
    return nn.functional.pad(rows, (0, 0, 0, DETECTIONS - len(rows)))
