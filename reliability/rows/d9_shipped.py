"""D9: what is shipped holds the library's files and no others, and importing it opens nothing and starts nothing.

torch is imported before the hook is set: it asks ldconfig for the libraries of CUDA in a process of its own.

The release tier also asks ``pip-audit`` for known faults of the versions in ``constraints.txt``; where its service
cannot be reached, that trial counts as one in which nothing was tested.
"""

import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from reliability.row import Count, Figure, Row, replaced

ROOT = Path(__file__).parents[2]
SHIPPED = ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
BESIDE = (
    "py.typed",
    "report/page.html",
    *(f"explore/{name}" for name in ("index.html", "explore.css", "parts.js", "map.js", "explore.js")),
)
INFO = ("METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt", "licenses/LICENSE")
EGG = ("PKG-INFO", "SOURCES.txt", "dependency_links.txt", "entry_points.txt", "requires.txt", "top_level.txt")
BUILD = "from setuptools import build_meta as b; b.build_wheel('..'); b.build_sdist('..')"
MODULES = ("covary", "covary.cli", "covary.data", "covary.evaluation", "covary.methods", "covary.training")
WATCH = """
import sys, torch
def hook(event, arguments):
    if event.split(".")[0] in ("socket", "subprocess", "pty") or event in ("os.system", "os.fork", "os.posix_spawn"):
        print(event, arguments, file=sys.stderr)
sys.addaudithook(hook)
"""


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Build both distributions, import the library, ask for known faults."""
    count = Count()
    parts: Sequence[Callable[[Path, Count], None]] = (ship, quiet, audit)
    for part in parts[:trials]:
        part(folder, count)
    return count.figure()


def ship(folder: Path, count: Count) -> None:
    """Build wheel and source distribution of a copy; compare their members with the library's files."""
    tree = folder / "tree"
    files = copy(tree)
    built = subprocess.run([sys.executable, "-c", BUILD], cwd=tree, capture_output=True, text=True)
    wheels, sources = list(folder.glob("*.whl")), list(folder.glob("*.tar.gz"))
    if built.returncode or len(wheels) != 1 or len(sources) != 1:
        count.add("build", held=False, fired=False, seen=built.stderr[-300:])
        return
    with zipfile.ZipFile(wheels[0]) as wheel, tarfile.open(sources[0]) as source:
        inside, members = set(wheel.namelist()), {member.name for member in source.getmembers() if member.isfile()}
    stem = sources[0].name.removesuffix(".tar.gz")
    packed = {*files, *(f"{stem}.dist-info/{name}" for name in INFO)}
    laid = {*files, *SHIPPED, *(f"covary.egg-info/{name}" for name in EGG), "PKG-INFO", "setup.cfg"}
    differ = (inside ^ packed) | (members ^ {f"{stem}/{name}" for name in laid})
    count.add("content", held=not differ, seen=sorted(differ))


def copy(tree: Path) -> set[str]:
    """Copy what is shipped; return the library's files."""
    shutil.copytree(ROOT / "covary", tree / "covary", ignore=shutil.ignore_patterns("__pycache__"))
    for name in SHIPPED:
        shutil.copy(ROOT / name, tree / name)
    files = {path.relative_to(tree).as_posix() for path in (tree / "covary").rglob("*.py")}
    return files | {f"covary/{name}" for name in BESIDE}


def copy_with_more(tree: Path) -> set[str]:
    """Copy what is shipped, and let the package claim a file that is none of it."""
    files = plain_copy(tree)
    (tree / "covary" / "notes.bin").write_bytes(b"x")
    project = (tree / "pyproject.toml").read_text()
    (tree / "pyproject.toml").write_text(project.replace('["py.typed"]', '["py.typed", "*.bin"]'))
    return files


plain_copy = copy


def quiet(folder: Path, count: Count) -> None:
    """Import every part of the library under an audit hook."""
    lines = [WATCH, *(f"import {module}" for module in MODULES), "print(len(sys.modules))"]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True)
    fired = done.returncode == 0 and int(done.stdout) > 100
    events = [line for line in done.stderr.splitlines() if line.startswith(("socket", "subprocess", "os.", "pty"))]
    count.add("import", held=not events, fired=fired, seen=events or done.stderr[-300:])


def audit(folder: Path, count: Count) -> None:
    """Ask for known faults of every version that the tests run with."""
    command = ["pip-audit", "-r", str(ROOT / "constraints.txt"), "--no-deps", "--disable-pip", "-f", "json"]
    path = shutil.which("pip-audit", path=str(Path(sys.executable).parent)) or shutil.which("pip-audit")
    if path is None:
        count.add("pip-audit", held=False, fired=False, seen="it is not installed")
        return
    done = subprocess.run([path, *command[1:]], capture_output=True, text=True)
    try:
        asked = json.loads(done.stdout)["dependencies"]
    except ValueError:
        count.add("pip-audit", held=False, fired=False, seen=f"not reached: {done.stderr[-200:]}")
        return
    known = [f"{each['name']} {each['version']}" for each in asked if each.get("vulns")]
    unknown = [each["name"] for each in asked if "skip_reason" in each]
    count.add("pip-audit", held=not known, fired=not unknown, seen=known or f"not reached for {len(unknown)} packages")


ROW = Row(
    id="D9",
    promise="The wheel holds the library alone; its import opens no connection and starts no process of its own",
    trials={"ci": 2, "release": 3},
    check=check,
    mutants={
        "another file in the package": replaced("reliability.rows.d9_shipped.copy", copy_with_more),
        "a process at import": replaced("reliability.rows.d9_shipped.MODULES", ("covary.version as v; v.commit()",)),
    },
    mutant_trials=2,
)
