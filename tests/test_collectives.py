"""The script that counts what processes send each other, held to the formulas of docs/scale.md."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import run_ranks

from covary.methods import STL, SimCLR
from covary.run import default_run

pytestmark = pytest.mark.xdist_group("dist")

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
CPU = torch.device("cpu")
WORLD, BATCH, FEATURES, CODE, EMBEDDING, RANK = 2, 16, 128, 8, 12, 4
FLOAT32 = 4


def count_both_forms() -> list[dict[str, Any]]:
    sys.path.insert(0, str(BENCHMARKS))
    from collectives import count

    base = SimCLR(head_hidden=16, embedding=EMBEDDING)
    run = replace(default_run("shapes", image_size=8), encoder="resnet8", batch_size=BATCH)
    methods = [STL(base=base, code=CODE, code_hidden=14, rank=rank) for rank in (None, RANK)]
    return [count(replace(run, method=method).resolved(CPU), CPU) for method in methods]


@pytest.fixture(scope="module")
def results() -> list[dict[str, Any]]:
    """What each of two processes hands over in a step of STL: in its full form, and at a low rank."""
    one, other = run_ranks(count_both_forms, WORLD)
    assert one == other
    return one


def of(result: dict[str, Any], what: str, way: str, collective: str, *, lines: str = "lines") -> tuple[int, int]:
    (line,) = [x for x in result[lines] if (x["what"], x["pass"], x["collective"]) == (what, way, collective)]
    return line["calls"], line["bytes"]


def test_the_lines_are_all_that_goes_over_the_wire(results: list[dict[str, Any]]) -> None:
    for result in results:
        calls = dict.fromkeys(result["on the wire"], 0)
        for line in result["lines"]:
            calls[line["collective"]] += line["calls"]
        assert calls == {name: wire["calls"] for name, wire in result["on the wire"].items()}
        gathered = [line["bytes"] for line in result["lines"] if line["collective"] == "all_gather"]
        assert sum(gathered) == FLOAT32 * result["on the wire"]["all_gather"]["numbers"]


def test_gradients_are_the_parameters_which_the_rank_lowers(results: list[dict[str, Any]]) -> None:
    full, low = results
    for result in results:
        assert of(result, "gradients", "backward", "all_reduce")[1] == FLOAT32 * result["parameters"]
    assert full["parameters"] - low["parameters"] == FEATURES**2 * CODE - RANK * (2 * FEATURES + CODE)


def test_the_rows_gathered_are_the_embeddings_of_each_loss(results: list[dict[str, Any]]) -> None:
    images = BATCH // WORLD
    inv, equi, trans = 2 * images, 4 * images, 2 * images  # trans: the codes of both directions
    for result in results:
        assert of(result, "loss", "forward", "all_gather") == (3, FLOAT32 * EMBEDDING * (inv + equi + trans))
        _, back = of(result, "loss", "backward", "all_reduce")
        assert back == WORLD * FLOAT32 * EMBEDDING * (inv + equi + trans) + 3 * FLOAT32  # and the three losses


def test_syncbatchnorm_would_call_half_as_often(results: list[dict[str, Any]]) -> None:
    for result in results:
        calls, gathered = of(result, "SyncBatchNorm", "forward", "all_gather", lines="as SyncBatchNorm")
        back, reduced = of(result, "SyncBatchNorm", "backward", "all_reduce", lines="as SyncBatchNorm")
        assert calls == back
        assert gathered == reduced + FLOAT32 * calls
        for way in ("forward", "backward"):
            assert of(result, "BatchNorm", way, "all_reduce") == (2 * calls, reduced)


def test_the_plan_computes_what_was_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from scale import NODE, Machines, gradients

    counts = {"row": "stl", "setting": "stl10", "encoder": "resnet18", "size": 32}
    assert gradients(counts, rank=512) == 56_797_440  # counted
    assert gradients(counts, rank=None) == 188_655_872  # counted
    two = Machines(gpus=2, bandwidth=10.0)
    assert (two.reduce(20), two.gather(20)) == (2.0, 2.0)
    assert NODE.gather(5) == pytest.approx(NODE.reduce(20))
