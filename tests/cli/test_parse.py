"""From words to dataclasses, and from tyro's boxes to one line."""

import os
from dataclasses import dataclass

import pytest

from covary.cli.parse import one_line, parse, peek
from covary.errors import InputError

UNKNOWN = """\
╭─ Unrecognized options ────────────────────╮
│ Unrecognized options: --epoch, 3          │
│ ───────────────────────────────────────── │
│ Perhaps you meant:                        │
│     --epochs, -e INT                      │
│         (default: 3)                      │
│ ───────────────────────────────────────── │
│ For full helptext, run covary --help      │
╰───────────────────────────────────────────╯
"""
MISSING = """\
 Required options
 -----------------------------
  Missing from covary:
      SOURCE
          What to look at. (required)
      --data STR
          (required)
  ----------------------------
  For full helptext, run:
      covary --help
"""


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: int = 1
    """Pixels."""

    def __post_init__(self) -> None:
        if self.size < 1:
            raise InputError(f"size is {self.size}; expected 1 or more.")


@dataclass(frozen=True, kw_only=True)
class Options:
    inner: Inner = Inner()
    rate: float = 0.5
    """Of learning."""


def parsed(*words: str) -> Options:
    return parse(Options, words, prog="covary x", description="Test.", default=Options())


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ((), None),
        (("--data", "a"), "a"),
        (("--data=a=b",), "a=b"),
        (("--data", "a", "--data", "b"), "b"),
        (("--data",), None),
        (("--database", "a"), None),
        (("--data_set", "a"), None),
        (("x", "--data", "--out"), "--out"),
    ],
)
def test_peek(words: tuple[str, ...], value: str | None) -> None:
    assert peek(words, "--data") == value


@pytest.mark.parametrize("words", [("--image-size", "8"), ("--image_size", "8"), ("--image_size=8",)])
def test_peek_reads_what_tyro_reads(words: tuple[str, ...]) -> None:
    assert peek(words, "--image-size") == "8"


def test_one_line_of_boxed_and_of_ruled_complaints() -> None:
    assert one_line(UNKNOWN) == "Unknown option: --epoch 3. Did you mean --epochs?"
    assert one_line(MISSING) == "SOURCE and --data are missing; there is no default."
    assert one_line("") == ""


@pytest.mark.parametrize("columns", [None, "20", "80"])
@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--rate", "x"), "--rate is 'x'; expected a number."),
        (("--inner.size", "1.5"), "--inner.size is '1.5'; expected a whole number."),
        (("--inner.size", "0"), "size is 0; expected 1 or more."),
        (("--inner.sise", "2"), "Unknown option: --inner.sise 2. Did you mean --inner.size?"),
        (("--rate", "/" + "long/" * 60), f"--rate is '/{'long/' * 60}'; expected a number."),
    ],
)
def test_a_complaint_is_the_same_line_at_any_width(
    monkeypatch: pytest.MonkeyPatch, columns: str | None, words: tuple[str, ...], line: str
) -> None:
    if columns is None:
        monkeypatch.delenv("COLUMNS", raising=False)
    else:
        monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(InputError) as caught:
        parsed(*words)
    assert str(caught.value) == line
    assert os.environ.get("COLUMNS") == columns


def test_right_words_become_values() -> None:
    assert parsed("--inner.size", "3", "--rate", "0.1") == Options(inner=Inner(size=3), rate=0.1)


def test_help_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parsed("--help")
    assert stop.value.code == 0
    assert "Of learning." in capsys.readouterr().out
