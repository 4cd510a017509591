"""A program that loads exports as a user without covary does: by the lines that they were told with.

``python -I reliability/reader.py``: a JSON object a line in, one a line out. In: the ``lines``, and a safetensors file
of ``given`` numbers, with what covary makes of them. Out: the largest difference, relative to the largest number where
that is above 1.
"""

import json
import sys
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

UNPICKLED: list[object] = []


def main() -> None:
    """Answer until there is nothing more to read."""
    sys.addaudithook(lambda event, args: UNPICKLED.append(args) if event == "pickle.find_class" else None)
    for line in sys.stdin:
        print(json.dumps(answer(**json.loads(line))), flush=True)


def answer(lines: list[str], given: str) -> dict[str, Any]:
    """Load an export and use it; return what was seen, or the error."""
    UNPICKLED.clear()
    try:
        numbers = safetensors.torch.load_file(given)
        pairs = [(name.split(".")[0], numbers[name], value) for name, value in used(lines, numbers).items()]
    except Exception as error:  # whatever stops a user
        return {"error": f"{type(error).__name__}: {error}"}
    return {
        "difference": max(
            float((told - found).abs().max() / told.abs().max().clamp(min=1)) for _, told, found in pairs
        ),
        "spread": min(float(found.std(dim=0).max()) for _, _, found in pairs if len(found) > 1),
        "clean": not any(name.split(".")[0] == "covary" for name in sys.modules),
        "unpickled": len(UNPICKLED),
    }


@torch.no_grad()
def used(lines: list[str], numbers: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return what the loaded export makes of the given numbers, by the names of what it should be."""
    names: dict[str, Any] = {}
    exec("\n".join(lines), names)
    if "read" in names:
        code = names["read"](numbers["before"], numbers["after"])
        return {"code": code, "moved": names["move"](code, numbers["before"])}
    found = {}
    for name, images in numbers.items():
        if name.startswith("images."):
            asked = images.numpy() if "onnxruntime" in names else images
            found[name.replace("images", "features")] = torch.as_tensor(names["model"](asked))
    return found


if __name__ == "__main__":
    main()
