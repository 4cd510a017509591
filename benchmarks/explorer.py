"""How fast the explorer opens and moves with many points: a folder of noise, opened in headless Chromium.

    python benchmarks/explorer.py [--points 50000] [--side 32] [--frames 120] [--out DIR]

The folder is that of an untrained encoder on a hundred shapes, in which the map is replaced by as many points in twenty
clusters, each with a picture of noise, which no JPEG makes small, eight neighbours and one of a hundred classes. The
browser has no GPU and no limit of its rate. A frame is the time from one animation frame to the next while every frame
brings an event: the wheel zooms in and out, or the pointer goes on and rests on other points.
"""

import argparse
import json
import platform
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any, cast

import numpy as np
import torch
from selenium import webdriver

from covary.data import ImageStore
from covary.explore import explore
from covary.explore.maps import quantised
from covary.explore.page import packed, write_page
from covary.explore.sprites import map_sheet

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-gpu-vsync"),
    *("--disable-frame-rate-limit", "--host-resolver-rules=MAP * ~NOTFOUND"),
)
FRAMES = """
const [frames, wheel, done] = arguments, canvas = document.querySelectorAll('.map canvas')[1], times = [];
const box = canvas.getBoundingClientRect();
let last = performance.now(), frame = 0;
canvas.focus();
function step(now) {
  if (frame > 0) times.push(now - last);
  last = now;
  if (frame++ > frames) return done(times);
  const at = {clientX: box.left + box.width * (0.5 + 0.3 * Math.cos(frame / 9)),
    clientY: box.top + box.height * (0.5 + 0.3 * Math.sin(frame / 7)), bubbles: true, cancelable: true};
  const turn = {...at, deltaY: frame % 40 < 20 ? -40 : 40};
  canvas.dispatchEvent(wheel ? new WheelEvent('wheel', turn) : new PointerEvent('pointermove', at));
  requestAnimationFrame(step);
}
requestAnimationFrame(step);
"""
OPENED = """
const done = arguments[0], begun = performance.now();
document.getElementById('tab-map').click();
requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - begun)));
"""


@dataclass(frozen=True)
class Noise:
    """Pictures of noise, each a function of its number; as much of an ``ImageStore`` as ``map_sheet`` asks for."""

    side: int
    sizes: np.ndarray

    def images(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        draw = np.random.default_rng(int(rows[0]))
        pixels = draw.integers(0, 256, (len(rows), 3, self.side, self.side), dtype=np.uint8)
        return torch.from_numpy(pixels), torch.full((len(rows), 2), self.side)


def make(out: Path, points: int, side: int) -> None:
    """Write the folder."""
    explore("untrained:resnet8", data="shapes:n=100", out=out, images=12, image_size=16, device="cpu")
    text = (out / "data.js").read_text().removeprefix("window.explored = JSON.parse(").removesuffix(");\n")
    content: dict[str, Any] = json.loads(json.loads(text))
    (out / "pictures" / "images.jpg").unlink()
    draw = np.random.default_rng(0)
    centres = draw.normal(size=(20, 2)) * 4
    place = centres[draw.integers(0, 20, points)] + draw.normal(size=(points, 2))
    store = cast(ImageStore, Noise(side=side, sizes=np.full((points, 2), side)))
    content["images"] = {
        "names": [f"test/{number}.png" for number in range(points)],
        "labels": packed(draw.integers(0, 100, points).astype(np.int32)),
        "sheet": map_sheet(out, "noise", store, torch.arange(points)),
    }
    content["classes"] = [f"class {number}" for number in range(100)]
    content["changes"]["labels"] = packed(np.zeros(len(content["changes"]["names"]), dtype=np.int32))
    content["runs"][0]["images"] = {
        "planes": {"PCA": packed(quantised(place))},
        "share": 1.0,
        "neighbours": packed(draw.integers(0, points, (points, 8)).astype(np.int32)),
        "shown": 8,
    }
    write_page(out, content)


def measure(folder: Path, frames: int) -> dict[str, float]:
    """Open the folder five times, then move; return milliseconds."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for flag in FLAGS:
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver") or ""))
    try:
        size = {"width": 1280, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        loads, maps = [], []
        for _ in range(5):
            driver.get((folder / "index.html").as_uri())
            loads.append(driver.execute_script("return performance.getEntriesByType('navigation')[0].loadEventEnd"))
            maps.append(driver.execute_async_script(OPENED))
        zoom, hover = (driver.execute_async_script(FRAMES, frames, wheel) for wheel in (True, False))
        errors = [entry["message"] for entry in driver.get_log("browser")]
    finally:
        driver.quit()
    if errors:
        raise SystemExit("\n".join(errors))
    return {
        "page loaded": median(loads),
        "map drawn after its tab is clicked": median(maps),
        "frame while zooming, median": median(zoom),
        "frame while zooming, 95 of 100": quantiles(zoom, n=20)[-1],
        "frame while hovering, median": median(hover),
        "frame while hovering, 95 of 100": quantiles(hover, n=20)[-1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="How fast the explorer opens and moves with many points.")
    parser.add_argument("--points", type=int, default=50_000)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--frames", type=int, default=120)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.out or Path(temporary) / "folder"
        begun = time.perf_counter()
        make(folder, options.points, options.side)
        files = [file for file in folder.rglob("*") if file.is_file()]
        print(f"{options.points:,} points, made in {time.perf_counter() - begun:.0f} s on {platform.machine()}")
        print(f"folder {sum(file.stat().st_size for file in files) / 1e6:.1f} MB in {len(files)} files")
        print(f"data.js {(folder / 'data.js').stat().st_size / 1e6:.1f} MB")
        for name, value in measure(folder, options.frames).items():
            print(f"{name}: {value:.1f} ms")


if __name__ == "__main__":
    main()
