"""The whole chain: against torchvision row by row, pure, independent of the rest of the batch."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torchvision.transforms import InterpolationMode
from torchvision.transforms.v2 import functional as tv

from covary import keyed
from covary.augment import (
    COLUMNS,
    JITTER_ORDERS,
    AugMix,
    Rotation,
    Solarize,
    TurnedView,
    apply,
    boxes,
    make_views,
    preset,
    sample,
)
from covary.augment import views as views_module
from covary.augment.augmix import augment_and_mix
from covary.errors import InputError
from covary.types import Batch

MEAN, STD = (0.43, 0.42, 0.39), (0.27, 0.26, 0.28)
PAPER = preset("paper", size=32, mean=MEAN, std=STD)
EVERYTHING = dataclasses.replace(
    PAPER, quarter_turns=0.75, rotation=Rotation(degrees=90.0, p=0.5), solarize=Solarize(threshold=0.5, p=0.5)
)
MIXED = dataclasses.replace(EVERYTHING, augmix=AugMix(p=0.8, all_ops=True))
LARGE = preset("official_code", size=96, mean=MEAN, std=STD)


def images_of(sizes, seed=0):
    """Smooth uint8 images of mixed sizes at the top left of a common frame, zeros elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    height, width = sizes.amax(dim=0).tolist()
    frame = torch.zeros(len(sizes), 3, height, width, dtype=torch.uint8)
    for row, (h, w) in zip(frame, sizes.tolist(), strict=True):
        coarse = torch.rand(1, 3, 6, 6, generator=generator)
        noise = torch.rand(3, h, w, generator=generator)
        smooth = torch.nn.functional.interpolate(coarse, (h, w), mode="bilinear")[0]
        row[:, :h, :w] = (255 * (0.8 * smooth + 0.2 * noise)).to(torch.uint8)
    return frame


def batch_of(b=48, mixed=True, low=24, high=70):
    generator = torch.Generator().manual_seed(3)
    sizes = torch.randint(low, high, (b, 2), generator=generator) if mixed else torch.full((b, 2), low)
    return Batch(images=images_of(sizes), sizes=sizes, positions=torch.arange(b), epoch=0)


def torchvision_chain(image, params, box, recipe):
    """One image through torchvision's functional, in the order of the recipe."""
    numbers = {name: params[column].tolist() for name, column in COLUMNS.items()}
    value = {name: column[0] for name, column in numbers.items()}
    x = tv.resized_crop(image, *box, [recipe.size, recipe.size], antialias=True)
    x = tv.horizontal_flip(x) if value["flip"] else x
    x = tv.rotate(x, 90 * value["turn"])
    if value["angle"] != 0:
        x = tv.rotate(x, value["angle"], InterpolationMode.BILINEAR)
    for name in JITTER_ORDERS[int(value["order"])]:
        x = getattr(tv, f"adjust_{name}")(x, value[name])
    x = tv.rgb_to_grayscale(x, 3) if value["grayscale"] else x
    if value["blur"] > 0:
        x = tv.gaussian_blur(x, [recipe.blur.kernel] * 2, [value["blur"]] * 2)
    if value["solarize"] < 1:
        x = tv.solarize(x, value["solarize"])
    return tv.normalize(x, list(recipe.mean), list(recipe.std))


@pytest.mark.parametrize("mixed", [False, True], ids=["one size", "mixed sizes"])
@pytest.mark.parametrize("recipe", [PAPER, LARGE, EVERYTHING], ids=["paper-32", "official-96", "everything-32"])
def test_chain_equals_torchvision(recipe, mixed):
    batch = batch_of(mixed=mixed)
    views = make_views(batch, recipe, seed=1)
    for view, params in zip(views.images, views.params, strict=True):
        for row, image, (h, w), numbers, box in zip(
            view, batch.images, batch.sizes.tolist(), params, boxes(params, batch.sizes).tolist(), strict=True
        ):
            expected = torchvision_chain(image[:, :h, :w].float() / 255, numbers, box, recipe)
            torch.testing.assert_close(row, expected, rtol=0, atol=1e-4)


def test_float_images_give_the_views_of_uint8_images():
    batch = batch_of()
    params = make_views(batch, EVERYTHING, seed=1).params
    views = [
        apply(images, params, EVERYTHING, sizes=batch.sizes) for images in (batch.images, batch.images.float() / 255)
    ]
    torch.testing.assert_close(*views, rtol=0, atol=1e-4)


