"""Run folders written by hand, with texts of one's own in every place that holds a text."""

import json
from pathlib import Path

from PIL import Image

from covary import config
from covary.recipes import start_run
from covary.rundir import RunDir


def run_folder(path: Path, *, text: str, data: str, source: str) -> Path:
    """Write the folder of a finished run with one result; ``text`` stands wherever a name or a value can."""
    folder = RunDir(path)
    settings = {**config.to_json(start_run(recipe="demo")), "data": data, "encoder": text, text: {text: [text]}}
    environment = {"covary": text, "torch": "2.15", "device": "cpu", "device_name": text, "images": 64, text: text}
    folder.write_run(settings, environment)
    lines = [{"step": step, "epoch": 0, text: 9.0 / step} for step in (1, 2, 3)]
    folder.metrics_file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    folder.encoder_file.touch()
    result = {"task": text, "protocol": text, "source": source, "data": data, "metrics": {text: 0.5, "top1": 0.25}}
    result |= {"seconds": 1.0, "covary": text, "commit": text}
    (path / "results").mkdir()
    (path / "results" / "knn.json").write_text(json.dumps(result))
    folder.figures.mkdir()
    Image.new("RGB", (64, 32), "teal").save(folder.figures / "first-batch.png", comment=text)
    return path
