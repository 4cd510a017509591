"""Stores of files against stores of pixels: the same bits, names, labels and fingerprints."""

import pickle
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pictures import class_folders, encoded, picture, write
from PIL import Image
from test_batches import equal

import covary.data.encoded
import covary.data.store
from covary.data import Batches, Fit, ImageStore, batches, build, decode, form, index, load
from covary.data.decoded import DecodedStore
from covary.data.encoded import EncodedStore, Packed
from covary.errors import InputError

CPU = torch.device("cpu")
FITS = [Fit.train(16), Fit.evaluate(16)]


def every_kind(root: Path) -> Path:
    """Write images of every kind that is decoded differently, broken ones too, into two class folders."""
    for seed in range(40):
        write(root / "a" / f"{seed:02d}.jpg", picture(seed, width=20 + seed % 7, height=18 + seed % 5), quality=90)
    turned = Image.Exif()
    turned[0x0112] = 6
    alpha = picture(3).convert("RGBA")
    alpha.putalpha(100)
    write(root / "b" / "alpha.png", alpha)
    write(root / "b" / "cmyk.jpg", picture(4, width=40, height=30).convert("CMYK"))
    write(root / "b" / "deep.png", Image.fromarray(np.arange(600, dtype=np.uint16).reshape(20, 30) * 100))
    write(root / "b" / "gif.gif", picture(5))
    write(root / "b" / "grey.jpg", picture(6, width=30, height=40).convert("L"))
    write(root / "b" / "large.jpg", picture(7, width=450, height=403))
    write(root / "b" / "long.jpg", picture(8, width=301, height=97))
    write(root / "b" / "progressive.jpg", picture(9, width=210, height=199), progressive=True)
    write(root / "b" / "turned.jpg", picture(10, width=203, height=97), exif=turned)
    (root / "b" / "empty.jpg").touch()
    (root / "b" / "cut.jpg").write_bytes(encoded(picture(0, width=64, height=64), "JPEG")[:-200])
    return root


def both(spec: object, cache: Path, *, fit: Fit = FITS[0], **options: object) -> tuple[DecodedStore, EncodedStore]:
    pixels, files = (
        load(str(spec), split="train", fit=fit, cache=cache, residence=residence, **options)
        for residence in ("streamed", "encoded")
    )
    assert isinstance(pixels, DecodedStore)
    assert isinstance(files, EncodedStore)
    return pixels, files


def check_same(pixels: DecodedStore, files: EncodedStore) -> None:
    assert files.fingerprint == pixels.fingerprint
    assert files.pixels_fingerprint == pixels.pixels_fingerprint
    assert (files.names, files.classes, files.skipped) == (pixels.names, pixels.classes, pixels.skipped)
    assert files.nbytes == pixels.nbytes
    rows = range(len(pixels))
    for a, b in zip(files.images(rows), pixels.images(rows), strict=True):
        assert torch.equal(a, b)


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> tuple[DecodedStore, EncodedStore]:
    root = tmp_path_factory.mktemp("kinds")
    return both(every_kind(root / "images"), root / "cache")


@pytest.mark.parametrize("fit", FITS, ids=["train", "evaluate"])
def test_files_decode_to_the_bits_of_the_pixels(tmp_path: Path, fit: Fit) -> None:
    pixels, files = both(every_kind(tmp_path / "images"), tmp_path / "cache", fit=fit)
    check_same(pixels, files)
    assert len(files) == 49
    assert [name for name, _ in files.skipped] == ["b/cut.jpg", "b/empty.jpg"]
    assert files.file.nbytes == sum((tmp_path / "images" / name).stat().st_size for name in files.names)


def test_other_sources_of_files(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from test_tar import samples, shard

    images = [{"bytes": encoded(picture(seed, width=50, height=40), "JPEG"), "path": None} for seed in range(9)]
    (tmp_path / "parquet").mkdir()
    pq.write_table(pa.table({"image": images, "label": [0, 1, 2] * 3}), tmp_path / "parquet" / "train.parquet")
    check_same(*both(tmp_path / "parquet", tmp_path / "cache"))
    shard(tmp_path / "x.tar", samples(range(9)))
    check_same(*both(f"wds:{tmp_path}/x.tar", tmp_path / "cache"))


def test_a_source_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="shapes:n=12 is not read from such; take 'auto', 'resident' or 'streamed'"):
        load("shapes:n=12", split="train", fit=FITS[0], cache=tmp_path, residence="encoded")


