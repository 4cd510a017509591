"""Twins of losses, heads and bases, from their equations with explicit rows, and how a method is held to one."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from covary.methods import VICReg
from covary.methods.base import TeacherBase
from covary.nets import Teacher
from covary.types import Views

Rows = list[Tensor]
Parts = list[Rows]  # sets of rows that heads see one after the other
Sides = dict[str, tuple[Parts, Parts]]
Networks = Mapping[str, nn.Module]


def naive_mlp(layers: nn.Module, rows: Rows) -> Rows:
    """The rows after every layer; BatchNorm in training mode."""
    for layer in layers.children():
        if isinstance(layer, nn.Sequential):
            rows = naive_mlp(layer, rows)
        elif isinstance(layer, nn.Linear):
            rows = [layer.weight @ row + (0 if layer.bias is None else layer.bias) for row in rows]
        elif isinstance(layer, nn.BatchNorm1d):
            mean = sum(rows) / len(rows)
            var = sum((row - mean) ** 2 for row in rows) / len(rows)
            rows = [scaled(layer, (row - mean) / (var + layer.eps) ** 0.5) for row in rows]
        elif isinstance(layer, nn.LayerNorm):
            rows = [
                scaled(layer, (row - row.sum() / len(row)) / (row.var(correction=0) + layer.eps) ** 0.5) for row in rows
            ]
        else:
            assert isinstance(layer, nn.ReLU)
            rows = [row.clamp(min=0) for row in rows]
    return rows


def scaled(layer: Any, row: Tensor) -> Tensor:
    return row if layer.weight is None else row * layer.weight + layer.bias


def unit(row: Tensor) -> Tensor:
    """The row's direction; a row of zeros, behind ReLUs that all are 0, has none and stays."""
    return row / (row @ row) ** 0.5 if row.any() else row


def naive_nce(a: Rows, b: Rows, temperature: float) -> Tensor:
    z = [unit(row) for row in a + b]
    total = torch.zeros((), dtype=torch.float64)
    for i in range(len(z)):
        scores = [torch.exp(z[i] @ z[j] / temperature) for j in range(len(z))]
        total -= torch.log(scores[(i + len(a)) % len(z)] / sum(scores[j] for j in range(len(z)) if j != i))
    return total / len(z)


def naive_moco(queries: Rows, keys: Rows, temperature: float) -> Tensor:
    total = torch.zeros((), dtype=torch.float64)
    for i, query in enumerate(queries):
        scores = [torch.exp(unit(query) @ unit(key) / temperature) for key in keys]
        total -= torch.log(scores[i] / sum(scores))
    return 2 * temperature * total / len(queries)


def naive_byol(predicted: Rows, targets: Rows) -> Tensor:
    distances = [unit(p) - unit(t) for p, t in zip(predicted, targets, strict=True)]
    return sum(distance @ distance for distance in distances) / len(distances)


def naive_cosine(predicted: Rows, targets: Rows) -> Tensor:
    return -sum(unit(p) @ unit(t) for p, t in zip(predicted, targets, strict=True)) / len(predicted)


def columns(rows: Rows) -> Rows:
    return [torch.stack([row[j] for row in rows]) for j in range(len(rows[0]))]


def naive_barlow_twins(a: Rows, b: Rows, off_diagonal: float) -> Tensor:
    def standard(column: Tensor) -> Tensor:
        centred = column - column.sum() / len(column)
        return centred / ((centred @ centred) / len(column) + 1e-5) ** 0.5

    left, right = ([standard(column) for column in columns(rows)] for rows in (a, b))
    total = torch.zeros((), dtype=torch.float64)
    for j, x in enumerate(left):
        for k, y in enumerate(right):
            c = x @ y / len(a)
            total += (1 - c) ** 2 if j == k else off_diagonal * c**2
    return total


def naive_covariances(rows: Rows) -> list[Rows]:
    centred = [column - column.sum() / len(column) for column in columns(rows)]
    return [[x @ y / (len(rows) - 1) for y in centred] for x in centred]


def naive_variance(rows: Rows) -> Tensor:
    c = naive_covariances(rows)
    return sum((1 - (c[j][j] + 1e-4) ** 0.5).clamp(min=0) for j in range(len(c))) / len(c)


def naive_covariance(rows: Rows) -> Tensor:
    c = naive_covariances(rows)
    return sum(c[j][k] ** 2 for j in range(len(c)) for k in range(len(c)) if j != k) / len(c)


def naive_mse(a: Rows, b: Rows) -> Tensor:
    return sum(((x - y) ** 2).sum() for x, y in zip(a, b, strict=True)) / (len(a) * len(a[0]))


def naive_vicreg(a: Rows, b: Rows, c: VICReg) -> Tensor:
    spread, alike = ([term(rows) for rows in (a, b)] for term in (naive_variance, naive_covariance))
    return c.invariance * naive_mse(a, b) + c.variance * sum(spread) / 2 + c.covariance * sum(alike)


