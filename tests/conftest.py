"""What tests share: the place of the real image sets, and a cache that no test leaves behind."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real image sets; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("COVARY_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real image sets at {folder} (set COVARY_SHARED_DATA)")
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep image stores of tests out of the user's cache; one cache for the whole test session."""
    monkeypatch.setenv("COVARY_CACHE", str(tmp_path_factory.getbasetemp() / "stores"))
