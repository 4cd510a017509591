"""STL against a twin written from the paper's equations, with explicit matrices, rows and index lists."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny import RECIPE, small, tiny_method, tiny_views
from torch import Tensor, nn
from twins import check_twin, features, matrix, naive_mlp, naive_terms, unsettle_teachers, widths

from covary.errors import InputError
from covary.methods import BASES, BYOL, STL
from covary.nets import LowRankHypernetwork
from covary.types import Views


def stl_sides(networks: Any, views: Views) -> Any:
    y1, y2 = features(networks, views)
    b, pairs = len(y1), list(zip(y1, y2, strict=True))
    forth = naive_mlp(networks["transformation_encoder"], [torch.cat([p, q]) for p, q in pairs])
    back = naive_mlp(networks["transformation_encoder"], [torch.cat([q, p]) for p, q in pairs])
    partner = [1, 0, 3, 2, 5, 4, 7, 6, 9, 8][:b]
    moved1 = [matrix(networks["hypernetwork"], back[partner[i]]) @ y2[i] for i in range(b)]
    moved2 = [matrix(networks["hypernetwork"], forth[partner[i]]) @ y1[i] for i in range(b)]
    even, odd = [0, 2, 4, 6, 8][: b // 2], [1, 3, 5, 7, 9][: b // 2]
    return {
        "inv": ([y1], [y2]),
        "equi": ([y1, y2], [moved1, moved2]),
        "trans": (
            [[forth[i] for i in even] + [back[i] for i in even]],
            [[forth[i] for i in odd] + [back[i] for i in odd]],
        ),
    }


WEIGHTS = {"inv": 0.7, "equi": 1.3, "trans": 0.4}
FIELDS: dict[str, Any] = {f"weight_{name}": weight for name, weight in WEIGHTS.items()}


@pytest.mark.parametrize("b", [2, 6, 8, 10])
def test_equals_the_equations(b: int) -> None:
    base: Any = small(BASES["simclr"], temperature=0.5)
    method = tiny_method("stl", **FIELDS, base=base, temperature_equi=0.3, temperature_trans=0.2)
    bases = {"inv": base, "equi": replace(base, temperature=0.3), "trans": replace(base, temperature=0.2)}
    views = tiny_views(b)
    check_twin(method, views, naive_terms(method, bases, lambda networks: stl_sides(networks, views)), WEIGHTS)


OTHERS = {
    **{name: small(config) for name, config in BASES.items() if name != "simclr"},
    **{f"{name}, projector": small(BASES[name], teacher="projector") for name in ("byol", "moco")},
}


@pytest.mark.parametrize("name", OTHERS)
def test_equals_the_equations_on_other_bases(name: str) -> None:
    base = OTHERS[name]
    method = tiny_method("stl", **FIELDS, base=base)
    unsettle_teachers(method)
    views = tiny_views(6)
    expected = naive_terms(method, dict.fromkeys(WEIGHTS, base), lambda networks: stl_sides(networks, views))
    check_twin(method, views, expected, WEIGHTS)


def test_own_code_is_never_used_to_move_features() -> None:
    """Only the partner's code moves an image: its own pair of views changes nothing in how it is moved."""
    method = tiny_method("stl").eval()
    moves: list[tuple[Tensor, Tensor]] = []
    method.hypernetwork.register_forward_hook(lambda module, given, out: moves.append(given))
    views = tiny_views(4)
    method(views)
    y1, y2 = (method.encoder(view) for view in views.images)
    forth = method.transformation_encoder(torch.cat([y1, y2], dim=1))
    (code_of_back, moved_from), (code_of_forth, _) = moves
    assert torch.equal(moved_from, y2)
    assert torch.equal(code_of_forth, forth[[1, 0, 3, 2]])
    assert not torch.allclose(code_of_back, code_of_forth)


