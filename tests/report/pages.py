"""A page read back: its text, its tables, its tags."""

from html.parser import HTMLParser
from pathlib import Path


class Page(HTMLParser):
    """The parts of a page that tests ask for.

    tables: rows of (text, title) of each table. text: all that is shown. tags: with their attributes. marked: the
    first cells of rows that differ.
    """

    def __init__(self, page: Path | str) -> None:
        super().__init__()
        self.tables: list[list[list[tuple[str, str | None]]]] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.marked: list[str] = []
        self.text = ""
        self._cell: str | None = None
        self._title: str | None = None
        self._differs = False
        self.feed(page.read_text(encoding="utf-8") if isinstance(page, Path) else page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append((tag, given))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
            self._differs = given.get("class") == "differs"
        elif tag in ("td", "th"):
            self._cell, self._title = "", given.get("title")

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th") and self._cell is not None:
            self.tables[-1][-1].append((self._cell, self._title))
            if self._differs and len(self.tables[-1][-1]) == 1:
                self.marked.append(self._cell)
            self._cell = None

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._cell is not None:
            self._cell += data

    def rows(self, name: str) -> list[list[tuple[str, str | None]]]:
        """Return the cells behind the first of every row of that name."""
        return [row[1:] for table in self.tables for row in table if row[0][0] == name]
