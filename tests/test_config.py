"""Configuration to JSON and back: exact, and strict about every key and type."""

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import pytest

from covary.config import differences, from_json, to_json
from covary.errors import InputError


class Figure(ABC):
    """What the kinds of this file share.

    A kind finds its classes by itself, and a class lives until the garbage collector comes by: a test that defines
    classes starts from a kind of its own, so that no other test meets them.
    """

    name: ClassVar[str]

    @abstractmethod
    def area(self) -> float: ...


class Shape(Figure):
    """The kind of the drawing below."""


@dataclass(frozen=True, kw_only=True)
class Circle(Shape):
    name: ClassVar[str] = "circle"
    radius: float = 1.0

    def area(self) -> float:
        return 3.14 * self.radius**2


class Cornered(Shape):
    """A kind of kinds: between the two, and no shape itself."""


@dataclass(frozen=True, kw_only=True)
class Square(Cornered):
    name: ClassVar[str] = "square"
    side: int = 2
    label: str | None = None

    def area(self) -> float:
        return self.side**2


@dataclass(frozen=True, kw_only=True)
class Drawing:
    shape: Shape = field(default_factory=Circle)
    colour: Literal["red", "blue"] = "red"
    span: tuple[float, float] = (0.2, 1.0)
    tags: tuple[Literal["a", "b"], ...] = ()
    filled: bool = False


@pytest.mark.parametrize(
    "drawing",
    [
        Drawing(),
        Drawing(shape=Square(side=3, label="x"), colour="blue", span=(1 / 3, 2.0), tags=("b", "a"), filled=True),
    ],
)
def test_round_trip_is_exact(drawing: Drawing) -> None:
    assert from_json(Drawing, json.loads(json.dumps(to_json(drawing)))) == drawing


def square(*, module: str, parent: type[Figure], **fields: type) -> type[Figure]:
    """A class of that module whose name is 'square', with those options."""
    body = {"name": "square", "area": Square.area, "__module__": module, "__annotations__": fields}
    return dataclass(frozen=True, kw_only=True)(type("Own", (parent,), body))


def test_of_two_classes_of_one_name_the_later_is_taken_but_never_for_one_of_the_library() -> None:
    class Ours(Figure):
        pass

    first = square(module=f"{__name__}.cell", parent=Ours, angle=int)
    assert from_json(Ours, {"name": "square", "angle": 1}) == first(angle=1)  # type: ignore[call-arg]
    second = square(module=f"{__name__}.cell", parent=Ours, turn=int)
    assert from_json(Ours, {"name": "square", "turn": 1}) == second(turn=1)  # type: ignore[call-arg]
    third = square(module="elsewhere", parent=Ours, angle=int)
    assert from_json(Ours, {"name": "square", "turn": 1}) == second(turn=1)  # type: ignore[call-arg]
    assert third is not None


def test_a_class_of_a_concrete_one_is_found_and_one_without_a_name_passed_over() -> None:
    class Kind(Figure):
        pass

    @dataclass(frozen=True, kw_only=True)
    class Disc(Kind):
        name: ClassVar[str] = "disc"
        radius: float = 1.0

        def area(self) -> float:
            return 3.14 * self.radius**2

    @dataclass(frozen=True, kw_only=True)
    class Ellipse(Disc):
        name: ClassVar[str] = "ellipse"
        height: float = 2.0

    class Nameless(Kind):
        def area(self) -> float:
            return 0.0

    assert from_json(Kind, {"name": "ellipse", "radius": 1.0, "height": 3.0}) == Ellipse(height=3.0)
    with pytest.raises(InputError, match=r"run\.name is None; expected one of disc, ellipse\.$"):
        from_json(Kind, to_json(Nameless()))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"color": "red"}, "run.color is not a known option. Did you mean 'colour'?"),
        ({"colour": "green"}, "run.colour is 'green'; expected one of 'red', 'blue'."),
        ({"filled": 1}, "run.filled is 1; expected bool."),
        ({"span": [1.0]}, "run.span has 1 values; expected 2."),
        ({"span": "ab"}, "run.span is 'ab'; expected a list."),
        ({"tags": ["a", "c"]}, "run.tags[1] is 'c'; expected one of 'a', 'b'."),
        (
            {"shape": {"name": "sqare"}},
            "run.shape.name is 'sqare'; expected one of circle, square. Did you mean 'square'?",
        ),
        ({"shape": {"name": "square", "side": 2.5, "label": None}}, "run.shape.side is 2.5; expected int."),
        ({"shape": {"name": "square", "side": True, "label": None}}, "run.shape.side is True; expected int."),
        (
            {"shape": {"name": "square", "side": 1}},
            "run.shape.label is missing; a saved configuration holds every field.",
        ),
        ({"shape": 3}, "run.shape.name is None; expected one of circle, square."),
    ],
)
def test_refuses_with_one_line(change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError) as caught:
        from_json(Drawing, {**to_json(Drawing()), **change})
    assert str(caught.value) == message


def test_whole_numbers_are_accepted_as_floats() -> None:
    drawing = from_json(Drawing, {**to_json(Drawing()), "span": [0, 2]})
    assert drawing.span == (0.0, 2.0)
    assert all(type(end) is float for end in drawing.span)


def test_differences_name_every_changed_leaf() -> None:
    old, new = to_json(Drawing()), to_json(Drawing(shape=Square(), filled=True))
    assert differences(old, new) == [
        "shape.name: circle -> square",
        "shape.radius: 1.0 -> absent",
        "shape.side: absent -> 2",
        "shape.label: absent -> None",
        "filled: False -> True",
    ]
    assert differences(old, old) == []