PARTS = {
    "heads.inv": {"weight_inv"},
    "transformation_encoder": {"weight_equi", "weight_trans"},
    "hypernetwork": {"weight_equi"},
    "heads.equi": {"weight_equi"},
    "heads.trans": {"weight_trans"},
}
ZEROS = [
    {"weight_inv"},
    {"weight_equi"},
    {"weight_trans"},
    {"weight_inv", "weight_equi"},
    {"weight_inv", "weight_trans"},
    {"weight_equi", "weight_trans"},
]


@pytest.mark.parametrize("zeros", ZEROS, ids=lambda zeros: "+".join(sorted(zeros)))
def test_weight_zero_builds_and_computes_nothing(zeros: set[str]) -> None:
    method = tiny_method("stl", **dict.fromkeys(zeros, 0.0))
    full = tiny_method("stl")
    expected = {part for part, needed_by in PARTS.items() if needed_by - zeros}
    built = {name.split(".projector")[0] for name, _ in method.named_parameters()}
    assert {name if name in PARTS else name.split(".")[0] for name in built} == expected | {"encoder"}
    method.load_state_dict({name: full.state_dict()[name] for name in method.state_dict()})
    views = tiny_views(6)
    found, whole = method(views), full(views)
    left = {"inv", "equi", "trans"} - {name.removeprefix("weight_") for name in zeros}
    assert set(found) == {"loss", "spread"} | left
    assert all(torch.equal(found[name], whole[name]) for name in left)
    found["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in method.parameters())


def test_rank_chooses_the_hypernetwork() -> None:
    method = tiny_method("stl", rank=3)
    assert isinstance(method.hypernetwork, LowRankHypernetwork)
    assert method.hypernetwork.to_rank.out_features == 3
    method(tiny_views(4))["loss"].backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in method.parameters())
    with pytest.raises(InputError, match="rank is 3, but weight_equi is 0; leave it out"):
        STL(weight_equi=0, rank=3)
    with pytest.raises(InputError, match="rank is 0; expected 1 or more"):
        STL(rank=0)


def test_no_weight_at_all() -> None:
    with pytest.raises(InputError, match="weight_inv, weight_equi and weight_trans are all 0; expected at least one"):
        STL(weight_inv=0, weight_equi=0, weight_trans=0)


@pytest.mark.parametrize(
    ("preset", "features", "code", "head", "head_trans"),
    [
        ("paper", 512, [1024, 512, 512, 128], [512, 512, 512, 128], [128, 512, 512, 128]),
        ("paper", 2048, [4096, 512, 512, 128], [2048, 2048, 2048, 128], [128, 2048, 2048, 128]),
        ("paper", 128, [256, 512, 512, 128], [128, 512, 512, 128], [128, 512, 512, 128]),
        ("official_code", 512, [1024, 128, 128], [512, 512, 128], [128, 128, 128]),
    ],
)
def test_widths(preset: str, features: int, code: list[int], head: list[int], head_trans: list[int]) -> None:
    with torch.device("meta"):
        method = STL.preset(preset).build(nn.Identity(), features, RECIPE)
    assert widths(method.transformation_encoder) == code
    assert widths(method.heads["inv"]) == widths(method.heads["equi"]) == head
    assert widths(method.heads["trans"]) == head_trans
    assert method.hypernetwork.weight.shape == (features**2, 128)


def test_presets() -> None:
    assert STL.preset("paper") == STL()
    assert (STL().weight_trans, STL.preset("official_code").weight_trans) == (0.2, 0.1)


def test_a_temperature_for_a_base_that_has_none() -> None:
    with pytest.raises(
        InputError, match=r"temperature_trans is 0\.2, but base 'byol' has no temperature; leave it out"
    ):
        STL(base=BYOL(), temperature_trans=0.2)


def test_views_without_partners() -> None:
    with pytest.raises(InputError, match=r"STL learns from partners, .* for example partners=True, targets=\('crop'"):
        tiny_method("stl")(tiny_views(4, partners=False))


def test_odd_batch() -> None:
    with pytest.raises(InputError, match="STL needs an even batch of partners in every process, got 5 images"):
        tiny_method("stl")(tiny_views(5))
