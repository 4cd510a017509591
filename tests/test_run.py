"""What a run says where nothing else is said."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny import small, tiny_method, tiny_views

from covary.methods import BASES, METHODS, STL, SimCLR, SimSiam
from covary.optim import build_optimizer
from covary.run import default_run


@pytest.mark.parametrize(
    ("method", "base", "constant"),
    [
        ("simsiam", None, True),
        ("augself", "simsiam", True),
        (SimSiam(), None, True),
        (STL(base=SimSiam()), None, True),
        ("stl", None, False),
        ("byol", None, False),
        (STL(base=SimSiam()), "byol", False),
    ],
    ids=lambda value: value if isinstance(value, str | bool) else type(value).__name__,
)
def test_the_predictor_of_simsiam_keeps_its_learning_rate(method: Any, base: str | None, constant: bool) -> None:
    run = default_run("shapes", method=method, base=base)
    assert run.optim.constant_lr == (("predictor",) if constant else ())


@pytest.mark.parametrize("name", [name for name in METHODS if name not in BASES])
def test_no_other_part_keeps_it(name: str) -> None:
    base = small(SimSiam)
    options = {"predictor": "concat"} if name == "equimod" else {}
    method = tiny_method(small(METHODS[name], base=base, **options))
    groups = build_optimizer(default_run("shapes", method=METHODS[name](base=SimSiam())).optim, method).param_groups
    kept = {id(p) for group in groups if group["constant"] for p in group["params"]}
    heads = [f"heads.{head}.predictor." for head in method.heads]
    expected = {id(p) for key, p in method.named_parameters() if key.startswith(tuple(heads))}
    assert kept == expected
    assert len(kept) == 4 * len(heads)


@pytest.mark.parametrize(("options", "passes"), [({}, [6, 6]), ({"joint_pass": True}, [12])], ids=["default", "joint"])
def test_a_run_says_whether_both_views_are_encoded_at_once(options: dict[str, Any], passes: list[int]) -> None:
    run = replace(default_run("shapes", method=small(SimCLR), image_size=16), encoder="resnet8", **options)
    method = run.resolved(torch.device("cpu")).build_method().double()
    seen: list[int] = []
    method.encoder.register_forward_hook(lambda module, given, out: seen.append(len(given[0])))
    method(tiny_views(6))
    assert seen == passes
