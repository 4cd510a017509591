"""The tiny run that the rows of part A start, stop, kill and continue, and the forked children that they do it in.

Forked, because importing torch takes seconds and a run of eight steps takes a third of one. The run has what resuming
goes wrong with: BatchNorm, dropout, momentum, a teacher, a learning rate that falls along a cosine, two epochs.
"""

import hashlib
import itertools
import json
import os
import pkgutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import nn

import covary.cli.pretrain
import covary.run
from covary.methods import BYOL, STL, AbstractConfig, Base, SimCLR
from covary.recipes import start_run
from covary.run import Run
from covary.tracking import TrackingConfig
from covary.training import Session, train
from covary.version import commit

STEPS, PER_EPOCH = 8, 4
DATA = "shapes:n=32"
SIZES = {"head_hidden": 8, "head_trans_hidden": 8, "embedding": 8, "predictor_hidden": 8, "code": 4, "code_hidden": 8}
SESSION = Session(device="cpu", checkpoint_steps=1, log_steps=2, knn_epochs=-1, tracking=TrackingConfig(progress=False))
COMMAND = (
    *("pretrain", "--data", DATA, "--image-size", "8", "--encoder", "resnet8", "--stem", "imagenet"),
    *("--epochs", "2", "--batch-size", "8", "--optim.lr", "0.05", "--compile", "off", "--device", "cpu"),
    *("--base", "byol", "--method.base.head-hidden", "8", "--method.base.embedding", "8"),
    *("--method.base.predictor-hidden", "8", "--method.code", "4", "--method.code-hidden", "8"),
    *("--method.head-trans-hidden", "8"),
    *("--checkpoint-steps", "1", "--log-steps", "2", "--knn-epochs", "-1", "--tracking.no-progress"),
)  # RUN and SESSION in the words of the command line
FEATURES = 128


def small(config: type[AbstractConfig], *, base: type[Base] = SimCLR) -> AbstractConfig:
    """Return a method with small layers, on a base where it builds on one."""
    names = {field.name for field in fields(config)}
    sizes = {name: size for name, size in SIZES.items() if name in names}
    return config(**sizes, base=small(base)) if "base" in names else config(**sizes)  # pyright: ignore


def small_encoder(name: str, *, stem: str) -> tuple[nn.Module, int]:
    """Return a network with BatchNorm and dropout, small enough for eight steps in a blink."""
    layers = [nn.Conv2d(3, FEATURES, 3, stride=2, bias=False), nn.BatchNorm2d(FEATURES), nn.ReLU()]
    layers += [nn.Conv2d(FEATURES, FEATURES, 3, stride=2, padding=1, bias=False), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Dropout(0.1)), FEATURES


TAUGHT = small(STL, base=BYOL)


def tiny(method: AbstractConfig = TAUGHT, *, data: str = DATA, batch_size: int = 8, **changes: Any) -> Run:
    """Return the tiny run with another method, or other images."""
    run = start_run(data=data, method=method, image_size=8)
    optim = replace(run.optim, lr=0.05)
    return replace(
        run, encoder="resnet8", stem="imagenet", epochs=2, batch_size=batch_size, compile="off", optim=optim, **changes
    )


RUN = tiny()


def prepare(folder: Path) -> None:
    """Let this process and its children keep images in a folder, use one thread, and build the small encoder."""
    os.environ["COVARY_CACHE"] = str(folder / "cache")
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts behind it ignore SIGINT
    covary.run.build_encoder = small_encoder
    commit()  # asked of git once, and remembered by the children


def fork(work: Callable[[], object], *, log: Path | None = None) -> int:
    """Start ``work`` in a child, which exits with the number that it returns, 0 for None, 70 after a traceback.

    log: the file for what the child prints.
    """
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        with open(log or os.devnull, "wb") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        result = work()
        code = result if isinstance(result, int) else 0
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(pid: int, *, within: float = 60) -> int:
    """Wait for a child; return its exit code, or minus the signal that ended it. One that hangs is killed."""
    deadline = time.monotonic() + within
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.001)


def start(folder: Path, run: Run = RUN, session: Session = SESSION, *, log: Path | None = None) -> int:
    """Train in a child; return its process number."""
    return fork(lambda: bool(train(run, folder, session)) and None, log=log)


def finish(folder: Path, run: Run = RUN, session: Session = SESSION) -> str:
    """Train to the end in a child; return the digest of what it left, or why it did not."""
    log = folder.with_name(f"{folder.name}.log")
    code = ended(start(folder, run, session, log=log))
    return digest(folder) if code == 0 else f"exit code {code}: {log.read_text(errors='replace')[-300:]}"


def digest(folder: Path) -> str:
    """Return the hash of all that a finished run leaves and a number depends on.

    The newest checkpoint holds weights, statistics, teachers and momentum, its name the step; the weights follow.
    """
    newest = max(folder.glob("checkpoints/step-*"), key=lambda place: int(place.name[5:]))
    parts = [newest / "state.safetensors", folder / "method.safetensors", folder / "encoder.safetensors"]
    return hashlib.sha256(b"".join([newest.name.encode(), *(part.read_bytes() for part in parts)])).hexdigest()


def answer(work: Callable[[], object], log: Path, *, within: float = 60) -> Any:
    """Return what ``work`` returns in a child, as JSON carries it; raise RuntimeError where it raised."""
    result = log.with_suffix(".json")
    code = ended(fork(lambda: result.write_text(json.dumps(work())) and None, log=log), within=within)
    if code:
        raise RuntimeError(f"exit code {code}: {log.read_text(errors='replace')[-600:]}")
    return json.loads(result.read_text())


def command(*arguments: str) -> int:
    """Run covary's command line with the tiny run and more arguments; return its exit code."""
    return covary.cli.main([*COMMAND, *arguments])


@contextmanager
def at_call(call: int, target: str, act: Callable[[], object]) -> Iterator[None]:
    """Let something happen in children before a call (from 0) of a function, named by its dotted place."""
    owner, name = target.rsplit(".", 1)
    real: Callable[..., Any] = getattr(pkgutil.resolve_name(owner), name)
    calls = itertools.count()

    def function(*arguments: Any, **options: Any) -> Any:
        if next(calls) == call:
            act()
        return real(*arguments, **options)

    with patch(target, function):
        yield
