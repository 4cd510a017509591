"""A report as Markdown and as a page: every number, nothing of a name taken for markup, nothing loaded."""

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from covary.reproduction import Column, Measurement, Number, Printed, Report
from covary.reproduction.measuring import UNTRAINED
from covary.reproduction.render import STYLE, markdown, page
from covary.reproduction.report import CHANCE, OURS, PAPER, Line

HOSTILE = '<script>alert("x")</script> | *a* _b_ [c](d) `e` &amp; \n # f'


def column(name: str, **more: object) -> Column:
    measured = (Measurement(task="linear", data="a", metric="accuracy"),)
    return replace(Column(name=name, measured=measured, paper=name), **more)


def number(value: float, std: float | None = None) -> Number:
    return Number(value=value, std=std, seeds=(value,))


REPORT = Report(
    table="table5",
    title="Title",
    scale="demo",
    facts={"encoder": "resnet8"},
    columns=(column("MSE", best="low"), column("accuracy", digits=2)),
    lines=(
        Line(row="stl", whose=OURS, numbers={"MSE": number(0.0214), "accuracy": number(93.456, 0.789)}),
        Line(row="stl", whose=PAPER, numbers={"MSE": Printed(0.02), "accuracy": Printed(93.67, 0.1)}),
        Line(row="sen", whose=OURS, numbers={"MSE": number(0.1), "accuracy": number(93.459)}),
        Line(row="sen", whose=PAPER, numbers={"accuracy": Printed(10.0)}),
        Line(row=UNTRAINED, whose=OURS, numbers={"MSE": number(0.001), "accuracy": number(99.0)}),
        Line(row=CHANCE, whose=OURS, numbers={"accuracy": number(20.0)}),
    ),
    order={"accuracy": -0.5},
    deviations=("epochs: 200 -> 8",),
    notes=(),
    protocols=("linear, a: how",),
)


class Page(HTMLParser):
    """Tags, attributes and the text of every cell."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta",):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data


def test_the_markdown_table_has_every_number_and_the_best_of_ours_and_of_the_paper_s_bold() -> None:
    assert markdown(REPORT).splitlines()[4:13] == [
        "| row |  | MSE | accuracy |",
        "| --- | --- | --: | --: |",
        "| stl | ours | **0.021** | **93.46 ± 0.79** |",
        "|  | paper | 0.02 | **93.67 ± 0.10** |",
        "| sen | ours | 0.100 | **93.46** |",
        "|  | paper | – | 10.00 |",
        "| untrained |  | 0.001 | 99.00 |",
        "| chance |  | – | 20.00 |",
        "| order of rows | Spearman | – | -0.50 |",
    ]


def test_the_page_has_the_same_table() -> None:
    rows = [
        [cell.strip().replace("*", "") for cell in line.split("|")[1:-1]]
        for line in markdown(REPORT).splitlines()[4:13]
    ]
    found = Page(page(REPORT))
    assert found.rows == [rows[0], *rows[2:]]
    assert found.open == []


def test_scale_facts_and_deviations_are_said() -> None:
    for text in (markdown(REPORT), Page(page(REPORT)).text):
        for said in ("table5 at scale demo: Title", "resnet8", "epochs: 200 -> 8", "linear, a: how"):
            assert said in text
        assert "Notes" not in text


def test_the_page_stands_alone_in_light_and_dark() -> None:
    found = Page(page(REPORT))
    assert not {"script", "link", "img", "iframe"} & set(found.tags)
    assert {name for name, _ in found.attributes} == {"lang", "charset", "name", "content", "class"}
    assert "prefers-color-scheme: dark" in STYLE
    assert "url(" not in STYLE


@pytest.mark.parametrize("place", ["row", "column", "fact", "deviation", "protocol", "title"])
def test_hostile_names_are_shown_as_they_are(place: str) -> None:
    report = {
        "row": replace(REPORT, lines=(replace(REPORT.lines[0], row=HOSTILE), *REPORT.lines[1:])),
        "column": replace(REPORT, columns=(*REPORT.columns, column(HOSTILE))),
        "fact": replace(REPORT, facts={HOSTILE: HOSTILE}),
        "deviation": replace(REPORT, deviations=(HOSTILE,)),
        "protocol": replace(REPORT, protocols=(HOSTILE,)),
        "title": replace(REPORT, title=HOSTILE),
    }[place]
    found, plain = Page(page(report)), Page(page(REPORT))
    assert "script" not in found.tags
    assert found.open == []
    assert HOSTILE in found.text
    text = markdown(report)
    shown = r'\<script>alert("x")\</script> \| \*a\* \_b\_ \[c\](d) \`e\` \&amp; \# f'
    assert shown in text
    assert "<script" not in text.replace(r"\<script", "")
    assert len(text.splitlines()) == len(markdown(REPORT).splitlines())
    assert len(found.tags) - len(plain.tags) in (0, len(REPORT.lines) + 2)  # a column is a cell more in each line
