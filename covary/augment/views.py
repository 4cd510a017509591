"""Images and numbers to views: the pure half of the augmentation."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from torch import Tensor

from covary import keyed
from covary.augment import ops
from covary.augment.augmix import augment_and_mix
from covary.augment.jitter import jitter_, jitter_mixed, orders
from covary.augment.recipe import COLUMNS, Recipe
from covary.augment.sampling import sample
from covary.device import send
from covary.types import Batch, Views

CHUNK_BYTES = 2**20  # views processed together on a CPU, so that they stay in its cache


def boxes(params: Tensor, sizes: Tensor) -> Tensor:
    """Return the crop boxes in pixels, int64 (b, 4): top, left, height, width, within images of ``sizes`` (b, 2)."""
    fractions = params[:, COLUMNS["crop"]].double() * sizes.repeat(1, 2)
    corner, sides = fractions.round().long().split(2, dim=1)
    sides = sides.clamp_min(1)
    return torch.cat([corner.minimum(sizes - sides), sides], dim=1)


def make_views(batch: Batch, recipe: Recipe, *, seed: int) -> Views:
    """Make the views of a batch, and the extra view where the recipe declares one."""
    params = sample(recipe, seed=seed, epoch=batch.epoch, positions=batch.positions, sizes=batch.sizes)
    images = apply(batch.images, params, recipe, sizes=batch.sizes)
    turned = _make_turned(batch, recipe, seed=seed) if recipe.turned else None
    return Views(images=images, params=send(params, images.device), partners=recipe.partners, turned=turned)


def _make_turned(batch: Batch, recipe: Recipe, *, seed: int) -> Tensor:
    """Make the extra view and its four turns, float32 (4, b, 3, s, s); its numbers have a key of their own."""
    extra = recipe.of_turned_view()
    key = keyed.derive(seed, "turned")
    params = sample(extra, seed=key, epoch=batch.epoch, positions=batch.positions, sizes=batch.sizes)
    upright = apply(batch.images, params, extra, sizes=batch.sizes)[0]
    return torch.stack([torch.rot90(upright, turns, dims=(2, 3)) for turns in range(4)])


def apply(images: Tensor, params: Tensor, recipe: Recipe, *, sizes: Tensor | None = None) -> Tensor:
    """Make views: crop and flip, quarter turn, rotation, AugMix, then jitter, grayscale, blur, solarize, normalize.

    AugMix comes after crop and flip, as in the published algorithm; where STL (arXiv 2501.08712) has it is not said.

    images: uint8 (b, 3, h, w), or float in [0, 1], on any device.
    params: float32 (v, b, P), columns as in ``recipe.columns``; best on the CPU, as they steer which rows are touched.
    sizes:  int64 (b, 2) on the CPU, height and width of each image inside (h, w); None where they fill it.
    Returns float32 (v, b, 3, s, s), normalised, without gradient.

    A view is a function of its image and its numbers alone: the rest of the batch and the number of threads change no
    bit of it. On a CPU, views that are jittered in one order follow each other, in chunks that are shared out among
    threads; a thread that waits for others at every one of a hundred short operations stands still on a busy machine.
    On other devices the colours of all views are changed at once (``jitter.jitter_mixed``).
    """
    b, _, h, w = images.shape
    v, params = len(params), params.cpu()
    sizes = torch.tensor([h, w]).expand(b, 2) if sizes is None else sizes
    views = torch.empty(v, b, 3, recipe.size, recipe.size, device=images.device)
    with torch.inference_mode():
        if images.device.type == "cpu":
            _fill_on_cpu(views.view(v * b, *views.shape[2:]), images, params.flatten(0, 1), sizes, recipe)
        else:
            for view, numbers in zip(views, params, strict=True):
                crops = _crop(images, *_crop_taps(numbers, sizes, recipe, images.device))
                view.copy_(_finish(jitter_mixed(_turn(crops, numbers, recipe), numbers), numbers, recipe))
    return views


def _fill_on_cpu(views: Tensor, images: Tensor, params: Tensor, sizes: Tensor, recipe: Recipe) -> None:
    """Make the views (n, 3, s, s) of numbers (n, P), n a multiple of the number of images, in order of their jitter."""
    kinds, rows = orders(params).sort(stable=True)
    params, source = params[rows], rows % len(images)
    vertical, horizontal = _crop_taps(params, sizes[source], recipe, images.device)

    def fill(part: slice) -> None:
        with torch.inference_mode():
            x = _crop(images.index_select(0, source[part]), vertical.rows(part), horizontal.rows(part))
            x = _turn(x, params[part], recipe)
            runs = zip(*(run.tolist() for run in kinds[part].unique_consecutive(return_counts=True)), strict=True)
            start = 0
            for order, count in runs:
                run = slice(start, start + count)
                jitter_(x[run], params[part][run], order)
                start += count
            views.index_copy_(0, rows[part], _finish(x, params[part], recipe))

    chunk = max(1, CHUNK_BYTES // views[:1].nbytes)
    parts = [slice(start, start + chunk) for start in range(0, len(views), chunk)]
    _for_each(fill, parts, threads=torch.get_num_threads())


def _for_each(function: Callable[[slice], None], parts: list[slice], *, threads: int) -> None:
    """Call the function with each part, in threads that run torch's operations alone."""
    if threads == 1:
        for part in parts:
            function(part)
        return
    try:
        with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            for done in [pool.submit(function, part) for part in parts]:
                done.result()
    finally:
        torch.set_num_threads(threads)  # with which later threads start; the pool's have set it to 1


