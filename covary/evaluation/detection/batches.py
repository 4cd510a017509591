"""The batches of a detection training, read ahead by threads."""

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import torch

from covary import dist
from covary.evaluation.detection.options import Schedule
from covary.evaluation.detection.transforms import Example, random_example
from covary.evaluation.detection.voc import Boxed
from covary.keyed import permutation

AHEAD = 32  # images prepared before they are asked for
READERS = 4  # threads that prepare them


def batches(
    images: Sequence[Boxed], schedule: Schedule, *, seed: int, start: int, stop: int
) -> Iterator[list[Example]]:
    """Yield this process's images of the iterations from ``start`` to ``stop``.

    Iteration i has the positions [i b, (i + 1) b) of an endless order of the n images, permuted anew every n; process
    r of W gets the r-th of W equal parts. A function of (seed, iteration) alone.
    """
    share = schedule.batch_size // dist.world_size()
    own = dist.rank() * share
    positions = (
        iteration * schedule.batch_size + own + offset for iteration in range(start, stop) for offset in range(share)
    )
    ordered = _Order(len(images), seed)
    waiting: deque[Future[Example]] = deque()
    with ThreadPoolExecutor(READERS) as readers:
        try:
            for _ in range(start, stop):
                while len(waiting) < max(AHEAD, share) and (position := next(positions, None)) is not None:
                    boxed = images[ordered.image(position)]
                    waiting.append(readers.submit(random_example, boxed, schedule, seed=seed, position=position))
                yield [waiting.popleft().result() for _ in range(share)]
        finally:
            readers.shutdown(cancel_futures=True)


class _Order:
    """The endless order of the images, one epoch's permutation held."""

    def __init__(self, count: int, seed: int) -> None:
        self._count, self._seed, self._epoch = count, seed, -1
        self._order = torch.empty(0, dtype=torch.int64)

    def image(self, position: int) -> int:
        """Return the index of the image at a position."""
        epoch, place = divmod(position, self._count)
        if epoch != self._epoch:
            self._order = permutation(self._count, seed=self._seed, stream="detection", epoch=epoch)
            self._epoch = epoch
        return int(self._order[place])
