"""Ending a batch in good order when a person, or the system, asks for it."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def asked(told: Callable[[], None] = lambda: None) -> Iterator[threading.Event]:
    """An event that Ctrl+C or the system's request to end sets, and `told` hears of; the second interrupts at once.

    What was done about these signals before is put back. In another thread than the main one no signal arrives.
    """
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()
        told()

    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
