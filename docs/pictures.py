"""The README's picture of a report, made by covary and a headless Chromium: ``python -m docs.pictures FOLDER``.

In FOLDER SimCLR and STL are trained by the recipe demo, evaluated, each beside its untrained network: some ten minutes
on one core. What is there already is not done again.
"""

import io
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from selenium import webdriver

import covary
from covary.report import report
from reliability.browser import FLAGS

IMAGES = Path(__file__).parent / "images"
METHODS, DATA, TASKS = ("simclr", "stl"), "shapes", ("knn", "linear")
PARTS, WIDTH = {"Results": 236, "Training": 364}, 940  # pixels of the page below these headings
COLOURS = 128  # of the picture, which keeps it small


def trained(folder: Path, method: str) -> Path:
    """Return the run of a method; train and evaluate it where that was not done."""
    run = covary.pretrain(recipe="demo", method=method, out=folder / method)
    untrained = run / "results" / "untrained.json"
    if not untrained.is_file():
        covary.evaluate(run, data=DATA, task=TASKS)
        covary.evaluate(f"untrained:{run}", data=DATA, task=TASKS, out=untrained)
    return run


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """Start Chromium with an empty profile and without a network, for a block."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for flag in (*FLAGS, "--hide-scrollbars", f"--user-data-dir={profile}"):
            options.add_argument(flag)
        driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        try:
            yield driver
        finally:
            driver.quit()


def seen(driver: webdriver.Chrome, page: Path, heading: str, height: int) -> Image.Image:
    """Return what a window of some height shows of a page below one of its headings."""
    size = {"width": WIDTH, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    driver.get(page.as_uri())
    driver.execute_script(
        "[...document.querySelectorAll('h2')].find(each => each.textContent === arguments[0]).scrollIntoView()", heading
    )
    return Image.open(io.BytesIO(driver.get_screenshot_as_png())).convert("RGB")


def main(folder: Path) -> None:
    """Make docs/images/report.png."""
    page = report([trained(folder, method) for method in METHODS], folder / "report.html").absolute()
    with chromium() as driver:
        parts = [seen(driver, page, heading, height) for heading, height in PARTS.items()]
    picture = Image.new("RGB", (WIDTH, sum(PARTS.values())))
    for part, top in zip(parts, (0, *PARTS.values()), strict=False):
        picture.paste(part, (0, top))
    picture.quantize(COLOURS).save(IMAGES / "report.png", optimize=True)
    print(IMAGES / "report.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
