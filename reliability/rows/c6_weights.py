"""C6: weights that are not exactly the encoder's are refused, with how much of them fits; the others arrive whole."""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from covary.errors import InputError
from covary.evaluation.source import resolve
from covary.nets import build_encoder
from reliability.commands import TINY, command
from reliability.row import Count, Figure, Row, replaced

NETWORK = "resnet8"
SHARE = r"\d+ of its \d+ tensors \(\d+\.\d% of its numbers\) fit"

State = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A file of weights: how it comes from the right ones, and options to read it with.

    says: what a refusal must hold, a pattern; None where the weights are to be accepted, whole.
    """

    name: str
    change: Callable[[State], State]
    options: dict[str, Any] = field(default_factory=dict)
    says: str | None = SHARE


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Give each file to an evaluation's reader; compare every tensor of the encoder that comes out."""
    count = Count()
    torch.manual_seed(seed)
    right = build_encoder(NETWORK)[0].state_dict()
    file = folder / "weights.safetensors"
    for case in CASES[:trials]:
        given = case.change(dict(right))
        save_file({name: tensor.contiguous() for name, tensor in given.items()}, file)
        found, said = read(file, encoder=NETWORK, **case.options)
        whole = found is not None and same(found.state_dict(), right)
        held = whole if case.says is None else bool(re.search(case.says, said))
        count.add(case.name, held=held, fired=not same(given, right), seen=said or "accepted")
    if trials > len(CASES):
        finished = folder / "run"
        command("pretrain", "--data", "shapes:n=8", *TINY, "--batch-size", "4", "--out", str(finished), "--cache", "c")
        weights = finished / "encoder.safetensors"
        content = load_file(weights)
        for name, (damage, says) in DAMAGES.items():
            damage(weights, dict(content))
            found, said = read(finished)
            fired = not weights.exists() or not same(load_file(weights), content)
            count.add(name, held=found is None and bool(re.search(says, said)), fired=fired, seen=said or "accepted")
    return count.figure()


def read(source: Path, **options: Any) -> tuple[nn.Module | None, str]:
    """Return the encoder that an evaluation would measure, or None and the line that refuses it."""
    try:
        return resolve(source, **options).encoder, ""
    except InputError as error:
        return None, str(error)


def same(one: State, other: State) -> bool:
    """Whether two state dicts hold the same names and numbers."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def renamed(pattern: str, by: str | Callable[[re.Match[str]], str]) -> Callable[[State], State]:
    """Return the change of names by a regular expression."""
    return lambda state: {re.sub(pattern, by, name): tensor for name, tensor in state.items()}


def without(pattern: str) -> Callable[[State], State]:
    """Return the change that leaves out names by a regular expression."""
    return lambda state: {name: tensor for name, tensor in state.items() if not re.search(pattern, name)}


def reshaped(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[State], State]:
    """Return the change of one tensor."""
    return lambda state: {**state, name: change(state[name])}


def with_classifier(state: State) -> State:
    """Add a classifier."""
    return {**state, "fc.weight": torch.zeros(10, 128), "fc.bias": torch.zeros(10)}


def numbered(found: re.Match[str]) -> str:
    """Return what a sequence of the network's children calls a child."""
    return str(("conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3").index(found[0]))


def twice(state: State) -> State:
    """Hold everything under two prefixes."""
    return {prefix + name: tensor.clone() for prefix in ("student.", "teacher.") for name, tensor in state.items()}


def prefixed_without(pattern: str) -> Callable[[State], State]:
    """Return the change that leaves out names and puts the others under a prefix."""
    return lambda state: renamed("^", "backbone.")(without(f"^{pattern}$")(state))


def deeper(state: State) -> State:
    """Add the blocks that a deeper network has."""
    return {**build_encoder("resnet14")[0].state_dict(), **state}


def with_and_without_prefix(state: State) -> State:
    """Hold a tensor under two names that mean the same."""
    return {**state, "module.conv1.weight": torch.zeros_like(state["conv1.weight"])}


def removed(weights: Path, content: State) -> None:
    """Remove the file, as a run lacks it that is not finished."""
    weights.unlink()


CASES = [
    Case(name="module.", change=renamed("^", "module."), says=None),
    Case(name="_orig_mod.", change=renamed("^", "_orig_mod."), says=None),
    Case(name="module._orig_mod.", change=renamed("^", "module._orig_mod."), says=None),
    Case(name="prefix given", change=renamed("^", "backbone."), options={"prefix": "backbone."}, says=None),
    Case(name="classifier ignored", change=with_classifier, options={"ignore": ("fc.",)}, says=None),
    Case(name="module. on some", change=renamed("^layer", "module.layer"), says=None),
    Case(name="prefix not given", change=renamed("^", "backbone."), says=None),
    Case(name="classifier not ignored", change=with_classifier, says=None),
    Case(name="children by number", change=renamed("^(conv1|bn1|layer.)", numbered), says=None),
    Case(name="counters missing", change=without("num_batches_tracked"), says=None),
    Case(name="two prefixes", change=twice, says="2 times, under 'student.' and 'teacher.'; choose one"),
    Case(name="prefix and one missing", change=prefixed_without("conv1.weight"), says=f"under 'backbone.'.*{SHARE}"),
    Case(name="a deeper network", change=deeper, says="unexpected .layer1.1"),
    Case(name="one missing", change=without("^conv1.weight$")),
    Case(name="norms missing", change=without("bn")),
    Case(name="a counter missing", change=without("bn1.num_batches_tracked")),
    Case(name="a stage missing", change=without("^layer3")),
    Case(name="most missing", change=without("^(?!conv1)")),
    Case(name="one renamed", change=renamed("^conv1.weight$", "stem.weight")),
    Case(name="stages renamed", change=renamed("^layer", "stage")),
    Case(name="all renamed", change=renamed("^", "x_")),
    Case(name="compiled within", change=renamed("^layer1", "layer1._orig_mod")),
    Case(name="another stem", change=reshaped("conv1.weight", lambda tensor: tensor[:, :, 2:5, 2:5])),
    Case(name="transposed", change=reshaped("conv1.weight", lambda tensor: tensor.transpose(0, 1))),
    Case(name="another width", change=reshaped("bn1.weight", lambda tensor: tensor[:4])),
    Case(name="twice", change=with_and_without_prefix, says="twice.*conv1.weight"),
]
DAMAGES: dict[str, tuple[Callable[[Path, State], object], str]] = {
    "run not finished": (removed, "is not finished"),
    "run's encoder renamed": (lambda file, state: save_file(renamed("^layer", "stage")(state), file), SHARE),
    "run's encoder cut": (lambda file, state: save_file(without("^layer3")(state), file), SHARE),
}


def what_fits(module: nn.Module, state: State, *, source: str) -> None:
    """Load what fits and say nothing, as ``strict=False`` does."""
    wanted = module.state_dict()
    fits = {name: tensor for name, tensor in state.items() if name in wanted and tensor.shape == wanted[name].shape}
    module.load_state_dict(fits, strict=False)


ROW = Row(
    id="C6",
    promise="Weights that do not fit the encoder whole are refused with the share that fits, never loaded in part",
    trials={"ci": len(CASES) + len(DAMAGES), "release": len(CASES) + len(DAMAGES)},
    check=check,
    mutants={
        "strict=False": replaced("covary.evaluation.weights.load_weights", what_fits),
        "no weights are read": replaced("covary.evaluation.source.load_file", lambda *_, **__: None),
    },
    mutant_trials=12,
)
