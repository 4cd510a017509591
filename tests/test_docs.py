"""The site builds without a warning and asks for nothing outside; links of all pages lead somewhere."""

import importlib
import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pages
import pytest
from test_architecture import PUBLIC

LOADS = re.compile(
    r"<(?:script|link|img|iframe|source|video|audio|embed|object)\b[^>]*?(?:src|href|data)=\"(?:https?:)?//"
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, as `make docs` builds it."""
    for package in ("sphinx", "myst_parser", "furo"):
        pytest.importorskip(package, reason=f"{package} is not installed; make setup brings the group docs")
    out = tmp_path_factory.mktemp("site")
    makefile = (pages.ROOT / "Makefile").read_text(encoding="utf-8")
    (line,) = re.findall(r"^\t\$\(BIN\)/sphinx-build (.*) build/docs$", makefile, flags=re.MULTILINE)
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *line.split(), str(out)],
        cwd=pages.ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.mark.xdist_group("site")
def test_the_site_begins_at_its_index(site: Path) -> None:
    start = re.search(r'url=([^"]+)"', (site / "index.html").read_text(encoding="utf-8"))
    assert start is not None
    assert (site / start[1]).is_file()
    assert [page for page in pages.PAGES if not (site / page).with_suffix(".html").is_file()] == []


@pytest.mark.xdist_group("site")
def test_the_site_asks_for_nothing_outside(site: Path) -> None:
    assert LOADS.search('<link rel="x" href="https://fonts.example/a.css">')
    shown = list(site.rglob("*.html"))
    assert len(shown) > len(pages.PAGES)
    assert [page.name for page in shown if LOADS.search(page.read_text(encoding="utf-8"))] == []
    styles = list(site.rglob("*.css"))
    assert styles
    assert [
        style.name
        for style in styles
        if re.search(r"(url\(|@import )[\"']?(https?:)?//", style.read_text(encoding="utf-8"))
    ] == []


@pytest.mark.xdist_group("site")
def test_every_public_class_and_function_is_in_the_reference(site: Path) -> None:
    page = (site / "docs/api.html").read_text(encoding="utf-8")
    missing = [
        f"{module}.{name}"
        for module, names in PUBLIC.items()
        for name in names.split()
        if inspect.isclass(thing := getattr(importlib.import_module(module), name)) or inspect.isfunction(thing)
        if f'id="{module}.{name}"' not in page
    ]
    assert missing == []


@pytest.mark.parametrize("page", pages.PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = pages.read(page)
    for link in pages.links(text):
        name, _, anchor = link.partition("#")
        target = ((pages.ROOT / page).parent / name).resolve() if name else pages.ROOT / page
        assert target.is_file(), f"{page}: {link}"  # a folder is no page of the site
        if anchor:
            assert anchor in pages.anchors(target.read_text(encoding="utf-8")), f"{page}: {link}"


def test_anchors_are_those_of_a_git_host() -> None:
    text = "# A\n## Add a method in 40 lines\n## Add a method in 40 lines\n### `STL`, f_T & [x](y)\n```\n# no\n```\n"
    assert pages.anchors(text) == {
        "a",
        "add-a-method-in-40-lines",
        "add-a-method-in-40-lines-1",
        "stl-f_t--x",
    }
