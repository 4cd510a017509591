import json
from pathlib import Path

import pytest
import torch
from torch import nn

from covary.errors import InputError
from covary.evaluation.source import resolve
from covary.nets import build_encoder
from covary.rundir import RunDir, write_tensors

RUN = {
    "encoder": "resnet8",
    "stem": "cifar",
    "augment": {"size": 24, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "flip": 0.5},
    "seed": 3,
}


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    """A finished run with an encoder of random weights."""
    folder = RunDir(tmp_path / "run")
    folder.path.mkdir()
    folder.write_run(RUN, {})
    encoder, _ = build_encoder("resnet8", stem="cifar")
    write_tensors(folder.encoder_file, encoder.state_dict())
    return folder


def same(one: nn.Module, other: nn.Module) -> bool:
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_folder_brings_its_encoder_size_and_normalisation(run: RunDir) -> None:
    found = resolve(run.path)
    encoder, _ = build_encoder("resnet8", stem="cifar")
    from safetensors.torch import load_file

    encoder.load_state_dict(load_file(run.encoder_file))
    assert same(found.encoder, encoder)
    assert (found.image_size, found.mean, found.std) == (24, (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert found.run == run
    assert found.name == str(run.path)


def test_untrained_is_the_architecture_with_weights_of_the_seed(run: RunDir) -> None:
    state = torch.random.get_rng_state()
    first, again, other = (resolve(f"untrained:{run.path}", seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert same(first.encoder, again.encoder)
    assert not same(first.encoder, other.encoder)
    assert not same(first.encoder, resolve(run.path).encoder)
    assert (first.image_size, first.mean, first.run) == (24, (0.1, 0.2, 0.3), None)
    by_name = resolve("untrained:resnet8", stem="cifar")
    assert same(first.encoder, by_name.encoder)
    assert by_name.image_size is None
    torchvision = resolve("untrained:torchvision:mobilenet_v3_small").encoder.eval()
    assert torchvision(torch.zeros(1, 3, 32, 32)).shape == (1, 1024)


def test_a_weights_file_fills_the_encoder_that_is_named(run: RunDir) -> None:
    found = resolve(run.encoder_file, encoder="resnet8", stem="cifar")
    assert same(found.encoder, resolve(run.path).encoder)
    assert (found.image_size, found.mean, found.run) == (None, None, None)


def test_a_module_is_taken_as_it_is() -> None:
    module = nn.Linear(2, 2)
    assert resolve(module).encoder is module
    assert resolve(module).name == "Linear"


def test_sources_that_are_not_there_are_refused(run: RunDir, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source, options, message in [
        (
            "runs/nothing",
            {},
            "'runs/nothing' is no run folder, weights file, timm:NAME, torchvision:NAME, untrained:NAME.",
        ),
        ("torchvison:resnet18", {}, "Did you mean 'torchvision'?"),
        (tmp_path / "empty", {}, "empty is no run folder: run.json is missing."),
        (run.encoder_file, {}, "holds weights alone; name their network with encoder, such as resnet18."),
        (run.encoder_file, {"encoder": "resnet81"}, "Did you mean 'resnet8'?"),
        (run.path, {"encoder": "resnet8"}, "encoder does not go with a run folder, which knows its encoder"),
        (run.path, {"stem": "cifar", "prefix": "a."}, "stem and prefix does not go with a run folder"),
        (nn.Identity(), {"ignore": ("fc.",)}, "ignore does not go with a module"),
        ("timm:resnet18", {"stem": "cifar"}, "stem does not go with 'timm:NAME'"),
        ("untrained:resnet8", {"encoder": "resnet8"}, "encoder does not go with 'untrained:NAME'"),
        ("untrained:resnet9", {}, "resnet9"),
        ("untrained:torchvision:resnet9", {}, "torchvision has no classification model 'resnet9'."),
        ("untrained:torchvision:resnet18", {"stem": "cifar"}, "has a stem of its own; leave out stem."),
        ("untrained:torchvision:squeezenet1_0", {}, "has no linear classifier"),
    ]:
        with pytest.raises(InputError) as caught:
            resolve(source, **options)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_an_unfinished_or_damaged_run_is_refused(run: RunDir) -> None:
    run.encoder_file.rename(run.path / "moved")
    with pytest.raises(InputError, match=r"is not finished: encoder\.safetensors is missing"):
        resolve(run.path)
    assert resolve(f"untrained:{run.path}").image_size == 24
    (run.path / "moved").rename(run.encoder_file)
    run.encoder_file.write_bytes(run.encoder_file.read_bytes()[:1000])
    with pytest.raises(InputError, match="is no readable safetensors file"):
        resolve(run.path)
    for key, value, message in [
        ("stem", "imagenet", "do not fit this network"),
        ("encoder", 3, r"run\.json\.encoder is 3; expected str"),
        ("augment", {"size": 24, "mean": [0, 0, 0]}, "is damaged: it says nothing of 'std'"),
        ("augment", None, "is damaged"),
    ]:
        encoder, _ = build_encoder("resnet8", stem="cifar")
        write_tensors(run.encoder_file, encoder.state_dict())
        run.run_file.write_text(json.dumps({"schema": 1, "run": RUN | {key: value}, "environment": {}}))
        with pytest.raises(InputError, match=message):
            resolve(run.path)
