"""Pretraining: read from top to bottom and you know what a run does."""

import math
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from covary import config, dist
from covary.augment import Recipe, make_views
from covary.compiling import Choice, choose_compile
from covary.data import Batches, Fit, ImageStore, Residence, load
from covary.errors import InputError, TrainingError
from covary.failure import not_finite
from covary.meter import begin_peak, out_of_memory, peak_bytes
from covary.methods import AbstractConfig, AbstractMethod
from covary.online import OnlineKnn
from covary.optim import OptimConfig
from covary.recipes import start_run
from covary.resuming import begun_threads, changes, check_same_checkpoint, check_same_images, check_same_run, recorded
from covary.run import Compile, Precision, Preset, Run, Stem, environment
from covary.rundir import RunDir, write_tensors
from covary.state import restore_state, state_tensors
from covary.step import Step, build, checkpoint_bytes
from covary.stop import Interrupted, Stop, stop_signals
from covary.tracking import Meter, Tracker, TrackingConfig

COLLAPSED = 0.2  # spread under which features or embeddings are called collapsed; healthy runs lie near 1


@dataclass(frozen=True, kw_only=True)
class Session:
    """How a run is carried out on this machine; nothing here changes its numbers."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where to train; auto takes the GPU where there is one."""
    residence: Residence = "auto"
    """Images on the device, streamed to it, or encoded: decoded in every epoch; auto looks at free memory and disk."""
    readers: int = 0
    """Threads that stream or decode the coming batches; 0 takes two to stream, and to decode one for each core."""
    root: Path | None = None
    """Folder of downloaded sets; default $COVARY_DATA or ~/.cache/covary/data."""
    cache: Path | None = None
    """Folder of decoded image stores; default $COVARY_CACHE or ~/.cache/covary."""
    max_bad: float = 0.05
    """Share of images that may fail to decode; they are left out and named."""
    checkpoint_minutes: float = 10.0
    """Minutes between checkpoints; one is also written at the end and on SIGTERM, SIGINT or SIGUSR1."""
    checkpoint_steps: int = 0
    """Also write a checkpoint every so many steps; 0 leaves it to the minutes."""
    log_steps: int = 10
    """Steps between logged values; the only places where the device is waited for."""
    knn_epochs: int = 0
    """Epochs between online kNN evaluations on labelled images; 0 takes ten over the run, -1 none."""
    tracking: TrackingConfig = TrackingConfig()
    """Where the run reports to."""

    def __post_init__(self) -> None:
        """Refuse values outside their domains."""
        if not 0 <= self.max_bad <= 1:
            raise InputError(f"max_bad is {self.max_bad}; expected a share between 0 and 1.")
        if not self.checkpoint_minutes > 0:
            raise InputError(f"checkpoint_minutes is {self.checkpoint_minutes}; expected a number above 0.")
        for name, low in {"readers": 0, "checkpoint_steps": 0, "log_steps": 1, "knn_epochs": -1}.items():
            if getattr(self, name) < low:
                raise InputError(f"{name} is {getattr(self, name)}; expected {low} or more.")


def pretrain(
    *,
    out: str | Path,
    data: str | None = None,
    method: str | AbstractConfig | None = None,
    base: str | None = None,
    recipe: str | None = None,
    preset: Preset = "paper",
    targets: str | None = None,
    image_size: int | None = None,
    encoder: str | None = None,
    stem: Stem | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    accumulate: int | None = None,
    optim: OptimConfig | None = None,
    augment: Recipe | None = None,
    precision: Precision | None = None,
    compile: Compile | None = None,
    joint_pass: bool | None = None,
    sync_batchnorm: bool | None = None,
    seed: int | None = None,
    session: Session = Session(),
) -> Path:
    """Train an encoder into the run folder ``out``, or continue the run there; return the folder.

    The function behind ``covary pretrain``: same options, same errors. An option left at None keeps the value of the
    recipe, or the default for method, preset and data. ``augment`` replaces the whole augmentation.
    Raises InputError, TrainingError, Interrupted: see ``train``.
    """
    run = start_run(
        data=data, recipe=recipe, method=method, base=base, preset=preset, targets=targets, image_size=image_size
    )
    chosen = {
        "augment": augment,
        "encoder": encoder,
        "stem": stem,
        "epochs": epochs,
        "batch_size": batch_size,
        "accumulate": accumulate,
        "optim": optim,
        "precision": precision,
        "compile": compile,
        "joint_pass": joint_pass,
        "sync_batchnorm": sync_batchnorm,
        "seed": seed,
    }
    run = replace(run, **{field: value for field, value in chosen.items() if value is not None})
    return train(run, Path(out), session)