def through(network: nn.Module, parts: Parts) -> Rows:
    """The rows of all parts behind a network that sees one part after the other."""
    return [row for part in parts for row in naive_mlp(network, part)]


def naive_dissimilarity(base: Any, head: Any, a: Parts, b: Parts, targets: tuple[Parts, Parts]) -> Tensor:
    """The dissimilarity of two sides by the base's equations, with the weights of its head."""
    match base.name:
        case "simclr":
            return naive_nce(through(head.projector, a), through(head.projector, b), base.temperature)
        case "barlow-twins":
            scale = 1 / base.embedding if base.scale is None else base.scale
            return scale * naive_barlow_twins(through(head.projector, a), through(head.projector, b), base.off_diagonal)
        case "vicreg":
            return naive_vicreg(through(head.projector, a), through(head.projector, b), base)
    predicted_a, predicted_b = (
        [row for part in side for row in naive_mlp(head.predictor, naive_mlp(head.projector, part))] for side in (a, b)
    )
    if base.name == "simsiam":
        z_a, z_b = ([row.detach() for row in through(head.projector, side)] for side in (a, b))
        return naive_cosine(predicted_a, z_b) / 2 + naive_cosine(predicted_b, z_a) / 2
    to_a, to_b = ([row.detach() for row in through(head.teacher.networks.projector, side)] for side in targets)
    if base.name == "byol":
        return naive_byol(predicted_a, to_b) + naive_byol(predicted_b, to_a)
    return naive_moco(predicted_a, to_b, base.temperature) + naive_moco(predicted_b, to_a, base.temperature)


def naive_terms(method: Any, bases: Mapping[str, Any], sides_of: Callable[[Networks], Sides]) -> dict[str, Tensor]:
    """The terms that are dissimilarities.

    bases: each term's base. sides_of: what networks, the method's own or its teacher's, make of the views.
    """
    own = sides_of(dict(method.named_children()))
    (teaches,) = {isinstance(base, TeacherBase) and base.teacher == "encoder" for base in bases.values()}
    taught = sides_of(dict(method.teacher.networks.named_children())) if teaches else own
    return {
        name: naive_dissimilarity(base, method.heads[name], *own[name], taught[name]) for name, base in bases.items()
    }


def features(networks: Networks, views: Views) -> tuple[Rows, Rows]:
    """The features of both views."""
    y1, y2 = (list(networks["encoder"](view)) for view in views.images)
    return y1, y2


def matrix(hypernetwork: Any, code: Tensor) -> Tensor:
    """The matrix W(code)."""
    d = round(len(hypernetwork.weight) ** 0.5)
    return (hypernetwork.weight @ code).reshape(d, d)


def paper_code(row: Tensor) -> Tensor:
    """The absolute label of crop and jitter of a row of numbers, by the places of its columns."""
    top, left, height, width, flip = row[:5].tolist()
    brightness, contrast, saturation, hue = row[7:11].tolist()
    center_x = left + width / 2
    crop = [top + height / 2, 1 - center_x if flip else center_x, height, width]
    jitter = [(brightness - 1) / 0.8, (contrast - 1) / 0.8, (saturation - 1) / 0.8, hue / 0.2]
    return torch.tensor([*crop, *jitter], dtype=torch.float64)


def paper_labels(params: Tensor, source: int, target: int) -> Rows:
    """The relative labels of crop and jitter from one view to another."""
    before, after = params[source], params[target]
    return [paper_code(q) - paper_code(p) for p, q in zip(before, after, strict=True)]


def unsettle_teachers(method: nn.Module) -> None:
    """Move the teachers away from their students, from which they start as copies."""
    for module in method.modules():
        if isinstance(module, Teacher):
            for p in module.parameters():
                p.data += 0.1 * torch.randn_like(p)


def check_twin(method: Any, views: Views, expected: Mapping[str, Tensor], weights: Mapping[str, float]) -> None:
    """Hold values of loss and terms, and gradients of all trained parameters, to those of a twin."""
    loss = sum(weights[name] * value for name, value in expected.items())
    found = method(views)
    assert found.keys() - {"spread", "spread_embedding"} == {"loss", *expected}
    for name, value in {"loss": loss, **expected}.items():
        torch.testing.assert_close(found[name], value, rtol=1e-9, atol=0, msg=lambda text, name=name: f"{name} {text}")
    trained = {name: p for name, p in method.named_parameters() if p.requires_grad}
    gradients = torch.autograd.grad(found["loss"], list(trained.values()))
    twins = torch.autograd.grad(loss, list(trained.values()))
    for name, gradient, twin in zip(trained, gradients, twins, strict=True):
        assert twin.abs().max() > 0, name
        assert (gradient - twin).abs().max() <= 1e-6 * twin.abs().max() + 1e-12, name


def widths(layers: nn.Module) -> list[int]:
    """Widths of the linear layers, one after the other."""
    linear = [layer for layer in layers.modules() if isinstance(layer, nn.Linear)]
    return [linear[0].in_features, *(layer.out_features for layer in linear)]
