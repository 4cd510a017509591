"""What every method must do, for every method there is."""

import dataclasses
import inspect
import json
import math
from typing import Any

import pytest
import torch
from tiny import FEATURES, tiny_encoder, tiny_method, tiny_views

from covary import config
from covary.errors import InputError
from covary.methods import METHODS, AbstractMethod, MethodConfig
from covary.methods.base import spread
from covary.types import Views

pytestmark = pytest.mark.parametrize("name", METHODS)


def weights_of(settings: Any) -> dict[str, float]:
    """Weight of each term by its name; a method without weights has the one term inv."""
    return getattr(settings, "weights", {"inv": 1.0})


def test_is_registered_under_its_name(name: str) -> None:
    assert METHODS[name].name == name
    assert METHODS[name] in MethodConfig.__args__


def test_builds_a_method_around_the_encoder(name: str) -> None:
    encoder = tiny_encoder()
    method = METHODS[name]().build(encoder, FEATURES)
    assert isinstance(method, AbstractMethod)
    assert method.encoder is encoder
    assert any(key.startswith("encoder.") for key in method.state_dict())


def test_every_parameter_learns(name: str) -> None:
    method = tiny_method(name)
    method(tiny_views(6))["loss"].backward()
    still = [key for key, p in method.named_parameters() if p.grad is None or not p.grad.abs().max() > 0]
    assert still == []


def test_loss_is_the_weighted_sum_of_the_logged_terms(name: str) -> None:
    method = tiny_method(name)
    out = method(tiny_views(6))
    terms = {key: value for key, value in out.items() if key not in ("loss", "spread")}
    weights = weights_of(method.config)
    assert terms.keys() == weights.keys()
    assert float(out["loss"].detach()) == pytest.approx(sum(weights[k] * v.item() for k, v in terms.items()), rel=1e-12)
    assert out["loss"].requires_grad
    assert not any(value.requires_grad for key, value in out.items() if key != "loss")
    assert all(value.shape == () for value in out.values())


def test_loss_falls_when_its_gradient_is_followed(name: str) -> None:
    method, views = tiny_method(name), tiny_views(8)
    before = method(views)["loss"]
    before.backward()
    with torch.no_grad():
        for p in method.parameters():
            p -= 1e-3 * p.grad
    assert method(views)["loss"] < before


def test_spread_is_that_of_the_features_of_the_first_view(name: str) -> None:
    method, views = tiny_method(name).eval(), tiny_views(6)
    assert torch.allclose(method(views)["spread"].double(), spread(method.encoder(views.images[0])).double())


def test_joint_pass_shares_batchnorm_statistics(name: str) -> None:
    calls: list[int] = []
    for joint in (False, True):
        method = tiny_method(name, joint_pass=joint)
        method.encoder.register_forward_hook(lambda module, given, out: calls.append(len(given[0])))
        method(tiny_views(6))
    assert calls == [6, 6, 12]
    separate, joint = (tiny_method(name, joint_pass=joint) for joint in (False, True))
    assert separate(tiny_views(6))["loss"] != joint(tiny_views(6))["loss"]
    assert torch.allclose(separate.eval()(tiny_views(6))["loss"], separate(tiny_views(6))["loss"])


@pytest.mark.parametrize(
    "shape", [(1, 4, 3, 4, 4), (3, 4, 3, 4, 4), (2, 0, 3, 4, 4), (2, 4, 1, 4, 4), (4, 3, 4, 4)], ids=str
)
def test_wrong_views(name: str, shape: tuple[int, ...]) -> None:
    views = Views(images=torch.zeros(shape), params=torch.zeros(2, 4, 3), partners=True)
    with pytest.raises(InputError, match=rf"needs two views of images, \(2, b, 3, s, s\), got \({shape[0]}, "):
        tiny_method(name)(views)


def test_configuration_comes_back_from_json(name: str) -> None:
    for preset in METHODS[name].presets:
        settings = METHODS[name].preset(preset)
        saved = json.loads(json.dumps(config.to_json(settings)))
        assert saved["name"] == name
        assert config.from_json(MethodConfig, saved) == settings


def test_default_is_the_paper(name: str) -> None:
    assert METHODS[name].preset("paper") == METHODS[name]()


def test_unknown_preset(name: str) -> None:
    with pytest.raises(InputError, match=r"Unknown preset 'papr'; known: paper, official_code\. Did you mean 'paper'"):
        METHODS[name].preset("papr")


def wrong_values(field: dataclasses.Field) -> list[float]:
    if field.name.startswith("temperature"):
        return [0.0, -1.0, math.nan, math.inf]
    if field.name.startswith("weight"):
        return [-0.5, math.nan, math.inf]
    return [] if field.type in ("bool", bool) else [0, -1]


def test_wrong_values_of_every_field(name: str) -> None:
    for field in dataclasses.fields(METHODS[name]):
        for value in wrong_values(field):
            with pytest.raises(InputError, match=rf"^{field.name} is {value}; expected "):
                METHODS[name](**{field.name: value})


def test_every_field_is_documented(name: str) -> None:
    source = inspect.getsource(METHODS[name])
    for field in dataclasses.fields(METHODS[name]):
        after = source.split(f"    {field.name}: ", 1)[1].split("\n", 1)[1]
        assert after.lstrip().startswith('"""'), field.name
