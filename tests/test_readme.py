"""The commands and the Python of the pages, run as they stand, one after the other, beside a folder of photographs."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from covary.cli import main

ROOT = Path(__file__).parents[1]
RUN_PAGES = ("README.md", "docs/guide.md", "docs/recipes.md")
LINKED_PAGES = sorted(str(p.relative_to(ROOT)) for p in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_blocks_are_found() -> None:
    page = "text\n```bash\ncovary a \\\n  b  # c\ncovary d\n```\n```console\nmake x\n```\n```python\nx = 1\n```\n"
    assert list(blocks(page)) == [("bash", "covary a \\\n  b  # c\ncovary d\n"), ("python", "x = 1\n")]
    assert list(commands("covary a \\\n  'b c'  # d\ncovary e\n")) == [["covary", "a", "b c"], ["covary", "e"]]


@pytest.mark.parametrize("page", RUN_PAGES)
def test_a_page_runs(
    page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    photographs(tmp_path / "my-photos")
    monkeypatch.chdir(tmp_path)
    printed = ""
    for language, block in blocks((ROOT / page).read_text(encoding="utf-8")):
        if language == "python":
            exec(compile(block, page, "exec"), {"__name__": "page"})
        else:
            for program, *arguments in commands(block):
                assert program == "covary", f"a bash block of {page} calls {program}; mark it as console"
                code = main(arguments)
                out, err = capsys.readouterr()
                assert code == 0, f"{page}: covary {shlex.join(arguments)} ended with {code}: {err}"
                printed += out
    left = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert {
        "README.md": {
            "runs/demo/figures/first-batch.png",
            "runs/photos/encoder.safetensors",
            "runs/photos/results/knn-my-photos.json",
            "runs/python/encoder.safetensors",
        },
        "docs/guide.md": {
            *(f"runs/photos/{name}" for name in ("run.json", "metrics.jsonl", "encoder.safetensors")),
            *("runs/photos/method.safetensors", "runs/photos/results/linear-my-photos.json", "untrained.json"),
            "runs/simclr/encoder.safetensors",
            "compared.html",
            "explored/index.html",
        },
        "docs/recipes.md": {"runs/mine/encoder.safetensors", "runs/demo/figures/first-batch.png"},
    }[page] <= left
    assert ("knn " in printed and "top1" in printed) == (page != "docs/recipes.md")


@pytest.mark.parametrize("page", LINKED_PAGES)
def test_links_lead_to_files(page: str) -> None:
    text = re.sub(r"```.*?```", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert [link for link in links if not ((ROOT / page).parent / link).exists()] == []


def blocks(page: str) -> Iterator[tuple[str, str]]:
    """Yield language and text of a page's blocks that are meant to be run: bash and python."""
    for match in re.finditer(r"^```(bash|python)\n(.*?)^```$", page, flags=re.MULTILINE | re.DOTALL):
        yield match[1], match[2]


def commands(block: str) -> Iterator[list[str]]:
    """Yield the words of each command of a bash block."""
    for line in block.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def photographs(folder: Path) -> None:
    """Write 80 JPEGs of mixed sizes in four class folders."""
    draw = np.random.default_rng(0)
    for name in ("bird", "cat", "dog", "fish"):
        (folder / name).mkdir(parents=True)
        for index in range(20):
            width, height = draw.integers(40, 100, 2).tolist()
            image = Image.new("RGB", (width, height), tuple(draw.integers(0, 256, 3).tolist()))
            corner = draw.integers(0, 20, 2).tolist()
            ImageDraw.Draw(image).ellipse(
                (*corner, width // 2, height // 2), fill=tuple(draw.integers(0, 256, 3).tolist())
            )
            image.save(folder / name / f"{index}.jpg")
