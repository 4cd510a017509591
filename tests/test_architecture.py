"""The shape of the library as a test: layers, owners of outside things, public names, and that every setting loads."""

import ast
import dataclasses
import difflib
import importlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import covary
from covary import config
from covary.augment import TARGETS
from covary.data import native_size
from covary.errors import InputError
from covary.methods import BASES, METHODS
from covary.recipes import ABLATIONS, BASE_MODELS, NINE, RECIPES, SETTINGS, TARGET_SETS, start_run
from covary.run import Preset, Run

PACKAGE = Path(covary.__file__).parent
DOCS = PACKAGE.parent / "docs"
FILES = {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}

PUBLIC = {
    "covary": "__version__ augment evaluate losses methods pretrain reproduce",
    "covary.augment": (
        "AUGMIX_OPERATIONS COLUMNS JITTER_ORDERS PRESETS TARGETS AugMix ColorJitter Crop GaussianBlur Labels Recipe "
        "Rotation Solarize TurnedView apply boxes make_views preset sample turned_view"
    ),
    "covary.bench": ("Case Effort Entry Finding Goal Line PARTS Part Report SETTINGS Setting Spread bench markdown"),
    "covary.data": (
        "Batches Fit ImageStore Residence Split cache_root data_root features_folder load native_size normalization"
    ),
    "covary.evaluation": ("DetectionOptions FewShotOptions KnnOptions LinearOptions Options Result evaluate means"),
    "covary.explore": "explore",
    "covary.export": "FORMATS Exported export",
    "covary.losses": (
        "TURNS barlow_twins covariance info_nce moco_v3 negative_cosine normalized_mse same_or_not squared_error turns "
        "variance vicreg"
    ),
    "covary.methods": (
        "BASES BYOL ESSL METHODS SEN SIE STL AbstractConfig AbstractMethod AugSelf BarlowTwins Base CodeMover EquiMod "
        "LabelMover MoCo Mover Moves ReadsCodes SimCLR SimSiam VICReg load_method"
    ),
    "covary.report": "report",
    "covary.reproduction": "Column Line Measurement Number PAPER Printed Report SCALES Scale TABLES Table reproduce",
    "covary.nets": (
        "LinearHypernetwork LowRankHypernetwork Teacher buffers_agree build_encoder convert_batchnorm load_weights mlp"
    ),
}

# what only some files may import
OWNERS = {
    "torch.distributed": ("dist.py",),
    "tyro": ("cli/",),
    "matplotlib": ("draw/",),
    "rich": ("tracking.py", "data/progress.py"),
    "onnx": ("export/",),
    "onnxruntime": ("export/",),
}


def test_imports_go_downward_only() -> None:
    pytest.importorskip("importlinter")
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"],
        cwd=PACKAGE.parent,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "imports go downward only KEPT" in done.stdout


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names(module: str) -> None:
    exported = importlib.import_module(module)
    assert sorted(exported.__all__) == sorted(PUBLIC[module].split())
    assert [name for name in exported.__all__ if not hasattr(exported, name)] == []


@pytest.mark.parametrize("owned", OWNERS)
def test_outside_things_have_one_owner(owned: str) -> None:
    users = {file for file, tree in FILES.items() if any(_is_in(name, owned) for name in imported(tree))}
    assert users, f"nothing imports {owned}: the rule guards nothing"
    assert [user for user in users if not user.startswith(OWNERS[owned])] == []


def test_every_public_thing_has_a_docstring() -> None:
    assert [
        f"{file}: {name}"
        for file, tree in FILES.items()
        for name, node in public(tree)
        if ast.get_docstring(node) is None
    ] == []


def test_files_are_small() -> None:
    assert {file: lines for file in FILES if (lines := (PACKAGE / file).read_text().count("\n")) > 400} == {}


SETTINGS_OF = [
    (setting, method, preset) for setting in SETTINGS for method in METHODS for preset in METHODS[method].presets
]


@pytest.mark.parametrize(("setting", "method", "preset"), SETTINGS_OF)
def test_every_setting_loads_with_every_method_and_comes_back_from_json(
    setting: str, method: str, preset: Preset
) -> None:
    run, fixed = start_run(recipe=setting, method=method, preset=preset), SETTINGS[setting]
    assert run.method == METHODS[method].preset(preset)
    assert (run.encoder, run.epochs, run.data) == (fixed.encoder, fixed.epochs, fixed.data)
    assert run.augment.size == native_size(run.data)
    assert run.augment.partners == ("partners" in run.method.needs)
    assert (run.augment.turned is not None) == ("turned" in run.method.needs)
    assert config.from_json(Run, config.to_json(run)) == run


