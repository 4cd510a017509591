import json
from pathlib import Path

import numpy as np
import pytest
from pictures import encoded, picture, write

from covary.data import Fit, ImageStore, load, native_size, source
from covary.errors import InputError

pa = pytest.importorskip("pyarrow", reason="needs the data extra")
pq = pytest.importorskip("pyarrow.parquet", reason="needs the data extra")

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
FEATURES = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}


def table(images: list, labels: list | None, *, features: dict | None = None, column: str = "image") -> object:
    columns = {column: pa.array(images, IMAGE)} | ({"label": pa.array(labels)} if labels else {})
    metadata = {"huggingface": json.dumps({"info": {"features": features}})} if features else None
    return pa.table(columns).replace_schema_metadata(metadata)


def rows(seeds: list[int]) -> list[dict]:
    return [{"bytes": encoded(picture(seed)), "path": None} for seed in seeds]


def write_parquet(path: Path, data: object, **options: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(data, path, **options)


def stored(root: Path, split: str = "train", **options: object) -> ImageStore:
    return load(str(root), split=split, fit=Fit.train(32), cache=root.parent / "cache", **options)


def test_a_path_that_leads_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "secret.png", picture(0))
    away = [{"bytes": None, "path": "../secret.png"}, {"bytes": None, "path": str(tmp_path / "secret.png")}]
    write_parquet(tmp_path / "x" / "train.parquet", table([*rows([1]), *away], None))
    store = stored(tmp_path / "x", max_bad=1.0)
    assert [name for name, _ in store.skipped] == ["train.parquet:1", "train.parquet:2"]
    assert "lies outside of" in store.skipped[0][1]


def test_the_hugging_face_layout(tmp_path: Path) -> None:
    root = tmp_path / "x"
    write_parquet(root / "train.parquet", table(rows([0, 1, 2]), [0, 1, 1], features=FEATURES), row_group_size=2)
    write_parquet(root / "test.parquet", table(rows([3, 4]), [1, 0], features=FEATURES))
    train, test = stored(root), stored(root, "test")
    assert train.classes == test.classes == ("cat", "dog")
    assert train.labels.tolist() == [0, 1, 1]
    assert test.labels.tolist() == [1, 0]
    assert np.array_equal(train.images([2])[0][0].permute(1, 2, 0), np.asarray(picture(2)))
    assert np.array_equal(test.images([0])[0][0].permute(1, 2, 0), np.asarray(picture(3)))
    assert train.names == ("train.parquet:0", "train.parquet:1", "train.parquet:2")
    assert native_size(str(root)) == 10


def test_shards_in_a_data_folder(tmp_path: Path) -> None:
    root = tmp_path / "x"
    for shard in range(2):
        data = table(rows([2 * shard, 2 * shard + 1]), [0, 1], features=FEATURES)
        write_parquet(root / "data" / f"train-0000{shard}-of-00002.parquet", data)
    write_parquet(root / "data" / "validation-00000-of-00001.parquet", table(rows([9]), [1], features=FEATURES))
    train = stored(root)
    assert len(train) == 4
    assert np.array_equal(train.images([3])[0][0].permute(1, 2, 0), np.asarray(picture(3)))
    assert len(stored(root, "test")) == 1


def test_without_a_test_file_a_fifth_is_held_out(tmp_path: Path) -> None:
    write_parquet(tmp_path / "x" / "train.parquet", table(rows(list(range(10))), [0] * 5 + [1] * 5))
    root = tmp_path / "x"
    assert (len(stored(root)), len(stored(root, labelled=True)), len(stored(root, "test"))) == (10, 8, 2)


def test_words_as_labels_and_null_for_none(tmp_path: Path) -> None:
    root = tmp_path / "x"
    write_parquet(root / "train.parquet", table(rows([0, 1, 2]), ["zebra", None, "ape"]))
    write_parquet(root / "test.parquet", table(rows([3]), ["bee"]))
    train, test = stored(root), stored(root, "test")
    assert train.classes == test.classes == ("ape", "bee", "zebra")
    assert train.labels.tolist() == [2, -1, 0]
    assert len(stored(root, labelled=True)) == 2


def test_no_labels_at_all(tmp_path: Path) -> None:
    write_parquet(tmp_path / "x" / "train.parquet", table(rows([0]), None))
    assert stored(tmp_path / "x").classes is None


def test_paths_and_plain_bytes(tmp_path: Path) -> None:
    root = tmp_path / "x"
    write(root / "pictures" / "a.png", picture(0))
    write_parquet(root / "train.parquet", table([{"bytes": None, "path": "pictures/a.png"}], None))
    plain = pa.table({"img": pa.array([encoded(picture(1))])})
    write_parquet(root / "test.parquet", plain)
    assert np.array_equal(stored(root).images([0])[0][0].permute(1, 2, 0), np.asarray(picture(0)))
    write_parquet(tmp_path / "y" / "train.parquet", plain)
    assert np.array_equal(stored(tmp_path / "y").images([0])[0][0].permute(1, 2, 0), np.asarray(picture(1)))


def test_a_missing_image_is_a_broken_one(tmp_path: Path) -> None:
    write_parquet(
        tmp_path / "x" / "train.parquet", table([*rows(list(range(20))), {"bytes": None, "path": None}], None)
    )
    assert stored(tmp_path / "x").skipped == (("train.parquet:20", "ValueError: the file is empty"),)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    root = tmp_path / "x"
    write_parquet(root / "test.parquet", table(rows([0]), None))
    with pytest.raises(InputError, match=r"has no train.parquet"):
        stored(root)
    write_parquet(root / "train.parquet", pa.table({"text": ["a"]}))
    with pytest.raises(InputError, match=r"has no image column .columns: text.; expected 'image'"):
        stored(root)
    write_parquet(root / "train.parquet", table(rows([0]), [5], features=FEATURES))
    with pytest.raises(InputError, match="has the label 5, which is none of its 2 classes"):
        stored(root)
    (root / "train.parquet").write_bytes(b"PAR1 no, not really")
    with pytest.raises(InputError, match=r"the parquet file .*train.parquet cannot be read") as caught:
        stored(root)
    assert "\n" not in str(caught.value)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    write_parquet(tmp_path / "x" / "train.parquet", table(rows([0]), None))
    monkeypatch.setattr(source.importlib, "import_module", missing)
    with pytest.raises(InputError, match=r"needs the package pyarrow, which is not installed; install covary\[data\]"):
        stored(tmp_path / "x")


@pytest.mark.parametrize(
    ("name", "classes", "train", "test"),
    [("coil20", 20, 660, 340), ("omniglot_small", 242, 3388, 1452), ("flowers5", 5, 725, 300)],
)
def test_real_sets(shared_data: Path, tmp_path: Path, name: str, classes: int, train: int, test: int) -> None:
    stores = [
        load(str(shared_data / name), split=part, fit=Fit.evaluate(16), cache=tmp_path) for part in ("train", "test")
    ]
    assert [len(store) for store in stores] == [train, test]
    for store in stores:
        assert store.canvas(range(len(store))) == (16, 16)
        assert store.classes is not None
        assert len(store.classes) == classes
        assert len(np.unique(store.labels)) == classes
        assert not store.skipped