@pytest.mark.parametrize("recipe", [EVERYTHING, MIXED], ids=["everything", "augmix"])
def test_replaying_the_numbers_gives_the_bits_and_touches_no_argument(recipe):
    batch = batch_of()
    images = batch.images.clone()
    views = make_views(batch, recipe, seed=1)
    params = views.params.clone()
    torch.manual_seed(123)
    assert torch.equal(apply(batch.images, params, recipe, sizes=batch.sizes), views.images)
    assert torch.equal(params, views.params)
    assert torch.equal(images, batch.images)


def test_augmix_works_between_the_geometry_and_the_colours():
    recipe = dataclasses.replace(MIXED, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), views=1)
    columns, batch = recipe.columns, batch_of()
    views = make_views(batch, recipe, seed=1)
    identity = torch.tensor([0, 0, 1, 1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 1.0])
    geometry, colors = slice(0, columns["angle"].stop), slice(columns["brightness"].start, 15)
    before, after = views.params.clone(), views.params.clone()
    before[..., colors], after[..., geometry] = identity[colors], identity[geometry]
    before[..., columns["augmix_mix"]] = after[..., columns["augmix_mix"]] = 0
    moved = apply(batch.images, before, recipe, sizes=batch.sizes)[0]
    numbers = views.params[0, :, columns["augmix_weight"].start :]
    mixed = torch.where(
        numbers[:, 3, None, None, None] > 0, augment_and_mix(moved, numbers, augmix=recipe.augmix), moved
    )
    torch.testing.assert_close(apply(mixed, after, recipe), views.images, rtol=0, atol=1e-6)


def test_views_that_are_not_augmixed_keep_their_bits():
    batch = batch_of()
    mixed, plain = (make_views(batch, recipe, seed=1) for recipe in (MIXED, EVERYTHING))
    off = mixed.params[..., MIXED.columns["augmix_mix"]].squeeze(-1) == 0
    assert 0 < off.sum() < off.numel()
    assert torch.equal(mixed.params[..., :15], plain.params)
    assert torch.equal(mixed.images[off], plain.images[off])
    assert (mixed.images[~off] != plain.images[~off]).flatten(1).any(dim=1).all()


@pytest.fixture
def two_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("recipe", [EVERYTHING, MIXED], ids=["everything", "augmix"])
def test_a_view_depends_on_its_own_image_and_numbers_only(recipe, monkeypatch, two_threads):
    batch = batch_of()
    params = make_views(batch, recipe, seed=1).params
    whole = apply(batch.images, params, recipe, sizes=batch.sizes)
    some = torch.tensor([40, 3, 17])
    part = apply(batch.images[some], params[:1, some], recipe, sizes=batch.sizes[some])
    assert torch.equal(part, whole[:1, some])
    monkeypatch.setattr(views_module, "CHUNK_BYTES", 1)
    assert torch.equal(apply(batch.images, params, recipe, sizes=batch.sizes), whole)
    torch.set_num_threads(1)
    assert torch.equal(apply(batch.images, params, recipe, sizes=batch.sizes), whole)


def test_threads_begun_later_may_use_as_many_threads_as_before(two_threads):
    make_views(batch_of(b=4), PAPER, seed=1)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == torch.get_num_threads() == 2


def test_an_error_in_a_thread_reaches_the_caller(monkeypatch, two_threads):
    monkeypatch.setattr(views_module, "CHUNK_BYTES", 1)
    batch = batch_of(b=4)
    params = make_views(batch, PAPER, seed=1).params
    with pytest.raises((RuntimeError, ValueError)):
        apply(batch.images[:, :2], params, PAPER, sizes=batch.sizes)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(torch.get_num_threads).result() == torch.get_num_threads() == 2


def test_each_thread_runs_torch_alone(two_threads):
    seen = []
    views_module._for_each(lambda part: seen.append(torch.get_num_threads()), [slice(0, 1)] * 4, threads=2)
    assert seen == [1, 1, 1, 1]


def test_views_can_be_trained_on_and_made_in_inference_mode():
    batch = batch_of(b=4)
    views = make_views(batch, PAPER, seed=1).images
    assert not views.is_inference()
    with torch.inference_mode():
        assert torch.equal(make_views(batch, PAPER, seed=1).images, views)


def test_padding_is_never_seen():
    batch = batch_of()
    height, width = batch.images.shape[2:]
    outside = (torch.arange(height)[:, None] >= batch.sizes[:, 0, None, None]) | (
        torch.arange(width) >= batch.sizes[:, 1, None, None]
    )
    painted = batch.images.masked_fill(outside[:, None], 200)
    views = [
        make_views(dataclasses.replace(batch, images=images), EVERYTHING, seed=1).images
        for images in (batch.images, painted)
    ]
    assert torch.equal(*views)


