"""What every method must do, for every method there is, on every base and in every form."""

import dataclasses
import json
import math
from typing import Any, get_args, get_type_hints

import pytest
import torch
from tiny import FEATURES, RECIPE, VARIANTS, tiny_encoder, tiny_method, tiny_views
from torch import nn

from covary import config
from covary.augment import AugMix
from covary.errors import InputError
from covary.methods import METHODS, AbstractConfig, AbstractMethod
from covary.methods.abstract import spread
from covary.nets import Teacher
from covary.optim import OptimConfig, build_optimizer
from covary.state import restore_state, state_tensors
from covary.types import Views

variant = pytest.mark.parametrize("variant", VARIANTS)
every_method = pytest.mark.parametrize("name", METHODS)


def students(method: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in method.named_parameters() if p.requires_grad}


def train(method: AbstractMethod, optimizer: torch.optim.Optimizer, first: int, last: int) -> None:
    for step in range(first, last):
        optimizer.zero_grad()
        method(tiny_views(6, seed=step))["loss"].backward()
        optimizer.step()
        method.after_step((step + 1) / 10)


@every_method
def test_is_registered_under_its_name(name: str) -> None:
    assert METHODS[name].name == name
    assert issubclass(METHODS[name], AbstractConfig)


@variant
def test_builds_a_method_around_the_encoder(variant: str) -> None:
    encoder = tiny_encoder()
    method = VARIANTS[variant].build(encoder, FEATURES, RECIPE)
    assert isinstance(method, AbstractMethod)
    assert method.encoder is encoder
    assert any(key.startswith("encoder.") for key in method.state_dict())


@variant
def test_every_parameter_learns_but_the_teachers(variant: str) -> None:
    method = tiny_method(variant)
    method(tiny_views(6))["loss"].backward()
    still = [key for key, p in students(method).items() if p.grad is None or not p.grad.abs().max() > 0]
    assert still == []
    taught = [key for key, p in method.named_parameters() if not p.requires_grad]
    assert all("teacher." in key for key in taught)
    assert all(p.grad is None for key, p in method.named_parameters() if key in taught)


@variant
def test_loss_is_the_weighted_sum_of_the_logged_terms(variant: str) -> None:
    method = tiny_method(variant)
    out = method(tiny_views(6))
    terms = {key: value for key, value in out.items() if key != "loss" and not key.startswith("spread")}
    assert terms.keys() == method.weights.keys()
    expected = sum(method.weights[key] * value.item() for key, value in terms.items())
    assert float(out["loss"].detach()) == pytest.approx(expected, rel=1e-12)
    assert out["loss"].requires_grad
    assert not any(value.requires_grad for key, value in out.items() if key != "loss")
    assert all(value.shape == () for value in out.values())


@variant
def test_loss_falls_when_its_gradient_is_followed(variant: str) -> None:
    method, views = tiny_method(variant), tiny_views(8)
    before = method(views)["loss"]
    before.backward()
    with torch.no_grad():
        for p in students(method).values():
            p -= 1e-4 * p.grad
    assert method(views)["loss"] < before


@variant
def test_spread_is_that_of_the_features_of_the_first_view(variant: str) -> None:
    method, views = tiny_method(variant).eval(), tiny_views(6)
    assert torch.allclose(method(views)["spread"].double(), spread(method.encoder(views.images[0])).double())


@variant
def test_spread_of_the_embedding_is_that_of_the_first_projector_where_it_can_collapse(variant: str) -> None:
    method, views = tiny_method(variant).eval(), tiny_views(6)
    base = getattr(method.config, "base", method.config)
    embeddings: list[torch.Tensor] = []
    if base.name in ("byol", "simsiam"):
        first = next(iter(method.heads.values()))
        first.projector.register_forward_hook(lambda module, given, out: embeddings.append(out))
    found = method(views)
    assert ("spread_embedding" in found) == bool(embeddings)
    if embeddings:
        assert torch.allclose(found["spread_embedding"].double(), spread(embeddings[0]).double())


@variant
def test_joint_pass_shares_batchnorm_statistics(variant: str) -> None:
    passes: list[list[int]] = [[], []]
    losses = []
    for joint in (False, True):
        method = tiny_method(variant)
        method.joint_pass = joint
        encoder, calls = method.encoder, passes[joint]
        encoder.register_forward_hook(lambda module, given, out, calls=calls: calls.append(len(given[0])))
        losses.append(method(tiny_views(6))["loss"])
    assert passes[0][:2] == [6, 6]
    assert passes[1][:1] == [12]
    assert passes[0][2:] == passes[1][1:]
    assert losses[0] != losses[1]


@variant
@pytest.mark.parametrize(
    "shape", [(1, 4, 3, 4, 4), (3, 4, 3, 4, 4), (2, 0, 3, 4, 4), (2, 4, 1, 4, 4), (4, 3, 4, 4)], ids=str
)
def test_wrong_views(variant: str, shape: tuple[int, ...]) -> None:
    views = Views(images=torch.zeros(shape), params=torch.zeros(2, 4, 15), partners=True)
    with pytest.raises(InputError, match=rf"needs two views of images, \(2, b, 3, s, s\), got \({shape[0]}, "):
        tiny_method(variant)(views)


