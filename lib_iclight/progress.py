"""How long work reports itself: one callable, so that pages, consoles and tests can each listen in their way."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Called now and then during a download or a long computation."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """`what` is a short text for a person; `done` of `total` units (bytes, steps); total 0 = unknown."""


def silent(what: str, done: int, total: int) -> None:
    """The listener that does not listen."""


def part_of(progress: Progress, number: int, count: int) -> Progress:
    """How the pass of that number, from 0 on, of `count` reports: sampling as its part of all, the rest the first time.
    """
    def report(what: str, done: int, total: int) -> None:
        if what == "sampling":
            progress(what, number * total + done, count * total)
        elif number == 0:
            progress(what, done, total)

    return report