@pytest.mark.parametrize("recipe", [name for name, (_, row) in RECIPES.items() if row])
def test_every_row_of_a_table_loads_builds_and_comes_back_from_json(recipe: str) -> None:
    run, (setting, row) = start_run(recipe=recipe), RECIPES[recipe]
    assert row is not None
    assert (run.data, run.encoder, run.method.name) == (setting.data, setting.encoder, row.method)
    assert row.base is None or run.method.base == BASES[row.base]()
    assert row.targets is None or run.augment.targets == TARGETS[row.targets]
    assert run.augment.augmix.p == row.augmix
    assert ("augmix" in run.augment.aligned) == (run.augment.partners and (row.augmix or row.targets == "all"))
    assert all(getattr(run.method, option) == value for option, value in row.options.items())
    assert config.from_json(Run, config.to_json(run)) == run
    with torch.device("meta"):
        run.method.build(torch.nn.Identity(), 2048, run.augment)


def test_every_setting_has_the_rows_of_all_tables() -> None:
    assert [len(rows) for rows in (NINE, ABLATIONS, TARGET_SETS, BASE_MODELS)] == [9, 5, 12, 12]
    assert len(RECIPES) == len(SETTINGS) * (1 + 9 + 5 + 12 + 12)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_page_that_names_all_of_its_options(method: str) -> None:
    """A base's options are on the page of the base."""
    page = (DOCS / "methods" / f"{method}.md").read_text(encoding="utf-8")
    assert f"--method {method} " in page
    assert [field.name for field in dataclasses.fields(METHODS[method]) if f"`{field.name}`" not in page] == []
    assert f"| [`{method}`]({method}.md) |" in (DOCS / "methods" / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("method", METHODS)
def test_every_misspelt_option_is_refused_with_the_right_one(method: str) -> None:
    content = config.to_json(start_run(recipe="demo", method=method))
    for place in objects(content):
        for key in [key for key in place if key != "name"]:
            typo = misspelt(key, list(place))
            place[typo] = place[key]
            with pytest.raises(InputError) as caught:
                config.from_json(Run, content)
            assert f".{typo} is not a known option. Did you mean '{key}'?" in str(caught.value)
            del place[typo]
    config.from_json(Run, content)


@pytest.mark.parametrize("method", METHODS)
def test_every_option_of_a_wrong_type_is_refused_by_its_place(method: str) -> None:
    run = start_run(recipe="demo", method=method)
    content = config.to_json(run)
    for place in objects(content):
        for key, value in place.items():
            place[key] = {"no": "such value"}
            with pytest.raises(InputError, match=rf"^run\.(\w+\.)*{key}\b"):
                config.from_json(Run, content)
            place[key] = value
    assert config.from_json(Run, content) == run


def imported(tree: ast.Module) -> Iterator[str]:
    """Yield every module and name that a file imports, dotted, wherever in the file it does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Attribute):
            yield ast.unparse(node)


def public(tree: ast.Module) -> Iterator[tuple[str, ast.Module | ast.ClassDef | ast.FunctionDef]]:
    """Yield the module, its public classes and functions, and the public methods of those classes."""
    yield "module", tree
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield node.name, node
            if isinstance(node, ast.ClassDef):
                for member in node.body:
                    if isinstance(member, ast.FunctionDef) and not member.name.startswith("_"):
                        yield f"{node.name}.{member.name}", member


def objects(content: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a JSON object and those inside it."""
    yield content
    for value in content.values():
        if isinstance(value, dict):
            yield from objects(value)


def misspelt(key: str, known: list[str]) -> str:
    """Return the name with one letter doubled or lost, such that no other name is nearer."""
    candidates = [key[: i + 1] + key[i:] for i in range(len(key))] + [key[:i] + key[i + 1 :] for i in range(len(key))]
    return next(c for c in candidates if c not in known and difflib.get_close_matches(c, known, n=1) == [key])


def _is_in(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def test_fields_of_a_run_are_documented() -> None:
    """Each option's help is the docstring under its field."""
    undocumented = []
    for file, tree in FILES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef) and node.name in _configuration_classes():
                body = node.body
                undocumented += [
                    f"{file}: {node.name}.{ast.unparse(field.target)}"
                    for field, after in zip(body, [*body[1:], None], strict=True)
                    if isinstance(field, ast.AnnAssign)
                    and "ClassVar" not in ast.unparse(field.annotation)
                    and not (isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant))
                ]
    assert undocumented == []


def _configuration_classes() -> set[str]:
    """Return the names of ``Run`` and of every dataclass that a run is made of."""

    def inside(value: object) -> Iterator[str]:
        if dataclasses.is_dataclass(value):
            yield type(value).__name__
            for field in dataclasses.fields(value):
                yield from inside(getattr(value, field.name))

    return {name for method in METHODS for name in inside(start_run(recipe="demo", method=method))}