@variant
@pytest.mark.parametrize("shape", [(2, 6, 0), (2, 6, 3), (2, 4, 15), (1, 6, 15)], ids=str)
def test_wrong_numbers_of_the_transformations(variant: str, shape: tuple[int, ...]) -> None:
    views = dataclasses.replace(tiny_views(6), params=torch.zeros(shape))
    if "labels" in VARIANTS[variant].needs:
        with pytest.raises(
            InputError, match=r"learns from the numbers of both views, \(2, 6, 15 or more\), got params of"
        ):
            tiny_method(variant)(views)
    else:
        tiny_method(variant)(views)


@variant
def test_numbers_of_the_transformations(variant: str) -> None:
    """Methods without labels give the same numbers whatever params hold; with labels a NaN is never silent."""
    views = tiny_views(6)
    blind = dataclasses.replace(views, params=torch.full_like(views.params, math.nan))
    told, untold = tiny_method(variant)(views)["loss"], tiny_method(variant)(blind)["loss"]
    if "labels" in VARIANTS[variant].needs:
        assert untold.isnan()
        other = dataclasses.replace(views, params=views.params.flip(0))
        assert tiny_method(variant)(other)["loss"] != told
    else:
        assert torch.equal(told, untold)


@variant
def test_goes_on_from_its_state_to_the_same_bits(variant: str) -> None:
    whole = tiny_method(variant)
    optimizer = build_optimizer(OptimConfig(lr=0.01), whole)
    train(whole, optimizer, 0, 2)
    saved = {name: tensor.clone() for name, tensor in state_tensors(whole, optimizer).items()}
    train(whole, optimizer, 2, 4)

    again = tiny_method(variant, seed=1)
    resumed = build_optimizer(OptimConfig(lr=0.01), again)
    restore_state(saved, again, resumed)
    train(again, resumed, 2, 4)
    expected, found = state_tensors(whole, optimizer), state_tensors(again, resumed)
    assert [name for name, tensor in expected.items() if not torch.equal(found[name], tensor)] == []


@variant
def test_teachers_follow_all_that_they_copy(variant: str) -> None:
    method = tiny_method(variant)
    teachers = {name: module for name, module in method.named_modules() if isinstance(module, Teacher)}
    base = getattr(method.config, "base", method.config)
    expected = {f"heads.{name}.teacher" for name in method.heads} if hasattr(base, "momentum") else set()
    if getattr(base, "teacher", None) == "encoder":
        expected.add("teacher")
    assert teachers.keys() == expected
    before = {name: p.clone() for name, p in method.named_parameters()}
    train(method, build_optimizer(OptimConfig(lr=0.1), method), 0, 1)
    assert [name for name, p in method.named_parameters() if torch.equal(p, before[name])] == []


@variant
def test_configuration_comes_back_from_json(variant: str) -> None:
    saved = json.loads(json.dumps(config.to_json(VARIANTS[variant])))
    assert saved["name"] == VARIANTS[variant].name
    assert config.from_json(AbstractConfig, saved) == VARIANTS[variant]


@every_method
def test_presets(name: str) -> None:
    assert METHODS[name].preset("paper") == METHODS[name]()
    for preset in METHODS[name].presets:
        settings = METHODS[name].preset(preset)
        assert config.from_json(AbstractConfig, json.loads(json.dumps(config.to_json(settings)))) == settings
    with pytest.raises(InputError, match=rf"method '{name}' has no preset 'papr'; it has paper.* Did you mean 'paper'"):
        METHODS[name].preset("papr")


@every_method
def test_the_recipe_is_fitted_and_checked(name: str) -> None:
    settings = METHODS[name]()
    fitted = settings.fit(RECIPE)
    settings.check(fitted)
    assert fitted.partners == ("partners" in settings.needs)
    assert settings.fit(dataclasses.replace(RECIPE, views=3)).views == settings.views == 2
    assert (fitted.turned is not None) == ("turned" in settings.needs)
    lacking = {
        "partners": (dataclasses.replace(RECIPE, partners=False), "needs partners"),
        "turned": (dataclasses.replace(RECIPE, turned=None), "needs the extra view that it turns"),
        "labels": (dataclasses.replace(RECIPE, partners=False, targets=()), r"none \(there are none\) is switched on"),
    }
    augmixed = dataclasses.replace(fitted, augmix=AugMix(p=0.5))
    if settings.needs & {"labels", "turned"}:
        with pytest.raises(InputError, match=f"^method '{name}' predicts what was done .* no label says of AugMix"):
            settings.check(augmixed)
    else:
        settings.check(augmixed)
    for need, (recipe, message) in lacking.items():
        if need in settings.needs:
            with pytest.raises(InputError, match=f"^method '{name}' .*{message}"):
                settings.check(recipe)
        elif need != "labels" or "partners" not in settings.needs:
            settings.check(recipe)


def wrong_values(name: str, kind: Any) -> list[Any]:
    """Values that no option of its name may have."""
    if name.startswith("temperature"):
        return [0.0, -1.0, math.nan, math.inf]
    if name in ("momentum", "invariant"):
        return [-0.1, 1.1, math.nan]
    if float in (kind, *get_args(kind)):
        return [-0.5, math.nan, math.inf]
    return [0, -1] if int in (kind, *get_args(kind)) else []


@every_method
def test_wrong_values_of_every_field(name: str) -> None:
    kinds = get_type_hints(METHODS[name])
    for field in dataclasses.fields(METHODS[name]):
        for value in wrong_values(field.name, kinds[field.name]):
            with pytest.raises(InputError, match=rf"^{field.name} is {value}; expected "):
                METHODS[name](**{field.name: value})