def test_what_lay_in_a_batch_before_does_not_show(kinds: tuple[DecodedStore, EncodedStore]) -> None:
    pixels, files = kinds
    rows = np.arange(len(files))
    found = torch.full((len(rows), 3, *files.canvas(rows)), 255, dtype=torch.uint8)
    files.fill(rows, found)
    assert torch.equal(found, pixels.images(rows)[0])


def test_processes_of_one_machine_share_its_cores(
    kinds: tuple[DecodedStore, EncodedStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(covary.data.encoded, "cores", lambda: 16)
    found = {}
    for world in ("1", "5", "32"):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", world)
        found[world] = kinds[1].readers
    assert found == {"1": 16, "5": 3, "32": 1}


def test_a_selection_has_the_images_of_its_rows(kinds: tuple[DecodedStore, EncodedStore]) -> None:
    pixels, files = (store.select([44, 2, 2]) for store in kinds)
    assert torch.equal(files.images([0, 1, 2])[0], pixels.images([0, 1, 2])[0])
    assert files.fingerprint == pixels.fingerprint


@pytest.mark.parametrize("readers", [0, 1, 5])
@pytest.mark.parametrize("piece", [1, 4_000_000])
def test_readers_and_pieces_change_no_batch(
    kinds: tuple[DecodedStore, EncodedStore], monkeypatch: pytest.MonkeyPatch, readers: int, piece: int
) -> None:
    monkeypatch.setattr(covary.data.store, "PIECE", piece)
    pixels, files = (Batches(store, batch_size=6, seed=1, device=CPU, readers=readers) for store in kinds)
    assert (pixels.residence, files.residence) == ("resident", "encoded")
    for epoch in (0, 3):
        assert all(equal(a, b) for a, b in zip(pixels.epoch(epoch), files.epoch(epoch), strict=True))


def test_an_epoch_can_be_entered_at_any_step(kinds: tuple[DecodedStore, EncodedStore]) -> None:
    pixels, files = (Batches(store, batch_size=9, seed=1, device=CPU) for store in kinds)
    everything = list(pixels.epoch(2))
    for start in range(len(everything) + 1):
        rest = list(files.epoch(2, start_step=start))
        assert all(equal(a, b) for a, b in zip(rest, everything[start:], strict=True))


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_together_see_the_batch_of_one_process(kinds: tuple[DecodedStore, EncodedStore], world: int) -> None:
    pixels, files = kinds
    parts = [Batches(files, batch_size=8, seed=5, device=CPU, rank=rank, world=world).epoch(1) for rank in range(world)]
    for batch, *shares in zip(Batches(pixels, batch_size=8, seed=5, device=CPU).epoch(1), *parts, strict=True):
        assert torch.equal(torch.cat([share.images for share in shares]), batch.images)


def test_a_bounded_number_of_images_is_decoded_ahead(
    kinds: tuple[DecodedStore, EncodedStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    real = EncodedStore.fill

    def fill(self: EncodedStore, rows: np.ndarray, out: torch.Tensor) -> None:
        read.extend(rows)
        real(self, rows, out)

    monkeypatch.setattr(EncodedStore, "fill", fill)
    before = threading.active_count()
    epoch = Batches(kinds[1], batch_size=2, seed=0, device=CPU, readers=2).epoch(0)
    next(epoch)
    assert len(read) <= (batches.AHEAD + 1) * 2
    epoch.close()
    assert threading.active_count() == before


@pytest.mark.parametrize(("which", "residence", "holds"), [(0, "encoded", "pixels"), (1, "resident", "files")])
def test_a_store_is_not_read_as_the_other_thing(
    kinds: tuple[DecodedStore, EncodedStore], which: int, residence: str, holds: str
) -> None:
    line = f"holds {holds}, which residence '{residence}' does not read; load it with residence='{residence}', or take"
    with pytest.raises(InputError, match=line):
        Batches(kinds[which], batch_size=2, seed=0, device=CPU, residence=residence)


def test_the_reason_names_bytes_and_disk(
    kinds: tuple[DecodedStore, EncodedStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=5_000))
    files = kinds[1]
    _, reason = batches.choose_residence(files, CPU, "auto")
    stores = files.file.path.parent.parent
    assert reason == f"encoded: files take 0.1 MB, images would take 0.1 MB, {stores} has 0.0 MB free"


def test_a_file_damaged_after_the_store_was_built(tmp_path: Path) -> None:
    write(tmp_path / "x" / "0.png", picture(0))
    write(tmp_path / "x" / "1.png", picture(1, width=13))
    _, files = both(tmp_path / "x", tmp_path / "cache")
    path, data = files.file.path, files.file.path.read_bytes()
    with path.open("r+b") as file:
        file.write(bytes(60))
    with pytest.raises(InputError, match=r"the image 0.png cannot be read back from .*files.bin \(UnidentifiedImage"):
        next(Batches(files, batch_size=2, seed=0, device=CPU).epoch(0))
    assert files.images([1])[0].shape == (1, 3, 10, 13)
    start, stop = files.spans[1]
    other = encoded(picture(0))
    path.write_bytes(data[:start] + other + data[start + len(other) :] if len(other) <= stop - start else b"")
    with pytest.raises(InputError, match=r"the image 1.png cannot be read back from"):
        files.images([1])


def free_disk(monkeypatch: pytest.MonkeyPatch, count: float) -> None:
    monkeypatch.setattr(form.shutil, "disk_usage", lambda path: SimpleNamespace(free=count))


NEEDED = 12 * 3 * 10 * 12  # bytes of the twelve pictures below


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return class_folders(tmp_path / "images", {"a": 6, "b": 6})


@pytest.mark.parametrize(("free", "kind"), [(NEEDED / 0.89, DecodedStore), (NEEDED / 0.91, EncodedStore)])
def test_auto_keeps_files_where_pixels_do_not_fit_the_disk(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: float, kind: type[ImageStore]
) -> None:
    (images / "a" / "bad.png").touch()
    free_disk(monkeypatch, 13 / 12 * free)  # the broken one counts for as much as the others
    store = load(str(images), split="train", fit=FITS[0], cache=tmp_path, max_bad=0.1)
    assert type(store) is kind
    assert len(store) == 12


def test_auto_takes_what_exists_pixels_first(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(str(images), split="train", fit=FITS[0], cache=tmp_path, residence="encoded")
    free_disk(monkeypatch, 1e12)
    assert isinstance(load(str(images), split="train", fit=FITS[0], cache=tmp_path), EncodedStore)
    load(str(images), split="train", fit=FITS[0], cache=tmp_path, residence="resident")
    free_disk(monkeypatch, 0)
    assert isinstance(load(str(images), split="train", fit=FITS[0], cache=tmp_path), DecodedStore)


def test_auto_keeps_pixels_of_what_has_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free_disk(monkeypatch, 0)
    assert isinstance(load("shapes:n=12", split="train", fit=FITS[0], cache=tmp_path), DecodedStore)


def test_another_decoder_builds_the_files_anew(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, first = both(images, tmp_path)
    monkeypatch.setattr(build, "_write", None)
    assert load(str(images), split="train", fit=FITS[0], cache=tmp_path, residence="encoded").names == first.names
    monkeypatch.undo()
    monkeypatch.setattr(decode, "decoder", lambda: "Pillow 99")
    folder = first.file.path.parent
    assert index.read_store(folder, "encoded", name="x", split="train", fit=FITS[0]) is None
    assert index.read_store(folder.with_suffix(""), "decoded", name="x", split="train", fit=FITS[0]) is not None
    second = load(str(images), split="train", fit=FITS[0], cache=tmp_path, residence="encoded")
    assert torch.equal(second.images(range(12))[0], first.images(range(12))[0])  # the old file is open still


@pytest.mark.parametrize("file", ["files.bin", "spans.npy", "meta.json"])
def test_a_store_that_is_not_whole_is_built_anew(images: Path, tmp_path: Path, file: str) -> None:
    pixels, files = both(images, tmp_path / "cache")
    path = files.file.path.parent / file
    path.write_bytes(path.read_bytes()[:-7])
    check_same(pixels, both(images, tmp_path / "cache")[1])


def test_an_interrupted_build_leaves_nothing(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    cache = tmp_path / "cache"
    with monkeypatch.context() as patch:
        patch.setattr(build, "sync_folder", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load(str(images), split="train", fit=FITS[0], cache=cache, residence="encoded")
    assert [path.suffix for path in (cache / "stores").iterdir()] == [".lock"]
    check_same(*both(images, cache))


def test_real_photographs(shared_data: Path, tmp_path: Path) -> None:
    chosen = sorted((shared_data / "det_bccd" / "JPEGImages").iterdir())[:8]
    (tmp_path / "x").mkdir()
    for path in chosen:
        (tmp_path / "x" / path.name).symlink_to(path)
    pixels, files = both(tmp_path / "x", tmp_path / "cache", fit=Fit.train(64))
    check_same(pixels, files)
    assert files.canvas([0]) == (96, 128)


def test_a_pickled_store_reads_its_own_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(name.encode() * 4)
    pickled = pickle.dumps(Packed(tmp_path / "a"))
    other = Packed(tmp_path / "b")
    assert pickle.loads(pickled).read(0, 4) == b"aaaa"
    assert other.read(0, 4) == b"bbbb"
