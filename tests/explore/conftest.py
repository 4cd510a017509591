"""Explorers of runs that were never trained, and what their data.js holds."""

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import covary.explore.maps
from covary.explore import explore
from covary.methods import METHODS, STL
from tests.evaluation.test_transform_tasks import finished_run
from tests.tiny import small

DATA = "shapes:n=120"
SIZE = 8  # pixels, so that it is quick


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    methods = {"stl": small(STL), "simclr": small(METHODS["simclr"]), "equimod": small(METHODS["equimod"])}
    return {name: finished_run(folder / name, method) for name, method in methods.items()}


@pytest.fixture(scope="module")
def explored(runs: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(covary.explore.maps, "has_umap", lambda: False)  # which compiles for half a minute
        out = tmp_path_factory.mktemp("explored") / "folder"
        cache = tmp_path_factory.getbasetemp() / "stores"
        return explore(
            runs["stl"],
            compare=runs["simclr"],
            data=DATA,
            out=out,
            images=20,
            image_size=SIZE,
            device="cpu",
            cache=cache,
            seed=3,
        )


def content_of(folder: Path) -> dict[str, Any]:
    """Return what the page reads, by the rules of JavaScript: a string literal, and JSON in it."""
    text = (folder / "data.js").read_text()
    head, tail = "window.explored = JSON.parse(", ");\n"
    assert text.startswith(head)
    assert text.endswith(tail)
    return json.loads(json.loads(text[len(head) : -len(tail)]))


def array(text: str, kind: str, *shape: int) -> np.ndarray:
    """Return the numbers of base64, little-endian."""
    return np.frombuffer(base64.b64decode(text), dtype=f"<{kind}").reshape(shape)