def train(run: Run, out: Path, session: Session = Session()) -> Path:
    """Train a run into the folder ``out``, or continue it there; return the folder.

    Raises InputError: the input is wrong, or the folder holds another run. TrainingError: loss or gradient is not
    finite, memory or disk is full. Interrupted: a signal asked for a stop; a checkpoint was written.
    """
    folder = RunDir(out)
    session.tracking.check()
    with dist.processes(session.device) as device, ExitStack() as held:
        run = run.resolved(device)
        run.check_world(dist.world_size())

        def claim() -> None:
            if dist.is_main():
                held.enter_context(folder.made())
                held.enter_context(folder.lock())

        dist.main_first(claim)
        with _memory(run):
            _train(run, folder, session, device)
    return out


def _train(run: Run, folder: RunDir, session: Session, device: torch.device) -> None:
    saved = check_same_run(run, folder)
    method, optimizer = build(run, device)

    def look() -> None:
        if dist.is_main():
            folder.check_room(checkpoint_bytes(run, method))

    dist.main_first(look)
    store, batches = open_images(run, session, device)
    check_same_images(saved, store, folder)
    lines = changes(saved, folder) if saved else []
    if dist.is_main():
        folder.clear_staging()
    dist.barrier()
    checkpoint, damaged = folder.newest_checkpoint()
    check_same_checkpoint(saved is not None, checkpoint.step if checkpoint else 0, folder)
    compiling = _start(saved, run, method, batches, store, folder, device)
    step, total = 0, run.epochs * batches.steps_per_epoch
    if checkpoint:
        restore_state(checkpoint.tensors, method, optimizer)
        step = checkpoint.step
    if dist.is_main():
        folder.truncate_metrics(step)
        folder.write_skipped(store.skipped)
    tracker = Tracker(
        session.tracking,
        metrics_file=folder.metrics_file,
        main=dist.is_main(),
        done=step,
        total=total,
        run=config.to_json(run),
    )
    for line in damaged:
        tracker.say(line)
    tracker.say(f"{len(store):,} images, {total:,} steps ({batches.steps_per_epoch} an epoch); {batches.reason}")
    tracker.say(compiling.reason)
    for line in store.account:
        tracker.say(line)
    if step:
        tracker.say(f"continuing after step {step:,}")
    for line in lines:
        tracker.say(line)
    online = dist.main_first(
        lambda: OnlineKnn.prepare(
            run, every=session.knn_epochs, root=session.root, cache=session.cache, say=tracker.say
        )
    )
    run = replace(run, compile=compiling.compile)
    with tracker, stop_signals() as stop:
        _loop(run, session, folder, device, batches, method, optimizer, online, tracker, stop, step=step, total=total)
    if dist.is_main():
        write_tensors(folder.encoder_file, method.encoder.state_dict())
        write_tensors(folder.method_file, method.state_dict())
    dist.barrier()  # where training returns, its files are there


def open_images(run: Run, session: Session, device: torch.device) -> tuple[ImageStore, Batches]:
    """Return the images of a run and their batches in this process."""
    store = dist.main_first(
        lambda: load(
            run.data,
            split="train",
            fit=Fit.train(run.augment.size),
            root=session.root,
            cache=session.cache,
            max_bad=session.max_bad,
            residence=session.residence,
        )
    )
    return store, Batches(
        store,
        batch_size=run.batch_size,
        seed=run.seed,
        device=device,
        residence=session.residence,
        readers=session.readers,
        rank=dist.rank(),
        world=dist.world_size(),
    )


