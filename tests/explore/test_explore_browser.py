"""The page in a real Chromium, opened from the disk with the network off: clicks, keys, hovering, hostile names."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import covary.explore.maps
from covary.explore import explore
from covary.methods import METHODS, STL
from tests.evaluation.test_transform_tasks import finished_run
from tests.explore.conftest import array, content_of
from tests.tiny import small

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

from reliability.browser import FLAGS  # noqa: E402

CALL = "window.canary=document.title=1"
HOSTILE = (
    f"<img src=x onerror={CALL}>",
    f"\u202e<script>{CALL}<\u2215script>",
    f"'\" onfocus={CALL} \u05d0\u0628 $\\frac{{",
)


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An explorer of two runs with hostile names, of images with hostile names and classes."""
    folder, draw = tmp_path_factory.mktemp("hostile"), np.random.default_rng(0)
    for name in HOSTILE:
        (folder / "images" / name).mkdir(parents=True)
        for index in range(30):
            pixels = draw.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / name / f"{name}{index}.png")
    runs = [finished_run(folder / HOSTILE[0], small(STL)), finished_run(folder / HOSTILE[1], small(METHODS["simclr"]))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(covary.explore.maps, "has_umap", lambda: False)
        return explore(
            runs[0],
            compare=runs[1],
            data=str(folder / "images"),
            out=folder / "out",
            device="cpu",
            image_size=8,
            cache=tmp_path_factory.getbasetemp() / "stores",
        )


class Page:
    """The page in Chromium."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def all(self, css: str) -> list[Any]:
        return self.driver.find_elements("css selector", css)

    def one(self, css: str) -> Any:
        return self.driver.find_element("css selector", css)

    def text(self, css: str) -> str:
        return self.one(css).get_attribute("textContent")

    def run(self, script: str) -> Any:
        return self.driver.execute_script(f"return {script}")

    def open(self, tab: str) -> None:
        self.one(f"#tab-{tab}").click()
        assert self.one(f"#panel-{tab}").is_displayed()

    def requests(self) -> list[str]:
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if not all(programs):
        pytest.skip("chromium or chromedriver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = str(programs[0])
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for flag in FLAGS:
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(str(programs[1])))
    yield driver
    driver.quit()


@pytest.fixture
def page(chromium: Any, hostile: Path) -> Iterator[Page]:
    """The page at a phone's width; afterwards nothing ran, failed, or was asked for outside the folder."""
    size = {"width": 390, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    for log in ("browser", "performance"):
        chromium.get_log(log)
    chromium.get((hostile / "index.html").as_uri())
    page = Page(chromium)
    yield page
    assert [entry["message"] for entry in chromium.get_log("browser")] == []
    assert [url for url in page.requests() if not url.startswith(("data:", hostile.as_uri()))] == []
    assert page.run("window.canary") is None
    assert page.run("document.documentElement.scrollWidth - innerWidth") <= 0
    assert page.run("document.querySelectorAll('main script, iframe, [onerror], [onfocus], img').length") == 0


def test_the_analogy_shows_the_ranks_of_the_data(page: Page, hostile: Path) -> None:
    content = content_of(hostile)
    for kind, example, variant, other in ((0, 0, 3, 2), (1, 4, 0, 5), (3, 7, 11, 0), (4, 2, 5, 3)):
        chosen = (kind, example, variant, other - (other > example))
        for group, item in zip(page.all("#panel-analogy [role=radiogroup]"), chosen, strict=True):
            group.find_elements("css selector", "button")[item].click()
        found = content["runs"][0]["analogies"][content["kinds"][kind]["name"]]
        better = array(found["better"], "u1", 12, 12, 12)[example, other, variant]
        assert page.text("#panel-analogy .rank").startswith(f"Rank {better + 1} of 12")
        order = array(found["order"], "u1", 12, 12, 12, 12)[example, other, variant]
        tags = [each.get_attribute("textContent") for each in page.all("#panel-analogy .views .tag")]
        assert tags.index("nearest, true one" if better == 0 else "true one") == order.tolist().index(variant)
        partners = "are partners here" in page.text("#panel-analogy .result")
        assert partners == (example ^ 1 == other)


def test_the_slider_moves_by_keys(page: Page, hostile: Path) -> None:
    page.open("orbit")
    content = content_of(hostile)
    page.all("#panel-orbit .words button")[3].click()
    slider = page.one("#slider")
    assert slider.get_attribute("aria-valuetext") == "+0 degrees"
    slider.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert page.text("output") == content["orbits"][3]["values"][10] == "+8 degrees"
    assert len(page.all("#panel-orbit .line.predicted")) == 2
    away = array(content["runs"][0]["orbits"]["rotation"]["away"], "f4", 12, 17)[0, 10]
    assert f"from the image as it is: {away:.2f}" in page.text("#panel-orbit .charts")
    now = page.run("[...document.querySelectorAll('#panel-orbit .dot.now')].length")
    assert now == 4
    page.all("#runs button")[1].click()
    assert page.all("#panel-orbit .line.predicted") == []
    assert "Nothing is predicted here" in page.text("#panel-orbit")


def test_the_map_answers_to_mouse_and_keys(page: Page, hostile: Path) -> None:
    page.open("map")
    content = content_of(hostile)
    names, classes = content["images"]["names"], content["classes"]
    canvas = page.all(".map canvas")[1]
    width, height = canvas.size["width"], canvas.size["height"]
    points = array(content["runs"][0]["images"]["planes"]["PCA"], "u2", len(names), 2).astype(float)
    scale = 0.94 * min(width, height) / 65536
    alone = max(range(len(names)), key=lambda i: np.sort(np.abs(points - points[i]).sum(axis=1))[1])
    right, down = (points[alone] - 32768) * scale * [1, -1]
    page.driver.execute_script("arguments[0].scrollIntoView()", canvas)
    ActionChains(page.driver).move_to_element_with_offset(canvas, round(right), round(down)).perform()
    labels = array(content["images"]["labels"], "i4", len(names))
    assert page.text(".rested p") == f"{names[alone]}, {classes[labels[alone]]}"
    assert page.text(".rested bdi") == names[alone]
    ActionChains(page.driver).click().perform()
    near = array(content["runs"][0]["images"]["neighbours"], "i4", len(names), 8)[alone].tolist()
    shown = [each.get_attribute("aria-label") for each in page.all(".chosen .neighbours .picture")]
    assert shown == [names[i] for i in near]
    alike = sum(labels[i] == labels[alone] for i in near)
    assert page.text(".chosen .soft").startswith(f"{alike} of 8 are of its class")

    canvas.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_UP, "+", "+", Keys.ENTER, "0")
    assert page.text(".chosen h3").startswith("Nearest to ")
    canvas.send_keys(Keys.ESCAPE)
    assert page.all(".chosen h3") == []
    canvas.send_keys(Keys.ENTER)
    page.all(".key button")[1].click()
    assert page.all(".key button")[1].get_attribute("aria-pressed") == "true"
    page.all("#panel-map .words")[0].find_elements("css selector", "button")[1].click()
    canvas.send_keys(Keys.ARROW_RIGHT)
    assert len(page.all(".rested .picture")) == 2
    page.all("#panel-map .words")[2].find_elements("css selector", "button")[1].click()
    assert [each.text for each in page.all(".key button")] == content["changes"]["quarters"]


def test_two_runs_are_compared_on_one_query(page: Page, hostile: Path) -> None:
    page.open("compare")
    content = content_of(hostile)
    assert [each.text for each in page.all("#panel-compare article h2")] == [run["name"] for run in content["runs"]]
    page.all("#panel-compare [role=radiogroup]")[3].find_elements("css selector", "button")[4].click()
    for article, run in zip(page.all("#panel-compare article"), content["runs"], strict=True):
        better = array(run["analogies"]["crop"]["better"], "u1", 12, 12, 12)[0, 5, 0]
        assert article.find_element("css selector", ".rank").text == f"Rank {better + 1} of 12."
        near = array(run["images"]["neighbours"], "i4", 18, 8)[5]
        shown = article.find_elements("css selector", ".neighbours .picture")
        assert [each.get_attribute("aria-label") for each in shown] == [content["images"]["names"][i] for i in near]


def test_keys_alone_reach_every_panel_and_choice(page: Page) -> None:
    page.one("#tab-analogy").send_keys(Keys.ARROW_RIGHT)
    assert page.one("#panel-orbit").is_displayed()
    page.one("#tab-orbit").send_keys(Keys.END)
    assert page.one("#panel-compare").is_displayed()
    page.one("#tab-compare").send_keys(Keys.HOME)
    page.one("#panel-analogy [role=radio][aria-checked=true]").send_keys(Keys.ARROW_RIGHT)
    focused = page.driver.switch_to.active_element
    assert (focused.text, focused.get_attribute("aria-checked")) == ("Colour", "true")
    unlabelled = "[...document.querySelectorAll('button, input, canvas:not([aria-hidden]), [role=img]')].filter(" \
        "each => !(each.getAttribute('aria-label') || each.textContent || each.labels?.length)).length"  # fmt: skip
    assert page.run(unlabelled) == 0


def test_hostile_names_are_text(page: Page, hostile: Path) -> None:
    shown = [name.replace("\u202e", r"\u202e") for name in HOSTILE]
    assert page.run("document.title") == f"covary explore: {shown[0]}, {shown[1]}"
    page.open("map")
    assert sorted(each.text.strip() for each in page.all(".key button")) == sorted(shown)
    assert all(any(name in text for name in shown) for text in content_of(hostile)["images"]["names"])
    assert content_of(hostile)["data"] == "…/images"
    assert str(hostile.parent) not in (hostile / "data.js").read_text()
    assert "\u202e" not in (hostile / "data.js").read_text()


def test_the_policy_allows_the_page_s_own_files_alone(hostile: Path) -> None:
    text = (hostile / "index.html").read_text()
    assert "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:" in text
    assert "http" not in text.replace("http-equiv", "")
    scripts = [file.read_text() for file in hostile.glob("*.js") if file.name != "data.js"]
    assert not any(word in script for script in scripts for word in ("fetch(", "XMLHttpRequest", "import(", "eval("))
