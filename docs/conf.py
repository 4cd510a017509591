"""The documentation site: the Markdown files of the repository as they lie there, and the API from docstrings.

``make docs`` builds it. Sources are files at the top of the repository and below ``docs/``, so that a link means the
same on the site and in a listing of the repository (``adr/0011-documentation.md``).
"""

import re
import sys
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from covary.version import __version__  # noqa: E402

project = "covary"
version = release = __version__
copyright = "the authors of covary, Apache-2.0"

extensions = ["myst_parser", "sphinx.ext.autodoc"]
include_patterns = ["*.md", "docs/**.md"]
exclude_patterns = [".*", "build", "covary", "tests", "runs"]
root_doc = "docs/index"
myst_heading_anchors = 4
highlight_language = "none"

autodoc_default_options = {"members": True, "undoc-members": True, "no-value": True}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
python_maximum_signature_line_length = 100
nitpick_ignore_regex = [
    ("py:.*", r"(?!covary\.).*"),  # other libraries: what they are is not known without a network
    ("py:class", r"covary\.methods\.\w+\.\w+"),  # the module that a configuration builds
]

html_theme = "furo"
html_title = "covary"
html_copy_source = False
html_show_sphinx = False
html_additional_pages = {"index": "redirect.html"}
templates_path = ["templates"]

ENTRY = re.compile(r'([a-z_]\w*(?:, [a-z_]\w*)*(?: "\w+")?): +(\S.*)')


def restructured(lines: list[str]) -> list[str]:
    """Return a docstring of ours as reStructuredText: ``name:  text`` as a definition, markup of prose escaped."""
    out: list[str] = []
    entry = literal = False
    for line in lines:
        found = ENTRY.fullmatch(line)
        if line[:1] not in ("", " "):  # a paragraph at the margin ends a block of literal lines
            literal = False
        if literal or not line:
            out.append(line)
        elif found and (entry or not out or not out[-1]):
            out += ["", f"``{found[1]}``", f"    {escaped(found[2])}"]
        elif entry and line.startswith(" "):
            out.append(f"    {escaped(line.strip())}")
        else:
            out += ["", escaped(line)] if entry else [escaped(line)]
        entry = bool(line) and not literal and (bool(found) or (entry and line.startswith(" ")))
        literal = literal or line.endswith("::")
    return out


def escaped(line: str) -> str:
    """Return a line of prose whose ``*``, ``|``, single backticks and trailing underscores are no markup."""
    parts = re.split(r"(``.*?``)", line)
    return "".join(part if part.startswith("``") else re.sub(r"([*|`\\]|_\b)", r"\\\1", part) for part in parts)


def setup(app: Sphinx) -> None:
    """Let autodoc read our docstrings."""

    def read(_app: Sphinx, what: str, _name: str, _thing: object, _options: object, lines: list[str]) -> None:
        if what != "module":
            lines[:] = [] if what == "data" else [*restructured(lines), ""]

    app.connect("autodoc-process-docstring", read)