def _start(
    saved: dict[str, Any] | None,
    run: Run,
    method: AbstractMethod,
    batches: Batches,
    store: ImageStore,
    folder: RunDir,
    device: torch.device,
) -> Choice:
    """Begin a run and record what its numbers depend on, or restore that; return whether the method is compiled."""
    if saved:
        torch.set_num_threads(begun_threads(saved, folder))
        compiled = recorded(saved, "compiled", bool, folder)
        return Choice(compile="on" if compiled else "off", reason=f"{'' if compiled else 'not '}compiled: as it began")
    choice = choose_compile(
        run,
        method,
        lambda: make_views(next(iter(batches.epoch(0))), run.augment, seed=run.seed),
        device=device,
        steps=run.epochs * batches.steps_per_epoch,
    )
    if dist.is_main():
        folder.write_run(
            config.to_json(run),
            {
                **environment(device),
                "compiled": choice.compile == "on",
                "images": len(store),
                "fingerprint": store.fingerprint,
            },
        )
    return choice


def _loop(
    run: Run,
    session: Session,
    folder: RunDir,
    device: torch.device,
    batches: Batches,
    method: AbstractMethod,
    optimizer: torch.optim.Optimizer,
    online: OnlineKnn | None,
    tracker: Tracker,
    stop: Stop,
    *,
    step: int,
    total: int,
) -> None:
    per_epoch = batches.steps_per_epoch
    take_step = Step(run, method, optimizer, device=device, per_epoch=per_epoch)
    meter, logged, saved_at = Meter(), step, time.monotonic()
    with suppress(OSError):  # forbidden: the peak is then that since the process began
        begin_peak(device)
    method.train()
    for epoch in range(step // per_epoch, run.epochs):
        for batch in batches.epoch(epoch, start_step=step % per_epoch):
            meter.add(take_step(batch, step))
            step += 1
            tracker.advance(epoch)

            log_now = step % session.log_steps == 0 or step == total
            decide = log_now or dist.world_size() == 1  # processes must agree, and meet only where they log
            stop_now = dist.largest(stop.signum or 0) if decide else 0  # the signal, whichever process it came to
            due = decide and dist.any_rank(time.monotonic() - saved_at > session.checkpoint_minutes * 60)
            save_now = due or stop_now > 0 or step == total or _every(session.checkpoint_steps, step)
            if log_now or save_now:
                values = meter.read()
                lr = take_step.lr(step - 1)
                bad = take_step.first_bad
                if bad is None and save_now and not take_step.finite:
                    bad = step  # the update overflowed: the step to come cannot be finite
                if bad is not None:
                    take_step.restore()
                    raise not_finite(bad, values, lr=lr, folder=folder, method=method, optimizer=optimizer)
                told = {**values, "lr": lr, **_peak(device)}
                tracker.log(step, epoch, told, images=(step - logged) * run.batch_size)
                _warn_of_collapse(values, tracker)
                logged = step
            if dist.is_main() and step % per_epoch == 0 and online and online.due(epoch):
                with tracker.pause():
                    tracker.log(step, epoch, {"knn": online.accuracy(method.encoder, device)}, images=0)
            if save_now:
                if dist.is_main():
                    with tracker.pause():
                        for line in folder.save_checkpoint(step, state_tensors(method, optimizer), {"epoch": epoch}):
                            tracker.warn_once(line, about=line)
                saved_at = time.monotonic()
            if stop_now:
                raise Interrupted(stop_now, step)


def _peak(device: torch.device) -> dict[str, float]:
    """Return the most memory that this process has taken so far, nothing where the system does not tell."""
    peak = peak_bytes(device)
    return {} if math.isnan(peak) else {"peak_megabytes": peak / 1e6}


@contextmanager
def _memory(run: Run) -> Iterator[None]:
    """Turn what the allocators answer when memory is full into the line that helps."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if out_of_memory(error):
            raise TrainingError(
                f"The memory is too small for batches of {run.batch_size // run.accumulate} images of "
                f"{run.augment.size} px with {run.encoder}; lower --batch-size, raise --accumulate, or take a smaller "
                "--encoder or head; --dry-run shows what a run needs."
            ) from error
        raise


def _every(count: int, step: int) -> bool:
    return count > 0 and step % count == 0


def _warn_of_collapse(values: Mapping[str, float], tracker: Tracker) -> None:
    for name, rows, network in (("spread", "features", "encoder"), ("spread_embedding", "embeddings", "projector")):
        if values.get(name, 1) < COLLAPSED:
            tracker.warn_once(
                f"{rows} have collapsed ({name} {values[name]:.3f}; healthy is near 1): all images look alike to the "
                f"{network}. Lower --optim.lr or raise the batch size.",
                about=name,
            )
