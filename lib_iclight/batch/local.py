"""Goes through a folder in this process: cut-outs are made in a thread while the UNet works."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from ..progress import Progress, silent
from .report import Report, Row, Tally
from .worker import Busy, Prepared, Worker

AHEAD = 2
"""pictures that are ready, or being made ready, while another is sampled"""
PATIENCE = 1.0
"""seconds between two looks at a picture that another process is at"""

Listen = Callable[[Tally, Row | None], None]
"""hears how far the batch is, with the row of the picture that was last done"""


class _Ready(NamedTuple):
    name: str
    outcome: Prepared | Row | type[Busy]


class _End(NamedTuple):
    error: BaseException | None


def run(worker: Worker, names: Sequence[str], report: Report, *, stop: threading.Event | None = None,
        listen: Listen = lambda tally, row: None, progress: Progress = silent) -> Tally:
    """Make all pictures of these names that are not there; returns what became of them.

    stop: set, it ends the batch after the picture in work. What another process is at is looked at again in the end.
    Raises what stands in the way of every picture (`worker.FATAL`); what was made until then is there.
    """
    tally = Tally(len(names))
    listen(tally, None)
    for row in rows(worker, names, stop or threading.Event(), progress):
        report.add(row)
        tally.count(row)
        listen(tally, row)
    return tally


def rows(worker: Worker, names: Sequence[str], stop: threading.Event, progress: Progress = silent) -> Iterator[Row]:
    """Make the pictures; see `run`. What is claimed is given back when the next row is asked for: it is told then."""
    others: list[str] = []
    with _prepared(worker, names, stop) as prepared:
        for name, outcome in prepared:
            if isinstance(outcome, type):
                others.append(name)
            else:
                yield from _made(worker, outcome, progress)
    for name in others:  # most are done by now
        while not stop.is_set():
            outcome = worker.prepare(name)
            if not isinstance(outcome, type):
                yield from _made(worker, outcome, progress)
                break
            time.sleep(PATIENCE)


def _made(worker: Worker, outcome: Prepared | Row, progress: Progress) -> Iterator[Row]:
    """The one row of what is made, or was found."""
    key = outcome.key if isinstance(outcome, Row) else outcome.asked.target.key
    try:
        yield outcome if isinstance(outcome, Row) else worker.make(outcome, progress)
    finally:
        worker.release(key)


@contextmanager
def _prepared(worker: Worker, names: Sequence[str], stop: threading.Event) -> Iterator[Iterator[_Ready]]:
    """The pictures made ready in a thread, a few ahead; claims on what is not taken are given back in the end."""
    ready: queue.Queue[_Ready | _End] = queue.Queue(AHEAD)
    leaving = threading.Event()

    def work() -> None:
        error: BaseException | None = None
        try:
            for name in names:
                if stop.is_set() or leaving.is_set():
                    break
                ready.put(_Ready(name, worker.prepare(name)))
        except BaseException as caught:  # raised again where the pictures are taken
            error = caught
        ready.put(_End(error))

    def taken() -> Iterator[_Ready]:
        while isinstance(one := ready.get(), _Ready):
            if stop.is_set():
                _give_back(worker, one)
            else:
                yield one
        ended.set()
        if one.error is not None:
            raise one.error

    ended = threading.Event()
    thread = threading.Thread(target=work, name="batch-ahead", daemon=True)
    thread.start()
    try:
        yield taken()
    finally:
        leaving.set()
        while not ended.is_set():  # the thread may wait for room
            one = ready.get()
            if isinstance(one, _End):
                break
            _give_back(worker, one)
        thread.join()


def _give_back(worker: Worker, one: _Ready) -> None:
    if isinstance(one.outcome, Prepared):
        worker.release(one.outcome.asked.target.key)
    elif isinstance(one.outcome, Row):
        worker.release(one.outcome.key)
