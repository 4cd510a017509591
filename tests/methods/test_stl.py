"""STL against a twin written from the paper's equations, with explicit matrices, rows and index lists."""

import pytest
import torch
from tiny import RECIPE, tiny_method, tiny_views
from torch import Tensor, nn

from covary.errors import InputError
from covary.methods import BYOL, STL, SimCLR
from covary.types import Views


def naive_mlp(layers: nn.Sequential, rows: list[Tensor]) -> list[Tensor]:
    """The rows after every layer; BatchNorm in training mode."""
    for layer in layers:
        if isinstance(layer, nn.Linear):
            rows = [layer.weight @ row for row in rows]
        elif isinstance(layer, nn.BatchNorm1d):
            mean = sum(rows) / len(rows)
            var = sum((row - mean) ** 2 for row in rows) / len(rows)
            rows = [(row - mean) / (var + layer.eps) ** 0.5 * layer.weight + layer.bias for row in rows]
        else:
            rows = [row.clamp(min=0) for row in rows]
    return rows


def naive_nce(a: list[Tensor], b: list[Tensor], temperature: float) -> Tensor:
    z = [row / row.norm() for row in a + b]
    total = torch.zeros((), dtype=torch.float64)
    for i in range(len(z)):
        scores = [torch.exp(z[i] @ z[j] / temperature) for j in range(len(z))]
        total -= torch.log(scores[(i + len(a)) % len(z)] / sum(scores[j] for j in range(len(z)) if j != i))
    return total / len(z)


def naive_stl(method: nn.Module, views: Views) -> dict[str, Tensor]:
    c = method.config
    y1, y2 = (list(method.encoder(view)) for view in views.images)
    b, d = len(y1), len(y1[0])
    forth = naive_mlp(method.transformation_encoder, [torch.cat([p, q]) for p, q in zip(y1, y2, strict=True)])
    back = naive_mlp(method.transformation_encoder, [torch.cat([q, p]) for p, q in zip(y1, y2, strict=True)])
    partner = [1, 0, 3, 2, 5, 4, 7, 6, 9, 8][:b]
    matrix = [(method.hypernetwork.weight @ code).reshape(d, d) for code in forth]
    inverse = [(method.hypernetwork.weight @ code).reshape(d, d) for code in back]
    moved1 = [inverse[partner[i]] @ y2[i] for i in range(b)]
    moved2 = [matrix[partner[i]] @ y1[i] for i in range(b)]
    head_inv, head_equi, head_trans = (method.heads[name].projector for name in ("inv", "equi", "trans"))
    inv = naive_nce(naive_mlp(head_inv, y1), naive_mlp(head_inv, y2), c.base.temperature)
    equi = naive_nce(
        naive_mlp(head_equi, y1) + naive_mlp(head_equi, y2),
        naive_mlp(head_equi, moved1) + naive_mlp(head_equi, moved2),
        c.temperature_equi,
    )
    even, odd = [0, 2, 4, 6, 8][: b // 2], [1, 3, 5, 7, 9][: b // 2]
    trans = naive_nce(
        naive_mlp(head_trans, [forth[i] for i in even] + [back[i] for i in even]),
        naive_mlp(head_trans, [forth[i] for i in odd] + [back[i] for i in odd]),
        c.temperature_trans,
    )
    loss = c.weight_inv * inv + c.weight_equi * equi + c.weight_trans * trans
    return {"loss": loss, "inv": inv, "equi": equi, "trans": trans}


@pytest.mark.parametrize("b", [2, 6, 8, 10])
def test_equals_the_equations(b: int) -> None:
    fields = {"weight_inv": 0.7, "weight_equi": 1.3, "weight_trans": 0.4}
    base = SimCLR(temperature=0.5, head_hidden=16, embedding=5)
    method = tiny_method("stl", **fields, base=base, temperature_equi=0.3, temperature_trans=0.2)
    views = tiny_views(b)
    found, expected = method(views), naive_stl(method, views)
    parameters = dict(method.named_parameters())
    for name, value in expected.items():
        assert torch.allclose(found[name], value, rtol=1e-9, atol=0), name
    gradients = torch.autograd.grad(found["loss"], list(parameters.values()))
    twins = torch.autograd.grad(expected["loss"], list(parameters.values()))
    for name, gradient, twin in zip(parameters, gradients, twins, strict=True):
        assert (gradient - twin).abs().max() <= 1e-6 * twin.abs().max() + 1e-12, name


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


def test_no_weight_at_all() -> None:
    with pytest.raises(InputError, match="weight_inv, weight_equi and weight_trans are all 0; expected at least one"):
        STL(weight_inv=0, weight_equi=0, weight_trans=0)


def widths(layers: nn.Module) -> list[int]:
    linear = [layer for layer in layers.modules() if isinstance(layer, nn.Linear)]
    return [linear[0].in_features, *(layer.out_features for layer in linear)]


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
