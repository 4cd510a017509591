"""A method from a user's own file: the example against its equations, and every mistake such a file can hold."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny import FEATURES, RECIPE, tiny_encoder, tiny_views
from twins import check_twin, features, naive_mlp, unit

from covary import config
from covary.errors import InputError
from covary.methods import METHODS, STL, AbstractConfig, AbstractMethod, load_method
from covary.run import choose_method

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_method.py"
GOOD = """
from dataclasses import dataclass
from typing import ClassVar
from covary.methods import AbstractConfig

@dataclass(frozen=True, kw_only=True)
class Mine(AbstractConfig):
    name: ClassVar[str] = "mine"
    weight: float = 2.0

    def build(self, encoder, features, recipe):
        return None
"""


def load(file: Path) -> type[AbstractConfig]:
    return load_method(str(file), known=METHODS)


def test_the_example_equals_its_equations() -> None:
    torch.manual_seed(0)
    settings: Any = load(EXAMPLE)(weight_uniform=0.7)  # type: ignore[call-arg]
    method: Any = settings.build(tiny_encoder(), FEATURES, RECIPE).double()
    assert isinstance(method, AbstractMethod)
    views = tiny_views(5)
    networks = dict(method.named_children())
    x, y = ([unit(row) for row in naive_mlp(method.projector, rows)] for rows in features(networks, views))
    pairs = [(i, j) for i in range(5) for j in range(5) if i != j]
    uniform = [
        torch.log(sum(torch.exp(-2 * ((z[i] - z[j]) ** 2).sum()) for i, j in pairs) / len(pairs)) for z in (x, y)
    ]
    expected = {
        "align": sum(((p - q) ** 2).sum() for p, q in zip(x, y, strict=True)) / 5,
        "uniform": (uniform[0] + uniform[1]) / 2,
    }
    check_twin(method, views, expected, {"align": 1.0, "uniform": 0.7})


def test_the_method_is_known_by_its_name_from_then_on(tmp_path: Path) -> None:
    file = tmp_path / "my_method.py"
    file.write_text(GOOD)
    mine: Any = load(file)
    saved = config.to_json(mine(weight=3.0))
    assert saved == {"name": "mine", "weight": 3.0}
    assert config.from_json(AbstractConfig, saved) == mine(weight=3.0)
    file.write_text(GOOD.replace("weight", "share"))  # edited between two calls
    edited: Any = load(file)
    assert config.from_json(AbstractConfig, {"name": "mine", "share": 1.0}) == edited(share=1.0)


def test_a_method_may_extend_another_and_have_two_names_in_its_file(tmp_path: Path) -> None:
    file = tmp_path / "extended.py"
    file.write_text(
        "from dataclasses import dataclass\nfrom typing import ClassVar\nfrom covary.methods import STL\n\n"
        "@dataclass(frozen=True, kw_only=True)\nclass Mine(STL):\n    name: ClassVar[str] = 'stl-extended'\n"
        "    more: float = 1.0\n\nConfig = Mine\n"
    )
    mine: Any = load(file)
    saved = config.to_json(mine(more=2.0))
    assert config.from_json(AbstractConfig, saved) == mine(more=2.0)
    assert choose_method(str(file), base="byol").name == "stl-extended"


WRONG = {
    "syntax": ("x = 1\ny = = 2\n", r", line 2: SyntaxError: invalid syntax \({name}, line 2\)"),
    "null bytes": ("x = 1\0", r", line 1: SyntaxError: source code (string )?cannot contain null bytes.*"),
    "import": ("import torch\n\nimport torhc\n", ", line 3: ModuleNotFoundError: No module named 'torhc'"),
    "value": ("def f():\n    raise ValueError('one\\n  two')\n\nf()\n", ", line 2: ValueError: one two"),
    "mutable": (
        GOOD.replace("(frozen=True, kw_only=True)", ""),
        ", line 6: TypeError: cannot inherit non-frozen dataclass from a frozen one",
    ),
    "other file": ("\nimport covary_broken_helper\n", ", line 2: SyntaxError: .*covary_broken_helper.py, line 4.*"),
    "none": (
        "from covary.methods import STL\n",
        " defines none; expected one subclass of covary.methods.AbstractConfig.",
    ),
    "two": (
        GOOD + "\nclass Second(Mine):\n    name = 'second'\n",
        " defines Mine, Second; expected one subclass of covary.methods.AbstractConfig.",
    ),
    "abstract": (GOOD.replace("build", "biuld"), ": Mine does not implement build."),
    "no name": (
        GOOD.replace('name: ClassVar[str] = "mine"', ""),
        r": Mine\.name is None; expected a name of its own, such as name: ClassVar\[str\] = 'mine'\.",
    ),
    "no dataclass": (
        GOOD.replace("@dataclass(frozen=True, kw_only=True)\n", ""),
        r": Mine is no dataclass; write @dataclass\(frozen=True, kw_only=True\) above it\.",
    ),
    "no default": (
        GOOD.replace("weight: float = 2.0", "weight: float"),
        r": Mine\.weight has no default; give it one\.",
    ),
    "needs misspelt": (
        GOOD.replace('"mine"', '"mine"\n    needs = frozenset({{"partner"}})').replace("{{", "{").replace("}}", "}"),
        r": Mine\.needs is frozenset\({{'partner'}}\); expected a frozenset of partners, labels, turned\.",
    ),
    "exit": ("raise SystemExit(3)\n", ", line 1: SystemExit: 3"),
    "name taken": (
        GOOD.replace('"mine"', '"stl"'),
        r": Mine\.name is 'stl'; expected a name of its own, such as name: ClassVar\[str\] = 'mine'\.",
    ),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_mistakes_in_the_file(mistake: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text, message = WRONG[mistake]
    (tmp_path / "covary_broken_helper.py").write_text("\n\n\nx = (\n")
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / f"wrong_{mistake.replace(' ', '_')}.py"
    file.write_text(text)
    with pytest.raises(InputError, match=rf"^method file {file}{message.format(name=file.name)}$") as caught:
        load(file)
    assert "\n" not in str(caught.value)
    # what was refused stands in the way of nothing
    assert config.from_json(AbstractConfig, config.to_json(STL(code=7))) == STL(code=7)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"^method '.*/none\.py' is no file; give a Python file, or the name of a"):
        load(tmp_path / "none.py")
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(InputError, match=r"folder\.py' is no file"):
        load(tmp_path / "folder.py")


def test_a_file_that_is_no_python(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text(GOOD)
    with pytest.raises(InputError, match=r"mine\.txt cannot be imported; give a Python file that ends in \.py\.$"):
        load(tmp_path / "mine.txt")


def test_a_configuration_without_a_name_of_its_own() -> None:
    class Variant(STL):
        pass

    with pytest.raises(InputError, match=r"^Variant\.name is 'stl'; expected a name of its own"):
        choose_method(Variant())
