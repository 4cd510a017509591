"""Random numbers as a pure function of (seed, stream, epoch, position, view, slot): no generator, no state.

Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) in int64 tensor arithmetic,
hence the same bits on every device. The key is a hash of (seed, stream); the counter is (slot block, view,
position, epoch). For one key the cipher is a bijection of 128-bit counters, so no two counters share a block of
four 32-bit words.
"""

import hashlib

import torch
from torch import Tensor

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)  # Philox4x32, Salmon et al. 2011, table 2
WEYL = (0x9E3779B9, 0xBB67AE85)  # golden ratio and sqrt(3) - 1, added to the key each round
ROUNDS = 10
WORDS = 4
MASK = 0xFFFFFFFF


def bits(*, seed: int, stream: str, epoch: int, position: Tensor, view: int, slots: int) -> Tensor:
    """Return ``slots`` random 32-bit words for each position.

    position: int64 (b,), values in [0, 2**32), as are epoch and view.
    Returns int64 (b, slots) on the device of ``position``, values in [0, 2**32). Word ``s`` does not depend on how
    many slots are asked for.
    """
    block = torch.arange(-(-slots // WORDS), device=position.device)
    counter = (
        block.expand(len(position), -1),
        torch.full_like(block, view),
        position[:, None].expand(-1, len(block)),
        torch.full_like(block, epoch),
    )
    words = philox(counter, _key(seed, stream))
    return torch.stack(words, dim=-1).flatten(1)[:, :slots]


def uniform(*, seed: int, stream: str, epoch: int, position: Tensor, view: int, slots: int) -> Tensor:
    """Return float32 (b, slots), uniform on [0, 1): the top 24 of each word's bits times 2**-24."""
    words = bits(seed=seed, stream=stream, epoch=epoch, position=position, view=view, slots=slots)
    return (words >> 8).to(torch.float32) * 2.0**-24


def permutation(n: int, *, seed: int, stream: str, epoch: int) -> Tensor:
    """Return a random order of ``range(n)``, int64 (n,): the argsort of one 63-bit word per element.

    Equal words (probability below n**2 * 2**-64) keep their order.
    """
    words = bits(seed=seed, stream=stream, epoch=epoch, position=torch.arange(-(-n // 2)), view=0, slots=WORDS)
    high, low = words.view(-1, 2)[:n].unbind(1)
    return torch.argsort((high << 31) | (low >> 1), stable=True)


def derive(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed for a generator that is not ours (``torch.manual_seed``), a hash of all arguments."""
    return int.from_bytes(_digest(seed, *names)) >> 1


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[int, int]) -> tuple[Tensor, ...]:
    """Encrypt 128-bit counters given as four int64 tensors of 32-bit words (broadcast) under a 64-bit key.

    A product of two 32-bit words wraps around in int64; its bits are still those of the unsigned product.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        product0, product1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (product1 >> 32 & MASK) ^ c1 ^ k0,
            product1 & MASK,
            (product0 >> 32 & MASK) ^ c3 ^ k1,
            product0 & MASK,
        )
        k0, k1 = (k0 + WEYL[0]) & MASK, (k1 + WEYL[1]) & MASK
    return c0, c1, c2, c3


def _key(seed: int, stream: str) -> tuple[int, int]:
    """Hash (seed, stream) to the two 32-bit words of a key."""
    digest = _digest(seed, stream)
    return int.from_bytes(digest[:4]), int.from_bytes(digest[4:])


def _digest(*parts: str | int) -> bytes:
    """Return 8 bytes of BLAKE2b over the parts, types and lengths included."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