def _crop_taps(params: Tensor, sizes: Tensor, recipe: Recipe, device: torch.device) -> tuple[ops.Taps, ops.Taps]:
    """Return the taps of both axes that cut each image's box, resize it and mirror it where told."""
    box = boxes(params, sizes)
    reaches = (ops.tap_reach(longest, recipe.size) for longest in box[:, 2:].amax(dim=0).tolist())
    numbers = torch.cat([box, params[:, COLUMNS["flip"]].long()], dim=1)
    top, left, heights, widths, flip = send(numbers, device).unbind(1)
    vertical, horizontal = (
        ops.crop_taps(start, length, mirror > 0, size=recipe.size, reach=reach)
        for start, length, mirror, reach in zip((top, left), (heights, widths), (0 * flip, flip), reaches, strict=True)
    )
    return vertical, horizontal


def _crop(images: Tensor, vertical: ops.Taps, horizontal: ops.Taps) -> Tensor:
    """Resample along both axes; integers are scaled to [0, 1]."""
    views = ops.resample(images, vertical, horizontal)
    return views if images.is_floating_point() else views.div_(255)


def _turn(x: Tensor, params: Tensor, recipe: Recipe) -> Tensor:
    """Turn, rotate and mix the rows that drew it."""
    turn, angle = (params[:, COLUMNS[name]].squeeze(1) for name in ("turn", "angle"))
    for turns in turn[turn > 0].unique().tolist():
        x = ops.on_rows(x, turn == turns, partial(torch.rot90, k=int(turns), dims=(2, 3)))
    x = ops.on_rows(x, angle != 0, ops.rotate, angle)
    if recipe.augmix.p > 0:
        weight, mix = recipe.columns["augmix_weight"], recipe.columns["augmix_mix"]
        augmix = partial(augment_and_mix, augmix=recipe.augmix)
        x = ops.on_rows(x, params[:, mix].squeeze(1) > 0, augmix, params[:, weight.start :])
    return x


def _finish(x: Tensor, params: Tensor, recipe: Recipe) -> Tensor:
    """Make gray, blur and solarize the rows that drew it; normalize all."""
    gray, sigma, threshold = (params[:, COLUMNS[name]].squeeze(1) for name in ("grayscale", "blur", "solarize"))
    x = ops.on_rows(x, gray > 0, ops.grayscale)
    x = ops.on_rows(x, sigma > 0, partial(ops.blur, kernel=recipe.blur.kernel), sigma)
    x = ops.on_rows(x, threshold < 1, ops.solarize, threshold)
    return ops.normalize_(x, recipe.mean, recipe.std)
