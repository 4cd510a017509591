import urllib.error
from pathlib import Path

import numpy as np
import pytest
from pictures import class_folders, encoded, picture

from covary.data import Fit, ImageStore, load, native_size
from covary.errors import InputError

datasets = pytest.importorskip("datasets", reason="needs the data extra")


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    datasets.disable_progress_bars()


def stored(tmp_path: Path, spec: str, split: str = "train", **options: object) -> ImageStore:
    return load(spec, split=split, fit=Fit.train(32), cache=tmp_path / "cache", **options)


def test_a_local_folder_that_the_library_loads(tmp_path: Path) -> None:
    class_folders(tmp_path / "x" / "train", {"ape": 2, "bee": 2})
    class_folders(tmp_path / "x" / "test", {"ape": 1, "bee": 1}, start=10)
    spec = f"hf:{tmp_path / 'x'}"
    train, test = stored(tmp_path, spec), stored(tmp_path, spec, "test")
    assert train.classes == ("ape", "bee")
    assert train.labels.tolist() == [0, 0, 1, 1]
    assert len(test) == 2
    assert np.array_equal(train.images([0])[0][0].permute(1, 2, 0), np.asarray(picture(0)))
    assert native_size(spec) == 10
    assert stored(tmp_path, spec, residence="encoded").fingerprint == train.fingerprint


def test_parquet_with_words_as_labels_and_no_test_split(tmp_path: Path) -> None:
    images = [{"bytes": encoded(picture(seed)), "path": None} for seed in range(10)]
    features = datasets.Features({"photo": datasets.Image(), "class": datasets.Value("string")})
    data = datasets.Dataset.from_dict({"photo": images, "class": ["bee", "ape"] * 5}, features=features)
    (tmp_path / "x").mkdir()
    data.to_parquet(tmp_path / "x" / "train.parquet")
    spec = f"hf:{tmp_path / 'x'}"
    assert stored(tmp_path, spec).classes == ("ape", "bee")
    assert (len(stored(tmp_path, spec)), len(stored(tmp_path, spec, labelled=True))) == (10, 8)
    assert stored(tmp_path, spec, "test").labels.tolist().count(0) == 1


def test_no_images(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    datasets.Dataset.from_dict({"text": ["a"]}).to_parquet(tmp_path / "x" / "train.parquet")
    with pytest.raises(InputError, match=r"has no column of images .columns: text."):
        stored(tmp_path, f"hf:{tmp_path / 'x'}")


@pytest.mark.parametrize("spec", ["hf:nobody/nothing", "hf:nobody/nothing:config=small"])
def test_offline(tmp_path: Path, spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*_: object, **__: object) -> None:
        raise urllib.error.URLError("Name or service not known\nand more")

    monkeypatch.setattr(datasets, "load_dataset", offline)
    with pytest.raises(InputError) as caught:
        stored(tmp_path, spec)
    assert str(caught.value) == (
        f"'{spec}' cannot be loaded (URLError: <urlopen error Name or service not known and more>); "
        "check the name and the network."
    )


def test_a_name_is_needed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="'hf:' names no data set; write hf:NAME"):
        stored(tmp_path, "hf:")
    with pytest.raises(InputError, match=r"'confg=a' is not an option .* Did you mean 'config'?"):
        stored(tmp_path, "hf:x:confg=a")