def test_boxes_are_those_drawn_and_lie_in_their_images():
    batch = batch_of(b=512)
    for partners in (False, True):
        recipe = dataclasses.replace(PAPER, targets=("crop",), partners=partners)
        params = sample(recipe, seed=0, epoch=0, positions=batch.positions, sizes=batch.sizes)[0]
        box = boxes(params, batch.sizes)
        assert (box[:, :2] >= 0).all()
        assert (box[:, 2:] >= 1).all()
        assert (box[:, :2] + box[:, 2:] <= batch.sizes).all()
        drawn = params[:, COLUMNS["crop"]] * batch.sizes.repeat(1, 2)
        assert (box - drawn).abs().max() <= (1.01 if partners else 1e-4)


def test_a_box_whose_sides_round_up_stays_in_its_image():
    params = torch.zeros(2, 15)
    params[:, COLUMNS["crop"]] = torch.tensor([[0.5, 0.5, 0.5, 0.5], [0.9, 0.95, 0.05, 0.05]])
    assert boxes(params, torch.tensor([[3, 4], [4, 4]])).tolist() == [[1, 2, 2, 2], [3, 3, 1, 1]]


def test_partners_of_one_image_differ_by_unaligned_operations_only():
    recipe = dataclasses.replace(
        PAPER,
        targets=("crop", "flip", "jitter", "grayscale", "blur", "augmix"),
        views=3,
        augmix=AugMix(p=0.5),
    )
    batch = batch_of(b=8, mixed=False, low=40)
    twins = dataclasses.replace(batch, images=batch.images[0::2].repeat_interleave(2, dim=0))
    views = make_views(twins, recipe, seed=0)
    assert views.partners
    assert views.images.shape == (3, 8, 3, 32, 32)
    assert views.params.shape == (3, 8, 15 + 22)
    assert torch.equal(views.images[:, 0::2], views.images[:, 1::2])
    own = make_views(twins, dataclasses.replace(recipe, partners=False), seed=0)
    assert not own.partners
    assert not torch.equal(own.images[:, 0::2], own.images[:, 1::2])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_views_of_the_cpu():
    batch = batch_of()
    on_cpu = make_views(batch, EVERYTHING, seed=1)
    on_cuda = make_views(dataclasses.replace(batch, images=batch.images.cuda()), EVERYTHING, seed=1)
    assert torch.equal(on_cuda.params.cpu(), on_cpu.params)
    torch.testing.assert_close(on_cuda.images.cpu(), on_cpu.images, rtol=0, atol=1e-4)


TURNED = dataclasses.replace(PAPER, turned=TurnedView(size=16, scale=(0.3, 0.6)))


def test_the_turned_view_is_one_small_view_in_four_turns():
    batch = batch_of(b=12)
    views = make_views(batch, TURNED, seed=1)
    assert views.turned is not None
    assert views.turned.shape == (4, 12, 3, 16, 16)
    for turns, images in enumerate(views.turned):
        assert torch.equal(images, tv.rotate(views.turned[0], 90.0 * turns))
    plain = make_views(batch, PAPER, seed=1)
    assert plain.turned is None
    assert torch.equal(plain.images, views.images)


def test_the_turned_view_follows_its_own_numbers():
    batch = batch_of(b=600)
    extra = TURNED.of_turned_view()
    assert (extra.size, extra.crop.scale, extra.crop.ratio) == (16, (0.3, 0.6), PAPER.crop.ratio)
    key = keyed.derive(1, "turned")
    params = sample(extra, seed=key, epoch=0, positions=batch.positions, sizes=batch.sizes)
    box = params[0, :, COLUMNS["crop"]]
    area = box[:, 2] * box[:, 3]
    assert 0.25 < area.quantile(0.01) < area.quantile(0.99) < 0.65
    assert torch.equal(
        apply(batch.images, params, extra, sizes=batch.sizes)[0], make_views(batch, TURNED, seed=1).turned[0]
    )


def test_a_recipe_without_a_turned_view_has_no_recipe_of_it():
    with pytest.raises(InputError, match=r"declares no turned view; set turned=TurnedView\(size=\.\.\.\)"):
        PAPER.of_turned_view()


def test_rows_of_views():
    views = make_views(batch_of(b=8), TURNED, seed=1)
    part = views.rows(slice(2, 6))
    assert torch.equal(part.images, views.images[:, 2:6])
    assert torch.equal(part.params, views.params[:, 2:6])
    assert torch.equal(part.turned, views.turned[:, 2:6])
    assert part.partners == views.partners
