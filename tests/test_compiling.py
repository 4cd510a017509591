"""Whether a run is compiled; and that methods can be, in one piece and to the same numbers."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny import tiny_method, tiny_views
from torch import nn

import covary.compiling
from covary.compiling import LEAST_SECONDS, LEAST_STEPS, Choice, choose_compile
from covary.errors import InputError
from covary.methods import METHODS
from covary.recipes import start_run
from covary.run import Compile, Run
from covary.step import build
from covary.types import Views

CPU = torch.device("cpu")


def run_of(compile: Compile) -> Run:
    run = start_run(data="shapes:n=64", method="simclr", image_size=8)
    return replace(run, encoder="resnet8", batch_size=4, compile=compile).resolved(CPU)


def views() -> Views:
    return Views(images=torch.randn(2, 4, 3, 8, 8), params=torch.zeros(2, 4, 15), partners=False)


def choose(compile: Compile, *, steps: int = 10 * LEAST_STEPS, make: Callable[[], Views] = views) -> Choice:
    run = run_of(compile)
    return choose_compile(run, build(run, CPU)[0], make, device=CPU, steps=steps)


def unasked() -> Views:
    raise AssertionError("views were made")


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let a step take one number of seconds as it is, and another compiled."""

    def set_times(eager: float, compiled: float) -> None:
        clock = [0.0]

        def passes(run: Run, module: nn.Module, views: Views) -> None:
            clock[0] += compiled if isinstance(module, nn.Identity) else eager

        monkeypatch.setattr(torch, "compile", lambda module, **options: nn.Identity())
        monkeypatch.setattr(covary.compiling, "backward", passes)
        monkeypatch.setattr(covary.compiling, "_now", lambda device: clock[0])

    return set_times


@pytest.mark.parametrize(
    ("eager", "compiled", "chosen"), [(2.0, 1.0, "on"), (2.0, 1.95, "on"), (2.0, 1.97, "off"), (2.0, 3.0, "off")]
)
def test_auto_takes_what_is_faster(timed: Callable[..., None], eager: float, compiled: float, chosen: Compile) -> None:
    timed(eager, compiled)
    choice = choose("auto")
    assert choice.compile == chosen
    figures = f"forward and backward take {compiled * 1e3:,.1f} ms compiled, 2,000.0 ms as they are"
    assert choice.reason == ("" if chosen == "on" else "not ") + f"compiled: {figures}"


def test_auto_tries_nothing_in_a_short_run(timed: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    few = choose("auto", steps=LEAST_STEPS - 1, make=unasked)
    assert few == Choice(compile="off", reason="not compiled: 999 steps are too few to earn it back")
    timed(LEAST_SECONDS / 1000 * 0.9, 0.0)
    monkeypatch.setattr(torch, "compile", unasked)
    quick = choose("auto", steps=1000)
    assert quick.compile == "off"
    assert quick.reason == "not compiled: the run is too short to earn it back (90 of at least 100 min)"


def test_auto_goes_on_where_nothing_can_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(module: nn.Module, **options: Any) -> Callable[..., Any]:
        def call(views: Views) -> Any:
            raise RuntimeError("No working C++ compiler found\nand more")

        return call

    monkeypatch.setattr(torch, "compile", fails)
    monkeypatch.setattr(covary.compiling, "LEAST_SECONDS", 0.0)
    expected = "not compiled: torch.compile fails here (RuntimeError: No working C++ compiler found)"
    assert choose("auto") == Choice(compile="off", reason=expected)
    with pytest.raises(InputError, match=r"^torch.compile fails on this machine \(RuntimeError: No working C\+\+ "):
        choose("on", make=unasked)


def test_what_is_asked_for_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda module, **options: module)
    assert choose("on", make=unasked) == Choice(compile="on", reason="compiled: as asked")
    assert choose("off", make=unasked) == Choice(compile="off", reason="not compiled: as asked")


def test_trying_changes_nothing_of_the_method(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda module, **options: module)
    monkeypatch.setattr(covary.compiling, "LEAST_SECONDS", 0.0)
    run = run_of("auto")
    method = build(run, CPU)[0]
    before = {name: tensor.clone() for name, tensor in method.state_dict().items()}
    choose_compile(run, method, views, device=CPU, steps=LEAST_STEPS)
    assert [name for name, tensor in method.state_dict().items() if not torch.equal(tensor, before[name])] == []
    assert all(p.grad is None for p in method.parameters())


@pytest.mark.parametrize(("variant", "backend"), [*((name, "eager") for name in METHODS), ("stl", "aot_eager")])
def test_a_method_compiles_in_one_piece_to_the_same_bits(variant: str, backend: str) -> None:
    """``fullgraph`` fails at the first break. The backends trace forward, or backward too, and compute it as usual."""
    torch.compiler.reset()
    plain, traced, given = tiny_method(variant), tiny_method(variant), tiny_views(6)
    expected, found = plain(given), torch.compile(traced, backend=backend, fullgraph=True)(given)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    for terms in (expected, found):
        terms["loss"].backward()
    for (name, a), b in zip(plain.named_parameters(), traced.parameters(), strict=True):
        assert (a.grad is None) == (b.grad is None), name
        assert a.grad is None or torch.equal(a.grad, b.grad), name
