from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import picture, write

from covary.data import Batches, Fit, ImageStore, batches, load
from covary.data.decoded import DecodedStore
from covary.errors import InputError
from covary.keyed import permutation
from covary.types import Batch

CPU = torch.device("cpu")


def equal(a: Batch, b: Batch) -> bool:
    return (
        torch.equal(a.images, b.images)
        and torch.equal(a.sizes, b.sizes)
        and torch.equal(a.positions, b.positions)
        and a.epoch == b.epoch
    )


@pytest.fixture(scope="module")
def uniform(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    return load("shapes:n=50", split="train", fit=Fit.train(8), cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def ragged(tmp_path_factory: pytest.TempPathFactory) -> ImageStore:
    root = tmp_path_factory.mktemp("ragged")
    for index in range(30):
        write(root / f"{index:02d}.png", picture(index, width=5 + index % 7, height=6 + index % 4))
    return load(str(root), split="train", fit=Fit.train(8), cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture(params=["uniform", "ragged"])
def store(request: pytest.FixtureRequest) -> ImageStore:
    return request.getfixturevalue(request.param)


def test_an_epoch_is_its_permutation_in_steps(store: ImageStore) -> None:
    data = Batches(store, batch_size=8, seed=3, device=CPU)
    order = permutation(len(store), seed=3, stream="order", epoch=2)
    steps = list(data.epoch(2))
    assert len(steps) == data.steps_per_epoch == len(store) // 8
    for step, batch in enumerate(steps):
        expected, sizes = store.images(order[8 * step : 8 * step + 8])
        assert torch.equal(batch.images, expected)
        assert torch.equal(batch.sizes, sizes)
        assert batch.positions.tolist() == list(range(8 * step, 8 * step + 8))
        assert batch.epoch == 2


def test_streamed_equals_resident(store: ImageStore) -> None:
    resident, streamed = (
        Batches(store, batch_size=4, seed=0, device=CPU, residence=residence) for residence in ("resident", "streamed")
    )
    assert resident.residence == "resident"
    assert streamed.residence == "streamed"
    for epoch in (0, 1):
        assert all(equal(a, b) for a, b in zip(resident.epoch(epoch), streamed.epoch(epoch), strict=True))


@pytest.mark.parametrize("residence", ["resident", "streamed"])
@pytest.mark.parametrize("world", [2, 4])
def test_ranks_together_see_the_batch_of_one_process(store: ImageStore, residence: str, world: int) -> None:
    whole = Batches(store, batch_size=8, seed=5, device=CPU).epoch(1)
    parts = [
        Batches(store, batch_size=8, seed=5, device=CPU, residence=residence, rank=rank, world=world).epoch(1)
        for rank in range(world)
    ]
    for batch, *shares in zip(whole, *parts, strict=True):
        assert torch.equal(torch.cat([share.images for share in shares]), batch.images)
        assert torch.equal(torch.cat([share.sizes for share in shares]), batch.sizes)
        assert torch.equal(torch.cat([share.positions for share in shares]), batch.positions)


@pytest.mark.parametrize("residence", ["resident", "streamed"])
def test_an_epoch_can_be_entered_at_any_step(store: ImageStore, residence: str) -> None:
    data = Batches(store, batch_size=4, seed=0, device=CPU, residence=residence)
    everything = list(data.epoch(0))
    for start in range(len(everything) + 1):
        rest = list(data.epoch(0, start_step=start))
        assert len(rest) == len(everything) - start
        assert all(equal(a, b) for a, b in zip(rest, everything[start:], strict=True))


@settings(max_examples=20, deadline=None)
@given(batch_size=st.integers(1, 50), epoch=st.integers(0, 1000))
def test_an_epoch_shows_no_image_twice(uniform: ImageStore, batch_size: int, epoch: int) -> None:
    rows = np.concatenate(
        [batch.positions for batch in Batches(uniform, batch_size=batch_size, seed=0, device=CPU).epoch(epoch)]
    )
    assert len(set(rows.tolist())) == len(rows) == 50 // batch_size * batch_size


def test_epochs_differ(uniform: ImageStore) -> None:
    data = Batches(uniform, batch_size=50, seed=0, device=CPU)
    (first,), (second,) = data.epoch(0), data.epoch(1)
    assert not torch.equal(first.images, second.images)


def test_leaving_a_streamed_epoch_early_stops_its_readers(uniform: ImageStore) -> None:
    import threading

    before = threading.active_count()
    for _ in Batches(uniform, batch_size=2, seed=0, device=CPU, residence="streamed").epoch(0):
        break
    assert threading.active_count() == before


def test_an_error_in_a_reader_reaches_the_loop(uniform: ImageStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("disk gone")

    monkeypatch.setattr(DecodedStore, "fill", fails)
    with pytest.raises(RuntimeError, match="disk gone"):
        next(Batches(uniform, batch_size=2, seed=0, device=CPU, residence="streamed").epoch(0))


@pytest.mark.parametrize(
    ("batch_size", "world", "line"),
    [
        (51, 1, "batch size 51 is larger than the 50 images of shapes:n=50 .train.; choose at most 50"),
        (0, 1, "batch size 0 cannot be shared by 1 process"),
        (6, 4, "choose a positive multiple of 4"),
    ],
)
def test_impossible_batches_are_refused(uniform: ImageStore, batch_size: int, world: int, line: str) -> None:
    with pytest.raises(InputError, match=line):
        Batches(uniform, batch_size=batch_size, seed=0, device=CPU, world=world)


def test_residence_follows_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "_free_bytes", lambda device: 8_000_000_000)
    small, large, huge = (SimpleNamespace(nbytes=count) for count in (4_000_000_000, 4_000_000_001, 9_000_000_000))
    assert batches.choose_residence(small, CPU, "auto") == (
        "resident",
        "resident: images need 4.0 GB, cpu has 8.0 GB free",
    )
    assert batches.choose_residence(large, CPU, "auto") == (
        "streamed",
        "streamed: images need 4.0 GB, cpu has 8.0 GB free, of which images may take 50%",
    )
    assert batches.choose_residence(huge, CPU, "resident") == (
        "resident",
        "resident: as asked; images need 9.0 GB, cpu has 8.0 GB free",
    )


def test_free_memory_is_asked_of_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (123, 456))
    assert batches._free_bytes(SimpleNamespace(type="cuda")) == 123
    assert batches._free_bytes(CPU) > 1_000_000


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("residence", ["resident", "streamed"])
def test_batches_on_cuda_equal_those_on_the_cpu(store: ImageStore, residence: str) -> None:
    here = Batches(store, batch_size=4, seed=0, device=CPU)
    there = Batches(store, batch_size=4, seed=0, device=torch.device("cuda"), residence=residence)
    for a, b in zip(here.epoch(0), there.epoch(0), strict=True):
        assert b.images.device.type == "cuda"
        assert torch.equal(a.images, b.images.cpu())


def test_gathering_from_a_path(tmp_path: Path) -> None:
    write(tmp_path / "x" / "only.png", picture(0))
    store = load(str(tmp_path / "x"), split="train", fit=Fit.train(8), cache=tmp_path / "cache")
    (batch,) = Batches(store, batch_size=1, seed=0, device=CPU).epoch(0)
    assert np.array_equal(batch.images[0].permute(1, 2, 0), np.asarray(picture(0)))
