"""The teacher: its formula, that it is trained by nothing, and that it stays with its students."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import tiny_method, tiny_views
from torch import Tensor, nn

from covary.nets import Teacher, convert_batchnorm, mlp
from covary.optim import OptimConfig, build_optimizer

CPU = torch.device("cpu")


def taught(momentum: float = 0.9) -> tuple[nn.Module, Teacher]:
    torch.manual_seed(0)
    student = mlp([4, 5, 3], last_bias=True).double()
    teacher = Teacher({"head": student}, momentum=momentum)
    with torch.no_grad():
        for p in student.parameters():
            p += torch.randn_like(p)
    return student, teacher


def weights(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in module.named_parameters()}


def step(method: Any, *, seed: int = 0, progress: float = 0.1) -> None:
    optimizer = build_optimizer(OptimConfig(lr=0.1), method)
    optimizer.zero_grad()
    method(tiny_views(6, seed=seed))["loss"].backward()
    optimizer.step()
    method.after_step(progress)


@pytest.mark.parametrize(
    ("progress", "momentum"),
    [(1e-9, 0.9), (0.25, 1 - 0.05 * (1 + 0.5**0.5)), (0.5, 0.95), (0.75, 1 - 0.05 * (1 - 0.5**0.5)), (1.0, 1.0)],
)
def test_follows_by_the_formula(progress: float, momentum: float) -> None:
    student, teacher = taught()
    expected = weights(teacher.networks["head"])
    for name, theirs in student.named_parameters():
        mine, wanted = expected[name].view(-1), theirs.detach().view(-1)
        for i in range(len(mine)):
            mine[i] = momentum * mine[i] + (1 - momentum) * wanted[i]
    teacher.follow(progress)
    for name, p in teacher.networks["head"].named_parameters():
        torch.testing.assert_close(p.detach(), expected[name], rtol=1e-12, atol=1e-15)


def test_the_momentum_rises_along_half_a_cosine() -> None:
    moved = []
    for progress in torch.linspace(0.001, 1, 50).tolist():
        student, teacher = taught(momentum=0.99)
        before, goal = weights(teacher)["networks.head.0.weight"], weights(student)["0.weight"]
        teacher.follow(progress)
        share = (weights(teacher)["networks.head.0.weight"] - before) / (goal - before)
        assert share.max() - share.min() < 1e-9
        moved.append(share.mean().item())
        assert moved[-1] == pytest.approx(0.005 * (1 + math.cos(math.pi * progress)), abs=1e-12)
    assert moved == sorted(moved, reverse=True)


@pytest.mark.parametrize(("momentum", "same"), [(1.0, "teacher"), (0.0, "student")])
def test_ends_of_the_momentum(momentum: float, same: str) -> None:
    student, teacher = taught(momentum)
    expected = weights(teacher.networks["head"] if same == "teacher" else student)
    teacher.follow(1e-12)
    for name, p in teacher.networks["head"].named_parameters():
        torch.testing.assert_close(p.detach(), expected[name], rtol=1e-12, atol=1e-15)


def test_starts_as_a_copy_of_its_own() -> None:
    student = mlp([4, 5, 3])
    teacher = Teacher({"head": student}, momentum=0.9)
    mine, theirs = teacher.networks["head"].state_dict(), student.state_dict()
    assert mine.keys() == theirs.keys()
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    assert not {t.data_ptr() for t in mine.values()} & {t.data_ptr() for t in theirs.values()}


def test_nothing_of_it_is_trained() -> None:
    method = tiny_method("stl on byol")
    teachers = [module for module in method.modules() if isinstance(module, Teacher)]
    assert len(teachers) == 4
    mine = {id(p) for teacher in teachers for p in teacher.parameters()}
    assert not any(p.requires_grad for teacher in teachers for p in teacher.parameters())
    optimizer = build_optimizer(OptimConfig(), method)
    optimised = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert not mine & optimised
    assert mine | optimised == {id(p) for p in method.parameters()}
    before = [weights(teacher) for teacher in teachers]
    method(tiny_views(6))["loss"].backward()
    optimizer.step()
    for teacher, was in zip(teachers, before, strict=True):
        assert all(torch.equal(p, was[name]) for name, p in teacher.named_parameters())
        assert all(p.grad is None for p in teacher.parameters())


def test_running_statistics_are_those_of_its_own_features() -> None:
    """Its BatchNorm sees what its own layers make of the batch; following moves no statistics."""
    student, teacher = taught()
    head = teacher.networks["head"]
    x = torch.randn(16, 4, dtype=torch.float64)
    head(x)
    hidden = head[0](x)
    torch.testing.assert_close(head[1].running_mean, 0.1 * hidden.mean(dim=0))
    torch.testing.assert_close(head[1].running_var, 0.9 + 0.1 * hidden.var(dim=0))
    assert student[1].num_batches_tracked == 0
    student(x + 3)
    buffers = {name: buffer.clone() for name, buffer in head.named_buffers()}
    teacher.follow(0.1)
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in head.named_buffers())
    assert not torch.equal(head[1].running_mean, student[1].running_mean)


def test_state_is_saved_once_and_comes_back(tmp_path: Path) -> None:
    method = tiny_method("stl on byol")
    step(method)
    state = method.state_dict()
    assert len({tensor.data_ptr() for tensor in state.values()}) == len(state)
    assert not any("student" in name for name in state)
    assert len({id(p) for p in method.parameters()}) == len(list(method.named_parameters(remove_duplicate=False)))
    teachers = {name.split("teacher.")[0] for name in state if "teacher.networks." in name}
    assert teachers == {"", "heads.inv.", "heads.equi.", "heads.trans."}
    save_file(state, tmp_path / "method.safetensors")

    again = tiny_method("stl on byol", seed=1)
    again.load_state_dict(load_file(tmp_path / "method.safetensors"))
    for each in (method, again):
        step(each, seed=1)
    found = again.state_dict()
    assert [name for name, tensor in method.state_dict().items() if not torch.equal(found[name], tensor)] == []


def test_a_deep_copy_of_a_method_has_teachers_of_its_own() -> None:
    method = tiny_method("stl on byol")
    step(method)
    twin = copy.deepcopy(method)
    kept = weights(method)
    step(twin, seed=1)
    assert all(torch.equal(p, kept[name]) for name, p in method.named_parameters())
    assert all(not torch.equal(p, kept[name]) for name, p in twin.named_parameters())
    step(method, seed=1)
    moved = weights(twin)
    assert all(torch.equal(p, moved[name]) for name, p in method.named_parameters())


class OtherNorm(nn.BatchNorm1d):
    """Stands for the BatchNorm of another library, with parameters of its own."""


def replace_batchnorm(module: nn.Module, device: torch.device) -> None:
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.BatchNorm1d:
                other = OtherNorm(child.num_features, affine=child.affine).to(device, torch.float64)
                setattr(parent, name, other.requires_grad_(child.weight.requires_grad))


@pytest.mark.parametrize("convert", [convert_batchnorm, replace_batchnorm])
def test_follows_students_whose_batchnorm_was_replaced(convert: Any) -> None:
    """As before several processes train, and as a user may do."""
    plain, changed = tiny_method("stl on byol"), tiny_method("stl on byol")
    kinds = {type(module) for module in changed.modules()}
    convert(changed, CPU)
    assert {type(module) for module in changed.modules()} - kinds
    for seed in range(2):
        step(plain, seed=seed)
        step(changed, seed=seed)
    found = weights(changed)
    assert found.keys() == weights(plain).keys()
    for name, p in weights(plain).items():
        torch.testing.assert_close(found[name], p, rtol=1e-9, atol=1e-12)
