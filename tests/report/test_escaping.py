"""Whatever a file says is text on the page."""

import json
import re
from pathlib import Path

import pytest

import covary.report.page
from covary.private import visible, without_paths
from covary.report import report
from tests.report.folders import METRICS, result, run_folder
from tests.report.pages import Page

HOSTILE = "</title></style><script>x</script><img src=x onerror=y>\"' {{ 7*7 }} \u202e\u2028$\\frac{$"


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    name = HOSTILE.replace("/", "\\")
    results = [result(HOSTILE, data=HOSTILE, protocol=HOSTILE, source=HOSTILE, metrics={HOSTILE: 1.0})]
    folder = run_folder(tmp_path / name, results=results, data=HOSTILE, encoder={HOSTILE: [HOSTILE]})
    (folder / "metrics.jsonl").write_text(json.dumps({**METRICS[0], HOSTILE: 1.0}) + "\n")
    page = Page(report([folder, run_folder(tmp_path / "b")], tmp_path / "report.html", tmp_path / "figures"))
    assert {tag for tag, _ in page.tags} & {"script", "iframe", "object", "link", "base", "form"} == set()
    assert [key for _, given in page.tags for key in given if key.startswith("on")] == []
    shown = HOSTILE.replace("\u202e", r"\u202e").replace("\u2028", r"\u2028")
    assert shown in page.text
    assert "\u202e" not in (tmp_path / "report.html").read_text()


def test_a_page_loads_nothing(tmp_path: Path) -> None:
    page = Page(report(run_folder(tmp_path / "a"), tmp_path / "report.html"))
    policies = [given["content"] for tag, given in page.tags if given.get("http-equiv") == "Content-Security-Policy"]
    assert policies == [
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    ]
    addresses = [given[key] for _, given in page.tags for key in ("src", "srcset", "href") if key in given]
    assert addresses
    assert [each for each in addresses if not str(each).startswith(("data:image/", "#"))] == []


def test_the_template_marks_nothing_as_safe() -> None:
    folder = Path(covary.report.page.__file__).parent
    assert re.search(r"\|\s*safe\b|autoescape", (folder / "page.html").read_text()) is None
    users = [file.name for file in folder.glob("*.py") if "Markup(" in file.read_text()]
    assert users == ["page.py"]
    assert (folder / "page.py").read_text().count("Markup(") == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\u202eb\u2066\u200b", r"a\u202eb\u2066\u200b"),
        ("\ud800\x00\n\x85", r"\ud800\x00\n\x85"),
        ("grün 鳥 𝒙 e\u0301", "grün 鳥 𝒙 e\u0301"),
        ("\\u202e <b>", "\\u202e <b>"),
    ],
)
def test_what_is_not_seen_is_written_out(text: str, shown: str) -> None:
    assert visible(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("/home/jane/birds", "…/birds"),
        ("/home/jane/birds/", "…/birds"),
        ("~/birds", "…/birds"),
        ("/home/jane", "…"),
        ("/home/jane doe", "…"),
        ("/home/jane doe/birds", "…/birds"),
        ("of /home/jane doe/birds, seen", "of …/birds, seen"),
        ("of /home/jane to /srv/jane/x", "of … to …/x"),
        ("~", "…"),
        ("~jane", "…"),
        ("~jane/birds", "…/birds"),
        ("of ~jane/birds", "of …/birds"),
        ("wds:~jane/{0..9}.tar", "wds:…/{0..9}.tar"),
        (r"C:\Users\jane", "…"),
        (r"C:\Users\jane\birds", "C:…/birds"),
        (r"C:\Users\jane doe\my birds", "C:…/my birds"),
        (r"of C:\Users\jane doe\birds", "of C:…/birds"),
        ("of C:/Users/jane doe/birds", "of C:…/birds"),
        (r"of D:\data\jane\birds", "of D:…/birds"),
        (r"\\host\jane\birds", "…/birds"),
        (r"of \\host\jane\birds", "of …/birds"),
        ("of /home/jane", "of …"),
        ("wds:/srv/jane/{0..9}.tar", "wds:…/{0..9}.tar"),
        ("untrained:/srv/jane/run", "untrained:…/run"),
        ("wds:https://host.example/a/b.tar", "wds:https:…/b.tar"),
        ("see /srv/jane/x, then (/a/b)", "see …/x, then (…/b)"),
        *((text, text) for text in ("my/birds", "hf:user/set", "0.4/0.4", "and/or", "</script>", "s / 0.07")),
        *((text, text) for text in (r"\frac{a}{b}", r"a\u202eb\u2066", "~5 images", "x ~ y", "a: b")),
    ],
)
def test_absolute_paths_are_shortened(text: str, shown: str) -> None:
    assert without_paths({text: [text]}) == {shown: [shown]}
