"""Every place from which covary reads a file that may be a stranger's, and the call that reads it."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from covary import config, data, rundir
from covary.data import Fit, index
from covary.evaluation import Result, result
from covary.evaluation.detection import voc
from covary.evaluation.source import resolve
from covary.report.first_batch import first_batch
from covary.report.read import read_runs
from covary.reproduction.measuring import read_result
from covary.resuming import check_same_run
from covary.run import default_run
from covary.rundir import RunDir
from reliability.hostile import members, png

SIZE = 8
RUN = replace(default_run("shapes:n=16", image_size=SIZE), encoder="resnet8", stem="cifar")


@dataclass(frozen=True)
class Reader:
    """A file of a place, and what reads it.

    file: the path below the place that a stranger's bytes are put at.
    read: the place -> what came of it; raises InputError for bytes that it refuses.
    seal: makes the bytes look genuine to whatever digest is beside them.
    pack: how the stranger's bytes are wrapped in the file.
    """

    file: str
    read: Callable[[Path], object]
    seal: Callable[[Path], object] = lambda place: None
    pack: Callable[[bytes], bytes] = lambda content: content


def make(place: Path) -> None:
    """Fill an empty folder with one whole thing of every kind: a run, stores, images, annotations."""
    folder = RunDir(place / "run")
    folder.path.mkdir(parents=True, exist_ok=True)
    folder.write_run(config.to_json(RUN), {"threads": 1})
    method = RUN.build_method()
    rundir.write_tensors(folder.encoder_file, method.encoder.state_dict())
    rundir.write_tensors(folder.method_file, method.state_dict())
    folder.figures.mkdir()
    (folder.figures / "first-batch.png").write_bytes(png())
    folder.metrics_file.write_text('{"step": 1}\n{"step": 2}\n')
    for step in (1, 2):
        folder.save_checkpoint(step, {"weight": torch.full((4,), float(step))}, {"epoch": 0})
    for name in ("images/a/0.png", "images/a/1.png", "images/b/2.png", "VOC/JPEGImages/0.png"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(png())
    for name in ("parquet", "shards", "weights", "results", "VOC/Annotations", "VOC/ImageSets/Main"):
        (place / name).mkdir(parents=True)
    rundir.write_tensors(place / "weights" / "file.safetensors", method.encoder.state_dict())
    measured = {"task": "knn", "protocol": "k 5", "source": "run", "data": "shapes", "metrics": {"top1": 0.5}}
    for results in (place / "results", folder.path / "results"):
        result.write(results / "knn.json", [Result(**measured, seconds=1.0, covary="0", commit=None)])
    (place / "VOC" / "classes.txt").write_text("cat\n")
    for split in ("trainval", "test"):
        (place / "VOC" / "ImageSets" / "Main" / f"{split}.txt").write_text("0\n")
    (place / "VOC" / "Annotations" / "0.xml").write_text("<annotation></annotation>")
    _load(place, str(place / "images"), cache="store")


def _load(place: Path, spec: str, *, cache: str = "cache") -> object:
    return data.load(spec, split="train", fit=Fit.train(SIZE), cache=place / cache, max_bad=0.5)


def _store(place: Path) -> Path:
    return next(path for path in (place / "store" / "stores").iterdir() if path.is_dir())


def _seal_checkpoint(place: Path) -> None:
    folder = place / "run" / "checkpoints" / "step-2"
    manifest = json.loads((folder / "manifest.json").read_bytes())
    state = (folder / "state.safetensors").read_bytes()
    manifest["files"] = {"state.safetensors": {"sha256": hashlib.sha256(state).hexdigest(), "bytes": len(state)}}
    del manifest["sha256"]
    manifest["sha256"] = rundir.digest(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def _seal_store(place: Path) -> None:
    store = _store(place)
    digest = index._digest([(store / file).read_bytes() for file in index.FILES])
    (store / index.DIGEST).write_text(digest)


def _read_store(place: Path) -> object:
    return index.read_store(_store(place), "decoded", name="images", split="train", fit=Fit.train(SIZE))


def _weights(ending: str) -> Reader:
    name = f"weights/file{ending}"
    return Reader(name, lambda place: resolve(place / name, encoder="resnet8", stem="cifar"))


def _resume(place: Path) -> object:
    return RunDir(place / "run").newest_checkpoint()


def _method(place: Path) -> object:
    return resolve(place / "run").method


READERS: Mapping[str, Reader] = {
    "resume, state": Reader("run/checkpoints/step-2/state.safetensors", _resume, seal=_seal_checkpoint),
    "resume, manifest": Reader("run/checkpoints/step-2/manifest.json", _resume),
    "resume, metrics": Reader("run/metrics.jsonl", lambda place: RunDir(place / "run").truncate_metrics(1)),
    "run.json": Reader("run/run.json", _method),
    "run.json, continued": Reader("run/run.json", lambda place: check_same_run(RUN, RunDir(place / "run"))),
    "encoder of a run": Reader("run/encoder.safetensors", _method),
    "method of a run": Reader("run/method.safetensors", _method),
    **{f"weights {ending}": _weights(ending) for ending in (".pt", ".pth", ".ckpt", ".bin", ".safetensors")},
    "store, meta": Reader("store/stores/{store}/meta.json", _read_store, seal=_seal_store),
    **{
        f"store, {name}": Reader(f"store/stores/{{store}}/{name}.npy", _read_store, seal=_seal_store)
        for name in ("spans", "sizes", "labels", "digests")
    },
    "image folder": Reader("images/a/0.png", lambda place: _load(place, str(place / "images"))),
    "parquet": Reader("parquet/train.parquet", lambda place: _load(place, str(place / "parquet"))),
    "tar shard": Reader("shards/train.tar", lambda place: _load(place, f"wds:{place}/shards/train.tar")),
    "tar member, image": Reader(
        "shards/train.tar",
        lambda place: _load(place, f"wds:{place}/shards/train.tar"),
        pack=lambda content: members({"0.png": content, "1.png": png()}),
    ),
    "tar member, json": Reader(
        "shards/train.tar",
        lambda place: _load(place, f"wds:{place}/shards/train.tar"),
        pack=lambda content: members({"0.png": png(), "0.json": content}),
    ),
    "result of a table": Reader("results/knn.json", lambda place: read_result(place / "results" / "knn.json")),
    "result of an export": Reader("run/results/knn.json", lambda place: result.read(place / "run/results/knn.json")),
    "report, result": Reader("run/results/knn.json", lambda place: read_runs([place / "run"])),
    "report, metrics": Reader("run/metrics.jsonl", lambda place: read_runs([place / "run"])),
    "report, picture": Reader("run/figures/first-batch.png", lambda place: first_batch(read_runs([place / "run"]))),
    "annotation": Reader("VOC/Annotations/0.xml", lambda place: voc.load(str(place / "VOC"), root=place)),
}


def place_of(reader: Reader, place: Path) -> Path:
    """Return the file that a reader reads."""
    return place / reader.file.replace("{store}", _store(place).name)


def put(reader: Reader, place: Path, content: bytes) -> tuple[Path, bytes | None]:
    """Put a stranger's bytes where a reader looks; return the file, and what it held."""
    file = place_of(reader, place)
    before = file.read_bytes() if file.exists() else None
    file.write_bytes(reader.pack(content))
    reader.seal(place)
    return file, before


def put_back(reader: Reader, place: Path, file: Path, before: bytes | None) -> None:
    """Undo ``put``."""
    file.unlink() if before is None else file.write_bytes(before)
    if before is not None:
        reader.seal(place)
