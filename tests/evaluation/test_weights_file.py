import contextlib
import os
import resource
import zipfile
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from covary.errors import InputError
from covary.evaluation.weights import load_file, read
from reliability.weight_bombs import Bomb, capitals, entries, many


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


def loads(encoder: nn.Module, expected: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, expected[name]) for name, tensor in encoder.state_dict().items())


class Opens:
    """What a hostile file holds: an object whose rebuilding runs code."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("ending", [".safetensors", ".pt", ".pth", ".bin", ".ckpt"])
def test_a_plain_state_dict_is_loaded_whole(tmp_path: Path, ending: str) -> None:
    state, path = network(1).state_dict(), tmp_path / f"weights{ending}"
    (safetensors.torch.save_file if ending == ".safetensors" else torch.save)(state, path)
    encoder = network(0)
    load_file(encoder, path)
    assert loads(encoder, state)


def test_a_wrapped_state_dict_is_found_by_itself_and_by_its_prefix(tmp_path: Path) -> None:
    state, path = network(1).state_dict(), tmp_path / "checkpoint.pt"
    wrapped = {f"backbone.{name}": tensor for name, tensor in state.items()}
    wrapped |= {"head.weight": torch.zeros(2, 4), "head.bias": torch.zeros(2)}
    torch.save({"epoch": 3, "state_dict": wrapped, "optimizer": {"state": {0: {"m": torch.zeros(2)}}}}, path)
    for prefix in ("", "state_dict.", "state_dict.backbone."):
        encoder = network(0)
        assert load_file(encoder, path, prefix=prefix) == (
            f"{path}: read 7 of 7 tensors of the encoder from 'state_dict.backbone.'; "
            "left out 3 others: state_dict.head, optimizer"
        )
        assert loads(encoder, state)
    with pytest.raises(InputError) as caught:
        load_file(network(), path, prefix="model.")
    assert str(caught.value).endswith("'model.'. Its names begin with 'state_dict.backbone.'; give that as prefix.")


def test_a_classifier_is_left_out_and_said_to_be(tmp_path: Path) -> None:
    state, path = network(1).state_dict(), tmp_path / "weights.safetensors"
    safetensors.torch.save_file(state | {"fc.weight": torch.zeros(10, 4), "fc.bias": torch.zeros(10)}, path)
    for ignore in ((), ("fc.",)):
        encoder = network(0)
        line = load_file(encoder, path, ignore=ignore)
        assert line == f"{path}: read 7 of 7 tensors of the encoder; left out 2 others: fc"
        assert loads(encoder, state)


def test_weights_of_another_network_are_refused_and_nothing_is_loaded(tmp_path: Path) -> None:
    state, path = dict(network(1).state_dict()), tmp_path / "weights.safetensors"
    state["0.weight"] = torch.zeros(4, 3, 7, 7)
    del state["1.bias"]
    safetensors.torch.save_file(state, path)
    encoder = network(0)
    with pytest.raises(InputError) as caught:
        load_file(encoder, path)
    assert "1 missing (1.bias)" in str(caught.value)
    assert "0.weight (4, 3, 7, 7) not (4, 3, 3, 3)" in str(caught.value)
    assert loads(encoder, network(0).state_dict())


def test_a_hostile_pickle_is_refused_and_does_not_run(tmp_path: Path) -> None:
    path, trace = tmp_path / "weights.pt", tmp_path / "trace"
    torch.save({"weight": torch.zeros(2), "extra": Opens(trace)}, path)
    with pytest.raises(InputError, match="rebuilding it could run code, so it is refused"):
        load_file(network(), path)
    assert not trace.exists()


def test_what_would_grow_in_memory_is_refused_by_what_it_declares(tmp_path: Path) -> None:
    plain, path = tmp_path / "plain.pt", tmp_path / "weights.pt"
    torch.save({"weight": torch.zeros(100_000)}, plain)
    with zipfile.ZipFile(plain) as whole, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))
    with pytest.raises(InputError, match="would be larger in memory than it is"):
        read(path)
    torch.save({"weight": torch.zeros(1).expand(10**9)}, path)
    with pytest.raises(InputError, match=r"declares \(1000000000,\) numbers for 'weight' and holds fewer"):
        read(path)
    torch.save({"weight": torch.zeros(2), "more": bytearray(3)}, path)
    with pytest.raises(InputError, match=r"holds more than tensors \(__builtin__\.bytearray\)"):
        read(path)
    inside: dict = {}
    inside["itself"] = inside
    torch.save(inside, path)
    with pytest.raises(InputError, match="holds more than 100,000 tensors, or names of more than 1,000 letters"):
        read(path)


@pytest.mark.parametrize("bomb", [many("builtins\nset"), many("torch\nSize"), capitals, entries])
def test_a_file_that_grows_while_it_is_read_is_refused(tmp_path: Path, bomb: Bomb) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(bomb(4000))  # more than a process has ever freed
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(InputError, match=r"3 times its size|several entries of one name"):
        read(path)
    assert resource.getrlimit(resource.RLIMIT_DATA) == limits


def test_the_format_before_1_6_is_refused_with_the_way_to_convert_it(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match=r"convert it: torch\.save\(torch\.load\(OLD, weights_only=True\), NEW\)"):
        read(tmp_path / "old.pt")


def test_a_file_damaged_anywhere_is_refused_or_loads(tmp_path: Path) -> None:
    torch.save(network().state_dict(), tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    generator = torch.Generator().manual_seed(0)
    for place in torch.randint(len(whole), (60,), generator=generator).tolist():
        (tmp_path / "damaged.pt").write_bytes(whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1 :])
        with contextlib.suppress(InputError):
            load_file(network(), tmp_path / "damaged.pt")
        (tmp_path / "torn.pt").write_bytes(whole[:place])
        with pytest.raises(InputError):
            load_file(network(), tmp_path / "torn.pt")


def test_files_that_hold_no_weights_are_refused(tmp_path: Path) -> None:
    torch.save(torch.zeros(3), tmp_path / "tensor.pt")
    torch.save({"epoch": 3}, tmp_path / "numbers.pt")
    (tmp_path / "empty.pt").touch()
    (tmp_path / "empty.safetensors").touch()
    (tmp_path / "text.pt").write_text("these are no weights")
    (tmp_path / "text.safetensors").write_text("these are no weights")
    (tmp_path / "weights.onnx").touch()
    torch.save(network().state_dict(), tmp_path / "whole.pt")
    (tmp_path / "torn.pt").write_bytes((tmp_path / "whole.pt").read_bytes()[:900])
    for name, options, message in [
        ("tensor.pt", {}, "holds no tensors by name"),
        ("numbers.pt", {}, "holds no tensors by name"),
        ("empty.pt", {}, "empty.pt"),
        ("empty.safetensors", {}, "is no readable safetensors file"),
        ("text.pt", {}, "text.pt"),
        ("text.safetensors", {}, "is no readable safetensors file"),
        ("weights.onnx", {}, "is no weights file; expected .safetensors, .pt"),
        ("torn.pt", {}, "torn.pt"),
        ("whole.pt", {"prefix": "model."}, "has a name that begins with 'model.'."),
        ("whole.pt", {"ignore": ("fc.",)}, "begins with 'fc.', which was to be ignored"),
    ]:
        with pytest.raises(InputError) as caught:
            load_file(network(), tmp_path / name, **options)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)
