"""The model card of a folder for the Hugging Face hub: what it is, how it was trained, what was measured."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from covary.evaluation.result import Result, read
from covary.evaluation.tasks import TASKS
from covary.export.trained import INTERPOLATION, Trained

HEAD = """\
---
library_name: timm
pipeline_tag: image-feature-extraction
license: unknown  # these weights are yours: choose a licence
tags:
- timm
- self-supervised
- covary
---
"""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A file of weights in the folder. lines: Python without covary that loads it, where timm does not."""

    file: str
    sha256: str
    lines: tuple[str, ...]


def model_card(trained: Trained, parts: Sequence[Part]) -> str:
    """Return the card, Markdown with the hub's YAML before it.

    It holds nothing of the machine: of a folder of images its last name alone.
    """
    name = trained.name.removeprefix("timm:")
    return "\n".join(
        [
            f"{HEAD}# {name}, trained with {_text(trained.method)}",
            "",
            f"Features of images, learned without labels on {_images(trained.images)}. The images were shown",
            "augmented; nothing was fine-tuned.",
            "",
            *_block(
                "import timm",
                'model = timm.create_model("local-dir:PATH_OF_THIS_FOLDER", pretrained=True).eval()',
                "transform = timm.data.create_transform(**timm.data.resolve_data_config({}, model=model))",
            ),
            *_section("Preprocessing", _table(("", ""), _preprocessing(trained))),
            *_section("Training", _table(("", ""), _training(trained))),
            *_section("Measured", _measured(trained)),
            *_section("Files", _table(("file", "SHA-256"), [(part.file, f"`{part.sha256}`") for part in parts])),
            *[line for part in parts for line in _use(part)],
            *_section("Licence", ["These weights belong to who trained them: choose a licence, and name it above."]),
        ]
    )


def _use(part: Part) -> list[str]:
    return [f"`{part.file}` without covary:", "", *_block(*part.lines)] if part.lines else []


def _preprocessing(trained: Trained) -> list[tuple[str, str]]:
    return [
        ("size", f"{trained.size} px: shorter side resized, then centre crop"),
        ("interpolation", INTERPOLATION),
        ("mean", ", ".join(f"{value:.6g}" for value in trained.mean)),
        ("std", ", ".join(f"{value:.6g}" for value in trained.std)),
    ]


def _training(trained: Trained) -> list[tuple[str, str]]:
    told = {"method": trained.method, "encoder": f"{trained.name}, stem {trained.stem}", **trained.facts}
    rows = [(name.replace("_", " "), _text(value)) for name, value in told.items() if value is not None]
    return [("images", _images(trained.images)), *rows]


def _measured(trained: Trained) -> list[str]:
    rows = [row for file in trained.folder.result_files() for result in read(file) for row in _headline(result)]
    return _table(("task", "images", "metric", "value"), rows) if rows else ["Nothing yet."]


def _headline(result: Result) -> list[tuple[str, str, str, str]]:
    known = TASKS.get(result.task)
    names = [name for name in (known.headline if known else result.metrics) if name in result.metrics]
    where = _text(result.task), _images(result.data)
    return [(*where, _text(name), f"{result.metrics[name]:.4g}") for name in names]


def _images(spec: str) -> str:
    """Return what a SPEC names, less the folders on the way to it."""
    return _text(spec if spec.startswith("hf:") else re.split(r"[/\\]", spec.rstrip("/\\"))[-1])


def _text(value: object) -> str:
    """Return a value as text that Markdown shows as it is, on one line."""
    return re.sub(r"([\\`*_{}\[\]<>()#|!&])", r"\\\1", " ".join(re.sub(r"[\x00-\x1f\x7f]", " ", str(value)).split()))


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]


def _section(title: str, lines: Sequence[str]) -> list[str]:
    return [f"## {title}", "", *lines, ""]


def _block(*lines: str) -> list[str]:
    return ["```python", *lines, "```", ""]
