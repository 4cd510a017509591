"""``covary bench`` as a command."""

import json
from pathlib import Path

import pytest

from covary.bench import SETTINGS, Setting
from covary.cli import main

TINY = Setting(encoder="resnet8", stem="imagenet", size=16, batch=8)


def test_it_prints_what_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("covary.bench.settings.SETTINGS", {"tiny": TINY, **SETTINGS})
    monkeypatch.setattr("covary.bench.loop.STORE_BYTES", 0)
    options = ("--settings", "tiny", "--parts", "stages", "stl", "--precision", "fp32", "bf16", "--batch-size", "4")
    effort = ("--repeats", "1", "--block-seconds", "0", "--device", "cpu")
    assert main(["bench", "--out", str(tmp_path / "found.json"), *options, *effort]) == 0
    printed, said = capsys.readouterr()
    assert printed == (tmp_path / "found.md").read_text()
    entries = json.loads((tmp_path / "found.json").read_text())["entries"]
    expected = [(part, precision) for precision in ("fp32", "bf16") for part in ("stages", "stl")]
    assert [(entry["part"], entry["precision"]) for entry in entries] == expected
    assert len(said.splitlines()) == 2 * len(expected)
    assert said.startswith("1/4  tiny, batch 4, fp32, compile off: stages\n")


def test_a_mistake_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--out", str(tmp_path), "--settings", "resnet8@23"]) == 2
    line = capsys.readouterr().err
    assert line.startswith("covary: setting 'resnet8@23' is unknown; expected resnet8@32, ")
    assert line.endswith(" Did you mean 'resnet8@32'?\n")
    assert line.count("\n") == 1
