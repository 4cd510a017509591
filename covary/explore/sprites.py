"""Small pictures of images and views, many to a file."""

import io
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from covary.augment import Recipe, apply
from covary.data import ImageStore
from covary.rundir import write_atomic

SIDE = 64  # pixels of a picture at most; on the map, where there may be many
MAP_SIDE = 48
ON_A_SHEET = 1024  # pictures of the map
COLUMNS = 32
QUALITY = 88  # of JPEG, with colours at full resolution
AT_ONCE = 128  # views made before they are scaled down
EXACT = 32  # pixels up to which pictures of views are PNG


def sheet(
    folder: Path,
    name: str,
    store: ImageStore,
    rows: Tensor,
    recipe: Recipe,
    params: Tensor,
    *,
    on_map: bool = False,
) -> Mapping[str, Any]:
    """Write pictures of views of images, image after image; return what the page finds them by.

    rows: int64 (n,). params: float32 (v, n, P), how the views of each are made. on_map: smaller, on several files.
    """
    count, side = len(params), min(MAP_SIDE if on_map else SIDE, recipe.size)
    bare = replace(recipe, mean=(0.0,) * 3, std=(1.0,) * 3)

    def read(part: slice) -> Tensor:
        found = []
        for places in torch.arange(part.start // count, part.stop // count).split(max(1, AT_ONCE // count)):
            images, sizes = store.images(rows[places])
            views = apply(images, params[:, places], bare, sizes=sizes)
            found.append(_small((255 * views).round_().byte().transpose(0, 1).flatten(0, 1), side))
        return torch.cat(found)

    end = "png" if side <= EXACT and not on_map else "jpg"
    columns, each = (COLUMNS, ON_A_SHEET) if on_map else (count, count * len(rows))
    return _write(folder, f"{name}.{end}", count * len(rows), side, columns, each, read)


def map_sheet(folder: Path, name: str, store: ImageStore, rows: Tensor) -> Mapping[str, Any]:
    """Write images of a store as pictures of at most ``ON_A_SHEET`` each; return what the page finds them by."""
    side = min(MAP_SIDE, int(store.sizes.max()))
    return _write(
        folder,
        f"{name}.jpg",
        len(rows),
        side,
        COLUMNS,
        ON_A_SHEET,
        lambda part: _small(store.images(rows[part])[0], side),
    )


def _small(images: Tensor, side: int) -> Tensor:
    """Return images uint8 (n, 3, h, w) scaled down to (n, side, side, 3)."""
    if images.shape[2:] != (side, side):
        scaled = F.interpolate(images.float(), (side, side), mode="bilinear", antialias=True)
        images = scaled.round_().clamp_(0, 255).byte()
    return images.permute(0, 2, 3, 1)


def _write(
    folder: Path, name: str, count: int, side: int, columns: int, each: int, read: Callable[[slice], Tensor]
) -> Mapping[str, Any]:
    """Write ``each`` pictures to a file, in lines of ``columns``; read: some of them, uint8 (n, side, side, 3)."""
    stem, end = name.split(".")
    files = []
    for start in range(0, count, each):
        pictures = read(slice(start, min(start + each, count)))
        lines = -(-len(pictures) // columns)
        canvas = torch.zeros(lines * columns, side, side, 3, dtype=torch.uint8)
        canvas[: len(pictures)] = pictures
        whole = canvas.unflatten(0, (lines, columns)).transpose(1, 2).reshape(lines * side, columns * side, 3)
        saved = io.BytesIO()
        image = Image.fromarray(whole.contiguous().numpy())
        if end == "png":
            image.save(saved, format="PNG")
        else:
            image.save(saved, format="JPEG", quality=QUALITY, subsampling=0)
        files.append(f"pictures/{stem}.{end}" if count <= each else f"pictures/{stem}-{len(files)}.{end}")
        write_atomic(folder / files[-1], saved.getvalue())
    return {"files": files, "columns": columns, "each": each, "count": count, "side": side}
