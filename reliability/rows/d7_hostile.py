"""D7: text that would be a script is shown as text, in a real browser with the network off.

The texts stand in the folder's name, in run.json, metrics.jsonl and results; the report shows no EXIF.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

from covary.report import page as pages
from covary.report import report
from reliability.browser import Browser, Seen, browser
from reliability.folders import run_folder
from reliability.row import Count, Figure, Row, replaced

CALL = "window.canary=document.title=1"
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
TEXTS = (
    f"<script>{CALL}</script>",
    f"</script><script>{CALL}</script>",
    f"</title><script>{CALL}</script>",
    f"</style><script>{CALL}</script>",
    f"--><script>{CALL}</script><!--",
    f"]]><script>{CALL}</script>",
    f"</textarea></noscript><script>{CALL}</script>",
    f"</td></tr></table><script>{CALL}</script>",
    f"</code></pre></details><script>{CALL}</script>",
    f"<ScRiPt>{CALL}</sCrIpT>",
    f"<scr<script>ipt>{CALL}</scr</script>ipt>",
    f"<script\n>{CALL}</script\n>",
    "<script src=http://canary.invalid></script>",
    f'<img src=x onerror="{CALL}">',
    f"<img src=x onerror='{CALL}'>",
    f"<img/src/onerror={CALL}>",
    f'"><img src=x onerror={CALL}>',
    f"'><img src=x onerror={CALL}>",
    f'" autofocus tabindex=1 onfocus="{CALL}',
    f"' autofocus tabindex=1 onfocus='{CALL}",
    f'" onmouseover="{CALL}" style="position:fixed;inset:0',
    "<img src=http://canary.invalid>",
    f"<svg onload={CALL}>",
    f"<svg><script>{CALL}</script></svg>",
    f"<math><mtext><img src=x onerror={CALL}></mtext></math>",
    f"<body onload={CALL}>",
    f"<details open ontoggle={CALL}>",
    f'<iframe srcdoc="<script>parent.{CALL}</script>"></iframe>',
    f'<iframe src="javascript:parent.{CALL}"></iframe>',
    f"javascript:{CALL}",
    f"data:text/html,<script>{CALL}</script>",
    "<link rel=stylesheet href=http://canary.invalid>",
    "<style>@import url(http://canary.invalid);</style>",
    "<meta http-equiv=refresh content='0;url=http://canary.invalid'>",
    "<base href=http://canary.invalid>",
    "<form action=http://canary.invalid><input type=submit autofocus>",
    "{{ 7*7 }}{% raw %}{# &lt;script&gt; &#60;script&#62;",
    f"\u2028<script>{CALL}</script>\u2029",
    f"\u202e\u2066<script>{CALL}</script>\u2069\u200b",
    f"\ud83d\x00\x1b[31m<script>{CALL}</script>$\\frac{{$_^",
)


def check(trials: int, seed: int, folder: Path) -> Figure:
    """Write a run full of each text, report it, open the page and look for whatever ran, loaded or changed."""
    count, executed, requests = Count(), 0, 0
    with browser() as chromium:
        harmless = _open(chromium, folder / "harmless", "harmless").tags
        for number in range(trials):
            text = TEXTS[number]
            seen = _open(chromium, folder / str(number), text)
            amiss = dict(_amiss(seen, harmless))
            executed += seen.canary
            requests += len(seen.requests)
            count.add(repr(text), held=not amiss, fired=_core(text) in seen.text or bool(amiss), seen=amiss)
    return count.figure(executed=executed, requests=requests)


def _open(chromium: Browser, folder: Path, text: str) -> Seen:
    """Report a run whose texts and whose folder's name are ``text``; open the page."""
    folder.mkdir()
    name = text.replace("/", "\u2215").replace("\x00", "").encode(errors="ignore").decode()[:80] or "run"
    run = run_folder(folder / name, text=text, data=text, source=text)
    return chromium.open(report(run, folder / "report.html"))


def _amiss(seen: Seen, tags: int) -> Iterator[tuple[str, Any]]:
    """Yield what a page should not have, by name."""
    found = {
        "canary": seen.canary,
        "title": "" if seen.title.startswith("covary report: ") else seen.title,
        "elements": seen.tags - tags,
        "scripts": seen.scripts,
        "policy": "" if seen.policy.startswith(POLICY) else seen.policy or "none",
        "console": seen.console,
        "requests": seen.requests,
        "links": seen.links,
        "broken images": seen.broken,
        "wider than the window": max(0, seen.wider),
    }
    yield from ((name, value) for name, value in found.items() if value)


def _core(text: str) -> str:
    """Return the longest stretch of a text that a page shows as it is."""
    return max("".join(c if c.isprintable() else "\n" for c in text).split("\n"), key=len).strip()


def without_policy(*args: Any, **kwargs: Any) -> str:
    """Make the page without its content security policy."""
    return PAGE(*args, **kwargs).replace("Content-Security-Policy", "X-Nothing")


PAGE = pages.page
ENVIRONMENT = pages.jinja2.Environment

ROW = Row(
    id="D7",
    promise="Names, settings and results that hold HTML or scripts are text in a report: nothing runs or is asked for",
    trials={"ci": len(TEXTS), "release": len(TEXTS)},
    check=check,
    mutants={
        "no escaping": lambda: patch(
            "covary.report.page.jinja2.Environment", lambda **given: ENVIRONMENT(**{**given, "autoescape": False})
        ),
        "no policy": replaced("covary.report.command.page", without_policy),
    },
    mutant_trials=2,
)
