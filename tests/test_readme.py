"""Every command and every block of Python of the documentation: run, or held to the real options and names."""

import re
import shlex
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pages
import pytest
from PIL import Image, ImageDraw

import covary
from covary.cli import COMMANDS, main
from covary.evaluation import evaluate
from covary.methods import STL, SimCLR

# read from top to bottom: they make the runs that they use
WALKS = (
    "README.md",
    "docs/quick-start.md",
    "docs/own-images.md",
    "docs/guide.md",
    "docs/recipes.md",
    "docs/extending.md",
)
ELSEWHERE = ("docs/scale.md",)  # run by test_scale_page.py
CHECKED = [page for page in pages.PAGES if page not in pages.OF_THE_PAST]


def is_run(block: pages.Block) -> bool:
    return block.language in ("bash", "python") and not block.skipped


RUN_PAGES = [page for page in CHECKED if page not in ELSEWHERE and any(map(is_run, pages.blocks(pages.read(page))))]


def test_blocks_are_found() -> None:
    page = "text\n```bash\ncovary a \\\n  b  # c\ncovary d\n```\n<!-- not run: long -->\n```python\nx = 1\n```\n"
    assert list(pages.blocks(page)) == [
        pages.Block(language="bash", text="covary a \\\n  b  # c\ncovary d\n"),
        pages.Block(language="python", text="x = 1\n", skipped=True),
    ]
    assert list(pages.commands("covary a \\\n  'b c'  # d\ncovary e\n")) == [["covary", "a", "b c"], ["covary", "e"]]
    assert list(pages.commands("$ covary a \\\n  b\nprinted\n$ covary c\n")) == [["covary", "a", "b"], ["covary", "c"]]
    assert list(pages.mentioned("say `covary a --b` or\n\n    torchrun -m covary.cli c\n```\ncovary d\n```\n")) == [
        "torchrun -m covary.cli c",
        "covary a --b",
    ]


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photographs, and two runs on them, small but of the usual encoder."""
    folder = tmp_path_factory.mktemp("pages")
    photographs(folder / "my-photos")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("COVARY_CACHE", str(folder / "cache"))
        small: dict[str, Any] = {"encoder": "resnet18", "image_size": 16, "batch_size": 32, "epochs": 1}
        head = SimCLR(head_hidden=16, embedding=16)
        for name, method in (("stl", STL(base=head, code=8, code_hidden=16)), ("simclr", head)):
            run = covary.pretrain(data="my-photos", method=method, out=f"runs/{name}", **small)
            evaluate(run, data="my-photos", task="knn")
    shutil.rmtree(folder / "cache")
    return folder


@pytest.mark.parametrize("page", RUN_PAGES)
def test_a_page_runs(
    page: str, tmp_path: Path, trained: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(pages.ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(
        trained, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("runs") if page in WALKS else None
    )
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "page"}
    printed = ""
    for block in filter(is_run, pages.blocks(pages.read(page))):
        if block.language == "python":
            exec(compile(block.text, page, "exec"), names)
        else:
            for program, *given in pages.commands(block.text):
                assert program == "covary", f"a bash block of {page} calls {program}; mark it as console"
                code = main(given)
                out, err = capsys.readouterr()
                assert code == 0, f"{page}: covary {shlex.join(given)} ended with {code}: {err}"
                printed += out
    left = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert LEFT.get(page, set()) <= left
    if page in ("README.md", "docs/quick-start.md", "docs/own-images.md", "docs/guide.md"):
        assert "knn " in printed
        assert "top1" in printed


LEFT = {
    "README.md": {
        "runs/demo/figures/first-batch.png",
        "runs/photos/encoder.safetensors",
        "runs/photos/results/knn-my-photos.json",
        "runs/python/encoder.safetensors",
    },
    "docs/quick-start.md": {"runs/first/figures/first-batch.png", "runs/first/encoder.safetensors", "first.html"},
    "docs/own-images.md": {"runs/photos/figures/first-batch.png", "runs/photos/encoder.safetensors", "photos.html"},
    "docs/guide.md": {
        *(f"runs/photos/{name}" for name in ("run.json", "metrics.jsonl", "encoder.safetensors")),
        *("runs/photos/method.safetensors", "runs/photos/results/linear-my-photos.json", "untrained.json"),
        "runs/simclr/encoder.safetensors",
        "compared.html",
        "explored/index.html",
    },
    "docs/recipes.md": {"runs/mine/encoder.safetensors", "runs/demo/figures/first-batch.png"},
    "docs/report.md": {"compared.html", "figures/loss.svg"},
    "docs/export.md": {"stl.safetensors"},
}


@pytest.mark.parametrize("page", CHECKED)
def test_commands_that_are_not_run_have_options_that_there_are(page: str) -> None:
    text = pages.read(page)
    for block in pages.blocks(text):
        if block.language == "console" or (block.language == "bash" and page in ELSEWHERE):
            for words in pages.commands(block.text):
                check(words)
        elif not block.language:
            for line in re.sub(r"\\?\n +", " ", block.text).splitlines():
                if line.startswith("covary "):
                    check_usage(line)
    for command in pages.mentioned(text):
        if pages.is_usage(command):
            check_usage(command)
        else:
            check(shlex.split(command, comments=True), short=True)


def check(words: list[str], *, short: bool = False) -> None:
    """Parse a command of covary's; of others, look for the scripts and targets of this repository that they name.

    short: what stands in a sentence may leave out what has no default.
    """
    given = pages.arguments(words)
    if given is not None and not (short and len(given) == 1 and given[0] in COMMANDS):
        wrong = pages.parse_only(given)
        assert wrong is None or (short and "missing; there is no default" in wrong), f"{shlex.join(words)}: {wrong}"
    scripts = [word for word in words if re.fullmatch(r"(benchmarks|examples|docs)/\w+\.py", word)]
    assert [script for script in scripts if not (pages.ROOT / script).is_file()] == []
    if words[0] == "make":
        targets = re.findall(r"^([\w-]+):", (pages.ROOT / "Makefile").read_text(), flags=re.MULTILINE)
        assert set(words[1:2]) <= set(targets)


def check_usage(line: str) -> None:
    """Check that a synopsis names a command, and options of it."""
    name = line.split("covary ", 1)[1].split()[0]
    if name == "COMMAND":
        return
    assert name in COMMANDS, f"{line}: '{name}' is no command"
    known = options(name)
    for option in re.findall(r"--[a-z][a-z.-]*", line):
        assert option in known, f"{line}: {option} is no option of covary {name}"


@cache
def options(command: str) -> str:
    data = ("--data", "shapes") if command == "pretrain" else ()
    return pages.options_of(command, *data)


@pytest.mark.parametrize("page", [page for page in CHECKED if "```python" in pages.read(page)])
def test_python_that_is_not_run_names_what_there_is(page: str) -> None:
    for block in pages.blocks(pages.read(page)):
        if block.language == "python" and block.skipped:
            pages.check_names(block.text)


def test_the_checks_see_what_is_wrong() -> None:
    check(["covary", "pretrain", "--data", "a-folder", "--method", "stl", "--out", "x"])
    for wrong in (
        ["covary", "train"],
        ["covary", "report", "x", "--otu", "y"],
        ["make", "tea"],
        ["python", "docs/x.py"],
    ):
        with pytest.raises(AssertionError):
            check(wrong)
    check(["covary", "export", "RUN"], short=True)
    with pytest.raises(AssertionError, match="no option"):
        check_usage("covary export RUN --fromat torchvision|timm")
    pages.check_names("import covary\ncovary.evaluate('x', data='y')\n")
    with pytest.raises(AttributeError):
        pages.check_names("import covary\ncovary.evalute('x')\n")
    with pytest.raises(TypeError):
        pages.check_names("import covary\ncovary.evaluate('x', dat='y')\n")


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
