"""Signals that ask a run to stop: noted when they come, acted on between two steps."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class Interrupted(Exception):
    """A signal stopped the run after a checkpoint; the same command continues it."""

    def __init__(self, signum: int, step: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name} at step {step}; run the same command to continue")
        self.signum = signum


class Stop:
    """A signal to stop, noted by the handler."""

    signum: int | None = None

    def note(self, signum: int, frame: FrameType | None) -> None:
        """Note the signal; a second SIGINT interrupts at once."""
        if signum == signal.SIGINT and self.signum == signal.SIGINT:
            raise KeyboardInterrupt
        self.signum = signum


@contextmanager
def stop_signals() -> Iterator[Stop]:
    """Note ``SIGNALS`` while the ``with`` block runs; in a thread other than the main one nothing is noted."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = [signal.signal(signum, stop.note) for signum in SIGNALS]
    try:
        yield stop
    finally:
        for signum, handler in zip(SIGNALS, previous, strict=True):
            signal.signal(signum, handler)
