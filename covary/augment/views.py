"""Images and numbers to views: the pure half of the augmentation."""

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from torch import Tensor

from covary import keyed
from covary.augment import ops
from covary.augment.augmix import augment_and_mix
from covary.augment.recipe import COLUMNS, JITTER, JITTER_ORDERS, Recipe
from covary.augment.sampling import sample
from covary.types import Batch, Views

CHUNK_BYTES = 2 * 2**20  # views processed together on a CPU, so that they stay in its cache
ORDERS = torch.tensor([[JITTER.index(name) for name in order] for order in JITTER_ORDERS])


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
    return Views(images=images, params=params.to(images.device), partners=recipe.partners, turned=turned)


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
    bit of it. On a CPU, chunks of views are shared out among threads that run their operations alone; a thread that
    waits for others at every one of some hundred short operations stands still on a busy machine.
    """
    b, _, h, w = images.shape
    params = params.cpu()
    if sizes is None:
        sizes = torch.tensor([h, w]).expand(b, 2)
    views = torch.empty(len(params), b, 3, recipe.size, recipe.size, device=images.device)
    on_cpu = images.device.type == "cpu"
    chunk = max(1, CHUNK_BYTES // views[0, :1].nbytes) if on_cpu else b

    def fill(view: int, start: int) -> None:
        rows = slice(start, start + chunk)
        with torch.inference_mode():
            views[view, rows] = _make_view(images[rows], params[view, rows], sizes[rows], recipe)

    places = list(itertools.product(range(len(params)), range(0, b, chunk)))
    _for_each(fill, places, threads=torch.get_num_threads() if on_cpu else 1)
    return views


def _for_each(function: Callable[[int, int], None], places: list[tuple[int, int]], *, threads: int) -> None:
    """Call the function at each place, in threads that run torch's operations alone."""
    if threads == 1:
        for place in places:
            function(*place)
        return
    with ThreadPoolExecutor(threads, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for done in [pool.submit(function, *place) for place in places]:
            done.result()
    torch.set_num_threads(threads)  # with which later threads start; the pool's have set it to 1


def _make_view(images: Tensor, params: Tensor, sizes: Tensor, recipe: Recipe) -> Tensor:
    """Make one view of each image of a chunk."""
    size, kernel = recipe.size, recipe.blur.kernel
    turn, angle, gray, sigma, threshold = (
        params[:, COLUMNS[name]].squeeze(1) for name in ("turn", "angle", "grayscale", "blur", "solarize")
    )
    colors = params[:, COLUMNS["brightness"].start : COLUMNS["order"].stop]
    unchanged = colors.new_tensor([1, 1, 1, 0])

    x = _crop(images, boxes(params, sizes), params[:, COLUMNS["flip"]].squeeze(1) > 0, size)
    for turns in (1, 2, 3):
        x = ops.on_rows(x, turn == turns, lambda rows, turns=turns: torch.rot90(rows, turns, dims=(2, 3)))
    x = ops.on_rows(x, angle != 0, ops.rotate, angle)
    if recipe.augmix.p > 0:
        weight, mix = recipe.columns["augmix_weight"], recipe.columns["augmix_mix"]
        augmix = partial(augment_and_mix, augmix=recipe.augmix)
        x = ops.on_rows(x, params[:, mix].squeeze(1) > 0, augmix, params[:, weight.start :])
    x = ops.on_rows(x, (colors[:, :4] != unchanged).any(dim=1), _jitter, colors)
    x = ops.on_rows(x, gray > 0, ops.grayscale)
    x = ops.on_rows(x, sigma > 0, lambda rows, sigma: ops.blur(rows, sigma, kernel=kernel), sigma)
    x = ops.on_rows(x, threshold < 1, ops.solarize, threshold)
    return ops.normalize(x, recipe.mean, recipe.std)


def _crop(images: Tensor, box: Tensor, flip: Tensor, size: int) -> Tensor:
    """Cut each image's box, resize it to (size, size) and mirror it where told; integers are scaled to [0, 1]."""
    height, width = box[:, 2:].amax(dim=0).tolist()
    top, left, heights, widths = box.to(images.device).unbind(1)
    vertical = ops.crop_taps(top, heights, torch.zeros_like(flip), size=size, reach=ops.tap_reach(height, size))
    horizontal = ops.crop_taps(left, widths, flip, size=size, reach=ops.tap_reach(width, size))
    views = ops.resample(images, vertical, horizontal)
    return views if images.is_floating_point() else views.div_(255)


def _jitter(x: Tensor, colors: Tensor) -> Tensor:
    """Apply the four colour operations to each image in its own order.

    colors: (b, 5) on the CPU, columns brightness, contrast, saturation, hue, order.
    """
    places = ORDERS[colors[:, 4].long()]
    for step in range(len(JITTER)):
        chosen = places[:, step, None] == torch.arange(len(JITTER))
        factors = torch.where(chosen, colors[:, :4], 1)
        x = ops.blend(x, *factors[:, :3].unbind(1))
        x = ops.on_rows(x, chosen[:, 3], ops.shift_hue, colors[:, 3])
    return x
