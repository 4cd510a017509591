import pytest
import torch

from covary import keyed

KNOWN_ANSWERS = [  # Random123 1.14, tests/kat_vectors, philox4x32 with 10 rounds
    ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def naive_philox(counter: tuple[int, ...], key: tuple[int, int]) -> tuple[int, ...]:
    """The cipher of Salmon et al. 2011 in Python integers."""
    x, (k0, k1) = list(counter), key
    for _ in range(10):
        high0, low0 = divmod(x[0] * 0xD2511F53, 2**32)
        high1, low1 = divmod(x[2] * 0xCD9E8D57, 2**32)
        x = [high1 ^ x[1] ^ k0, low1, high0 ^ x[3] ^ k1, low0]
        k0, k1 = (k0 + 0x9E3779B9) % 2**32, (k1 + 0xBB67AE85) % 2**32
    return tuple(x)


def as_tensors(counter: tuple[int, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(torch.tensor([word]) for word in counter)


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN_ANSWERS)
def test_known_answers(counter, key, answer):
    assert naive_philox(counter, key) == answer
    assert tuple(int(word) for word in keyed.philox(as_tensors(counter), key)) == answer


def test_equals_the_naive_cipher_on_every_counter():
    generator = torch.Generator().manual_seed(0)
    counters = torch.randint(0, 2**32, (300, 4), generator=generator)
    key = (0xDEADBEEF, 0x12345678)
    fast = torch.stack(keyed.philox(counters.unbind(1), key), dim=1)
    assert [tuple(row) for row in fast.tolist()] == [naive_philox(tuple(c), key) for c in counters.tolist()]


def test_bits_are_the_cipher_of_block_view_position_epoch():
    position = torch.tensor([0, 7, 2**32 - 1])
    words = keyed.bits(seed=3, stream="s", epoch=5, position=position, view=1, slots=6)
    key = keyed._key(3, "s")
    for row, place in zip(words.tolist(), position.tolist(), strict=True):
        assert row == [*naive_philox((0, 1, place, 5), key), *naive_philox((1, 1, place, 5), key)[:2]]


def test_a_word_depends_on_its_own_key_only():
    def draw(position, slots=8, **change):
        arguments = {"seed": 1, "stream": "s", "epoch": 2, "view": 0} | change
        return keyed.bits(position=position, slots=slots, **arguments)

    position = torch.arange(100)
    words = draw(position)
    assert torch.equal(words, draw(position))
    assert torch.equal(words[:, :3], draw(position, slots=3))
    assert torch.equal(words[[9, 4]], draw(torch.tensor([9, 4])))
    for change in ({"seed": 2}, {"stream": "t"}, {"epoch": 3}, {"view": 1}):
        assert (words == draw(position, **change)).float().mean() < 0.01


def test_no_two_of_a_million_keys_share_a_draw():
    position = torch.arange(2_500)
    blocks = torch.cat(
        [
            keyed.bits(seed=0, stream="augment", epoch=epoch, position=position, view=view, slots=4)
            for epoch in range(100)
            for view in range(4)
        ]
    )
    assert len(blocks) == 1_000_000
    # Two different pairs of words pack into two different int64; distinct packs mean distinct draws of four words.
    halves = (blocks[:, 0::2] << 32) | blocks[:, 1::2]
    order = torch.argsort(halves[:, 0], stable=True)
    first, second = halves[order].unbind(1)
    collisions = (first[1:] == first[:-1]) & (second[1:] == second[:-1])
    assert not collisions.any()


def test_uniform_is_uniform():
    draws = keyed.uniform(seed=0, stream="u", epoch=0, position=torch.arange(250_000), view=0, slots=4)
    assert draws.dtype == torch.float32
    assert draws.min() >= 0
    assert draws.max() < 1
    counts = torch.histc(draws, bins=100, min=0, max=1).double()
    chi_square = ((counts - 10_000) ** 2 / 10_000).sum()
    assert 60 < chi_square < 149  # the central 99.8 % of chi-square with 99 degrees of freedom
    correlation = torch.corrcoef(draws.double().T)
    assert (correlation - torch.eye(4)).abs().max() < 0.01


@pytest.mark.parametrize("n", [0, 1, 2, 7, 1000])
def test_permutation_holds_every_element_once(n):
    order = keyed.permutation(n, seed=0, stream="order", epoch=0)
    assert torch.equal(order.sort().values, torch.arange(n))


def test_permutation_depends_on_seed_stream_and_epoch():
    def order(**change):
        return keyed.permutation(1000, **({"seed": 0, "stream": "order", "epoch": 0} | change))

    assert torch.equal(order(), order())
    for change in ({"seed": 1}, {"stream": "other"}, {"epoch": 1}):
        assert (order() == order(**change)).sum() < 10


def test_permutation_sends_every_element_everywhere():
    orders = torch.stack([keyed.permutation(5, seed=0, stream="o", epoch=epoch) for epoch in range(10_000)])
    counts = torch.stack([torch.bincount(place, minlength=5) for place in orders.T])
    assert (counts - 2_000).abs().max() < 200  # five standard deviations


def test_derive_tells_names_apart():
    seeds = {
        keyed.derive(0),
        keyed.derive(1),
        keyed.derive(0, "a"),
        keyed.derive(0, "b"),
        keyed.derive(0, "1"),
        keyed.derive(0, 1),
        keyed.derive(0, "a", "b"),
        keyed.derive(0, "ab"),
    }
    assert len(seeds) == 8
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert keyed.derive(7, "weights") == keyed.derive(7, "weights")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_same_bits_on_cuda():
    position = torch.arange(1000)
    draws = [
        keyed.bits(seed=9, stream="d", epoch=4, position=position.to(device), view=2, slots=10).cpu()
        for device in ("cpu", "cuda")
    ]
    assert torch.equal(*draws)
