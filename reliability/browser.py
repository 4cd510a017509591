"""A real Chromium that opens pages from the disk, and what it saw: scripts, errors, requests."""

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from selenium import webdriver

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"),
    "--host-resolver-rules=MAP * ~NOTFOUND",  # the network is off
)
STATE = """
return {
  title: document.title,
  canary: window.canary === undefined ? 0 : 1,
  scripts: document.querySelectorAll(
    'script, iframe, object, embed, base, form, link, [onerror], [onload], [onclick], [onfocus]').length,
  tags: document.querySelectorAll('*').length,
  policy: (document.querySelector('meta[http-equiv="Content-Security-Policy"]') || {}).content || '',
  broken: [...document.images].filter(each => !each.complete || !each.naturalWidth).length,
  images: document.images.length,
  links: [...document.querySelectorAll('a')].filter(each => !each.getAttribute('href').startsWith('#')).length,
  width: document.documentElement.scrollWidth - window.innerWidth,
  text: document.body.innerText,
};
"""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """A page as the browser has it.

    title, text:  shown.
    canary:       whether a script of the page set ``window.canary``, or opened a dialog.
    scripts:      elements and attributes that run or load something.
    tags:         elements.
    policy:       the content security policy.
    broken:       images that could not be drawn, of ``images``.
    links:        links that lead out of the page.
    wider:        pixels by which the page is wider than the window.
    console:      lines of the console: errors, violations of the policy.
    requests:     addresses other than the page and data that it asked for.
    """

    title: str
    text: str
    canary: bool
    scripts: int
    tags: int
    policy: str
    broken: int
    images: int
    links: int
    wider: int
    console: tuple[str, ...]
    requests: tuple[str, ...]


class Browser:
    """Opens pages, one after the other."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self._driver = driver
        driver.set_page_load_timeout(20)
        driver.get("about:blank")

    def open(self, page: Path, *, width: int = 390) -> Seen:
        """Open a file in a window of a phone's width and return what is seen."""
        driver = self._driver
        driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False},
        )
        for log in ("performance", "browser"):  # what came before is not the page's
            driver.get_log(log)
        driver.get(page.as_uri())
        state = driver.execute_script(STATE)
        console = tuple(str(entry["message"]) for entry in driver.get_log("browser"))
        return Seen(
            title=state["title"],
            text=state["text"],
            canary=bool(state["canary"]),
            scripts=state["scripts"],
            tags=state["tags"],
            policy=state["policy"],
            broken=state["broken"],
            images=state["images"],
            links=state["links"],
            wider=state["width"],
            console=console,
            requests=tuple(self._requests(page.as_uri())),
        )

    def _requests(self, page: str) -> Iterator[str]:
        for entry in self._driver.get_log("performance"):
            event = json.loads(entry["message"])["message"]
            if event["method"] in ("Network.requestWillBeSent", "Network.webSocketCreated"):
                address = event["params"].get("request", event["params"])["url"]
                if not address.startswith(("data:", "chrome:")) and address != page:  # chrome: is the browser's own
                    yield address


@contextmanager
def browser() -> Iterator[Browser]:
    """Start Chromium with an empty profile, for a block.

    Raises FileNotFoundError: chromium or chromedriver is not installed; ``make browser`` installs them.
    """
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if not all(programs):
        raise FileNotFoundError("chromium and chromedriver are not installed; make browser installs them")
    options = webdriver.ChromeOptions()
    options.binary_location = str(programs[0])
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    options.set_capability("unhandledPromptBehavior", "dismiss")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(programs[1])))
        try:
            yield Browser(driver)
        finally:
            driver.quit()
