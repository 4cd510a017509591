"""STL against the numbers of its authors' published code; tests/golden/stl_resnet18.json says how they were made."""

import json
import zlib
from pathlib import Path
from typing import Any

import pytest
import torch
from ranks import my_rows, run_ranks
from torch import Tensor, nn

from covary import dist
from covary.augment import preset
from covary.methods import STL, AbstractMethod
from covary.nets import build_encoder, convert_batchnorm
from covary.types import Views

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "stl_resnet18.json").read_text())
THEIRS = {
    "encoder": "backbone",
    "transformation_encoder": "trans_backbone",
    "hypernetwork": "equi_transform.hypernet",
    "heads.inv.projector": "inv_projector",
    "heads.equi.projector": "equi_projector",
    "heads.trans.projector": "trans_projector",
}
RECIPE = preset("official_code", size=32, mean=(0.5, 0.5, 0.5), std=(0.2, 0.2, 0.2))


def their_name(name: str) -> str:
    (ours,) = (ours for ours in THEIRS if name.startswith(f"{ours}."))
    return THEIRS[ours] + name.removeprefix(ours)


def wave(numbers: int, factor: float, shift: int) -> Tensor:
    u = torch.arange(1, numbers + 1, dtype=torch.float64)
    return u.mul_(factor).add_(shift).sin_().mul_(43758.5453).frac_().abs_().mul_(2).sub_(1)


def golden_method() -> AbstractMethod:
    with torch.device("meta"):
        method = STL.preset("official_code").build(*build_encoder("resnet18"), RECIPE).double()
    method.to_empty(device="cpu")
    for module in method.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.reset_running_stats()
    with torch.no_grad():
        for name, p in method.named_parameters():
            u = wave(p.numel(), 12.9898, zlib.crc32(their_name(name).encode()) % 1000).reshape(p.shape)
            if p.ndim > 1:
                p.copy_(u.mul_((3 / p[0].numel()) ** 0.5))
            else:
                p.copy_(1 + 0.1 * u if name.endswith("weight") else 0.1 * u)
    return method


def golden_views() -> Views:
    images = torch.stack([wave(8 * 3 * 32 * 32, 78.233, view).reshape(8, 3, 32, 32) for view in (1, 2)])
    return Views(images=my_rows(images, dim=1), params=torch.full((2, 8, 1), torch.nan), partners=True)


def losses_and_gradient_norms(mode: str) -> dict[str, Any]:
    method = convert_batchnorm(golden_method(), torch.device("cpu")).train(mode == "train")
    out = method(golden_views())
    out["loss"].backward()
    gradients = {their_name(name): p.grad for name, p in method.named_parameters()}
    norms = {
        name: dist.mean_over_ranks(gradients[name]).norm().item() for name in GOLDEN["expected"][mode]["grad_norms"]
    }
    return {"grad_norms": norms, **{key: out[key].item() for key in ("loss", "inv", "equi", "trans")}}


def check(found: dict[str, Any], mode: str) -> None:
    for key, expected in GOLDEN["expected"][mode].items():
        if key == "grad_norms":
            for name, norm in expected.items():
                assert found[key][name] == pytest.approx(norm, rel=1e-10), name
        else:
            assert found[key] == pytest.approx(expected, rel=1e-10), key


def test_parameters_are_those_of_the_authors() -> None:
    with torch.device("meta"):
        method = STL.preset("official_code").build(*build_encoder("resnet18"), RECIPE)
    shapes = {their_name(name): list(p.shape) for name, p in method.named_parameters()}
    assert shapes == GOLDEN["parameter_names"]


def test_one_process_in_training_mode() -> None:
    check(losses_and_gradient_norms("train"), "train")


def test_one_process_in_evaluation_mode() -> None:
    check(losses_and_gradient_norms("eval"), "eval")


@pytest.mark.xdist_group("dist")
def test_two_processes_with_half_of_the_batch_each() -> None:
    for found in run_ranks(losses_and_gradient_norms, 2, "train"):
        check(found, "train")
