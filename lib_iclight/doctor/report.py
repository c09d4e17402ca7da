"""What the doctor says: lines, and a paper of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from ..errors import ICLightError, plain
from ..files import reason

log = logging.getLogger("iclight")
_WORDS = {None: "", True: "right", False: "wrong"}
UNTRIED = "not tried"
"""how the line of a check begins that had nothing to try"""


class Line(NamedTuple):
    """A fact, or the outcome of a check."""

    name: str
    """what it is about, in a word or two"""
    told: str
    """what was found, without folders"""
    right: bool | None = None
    """whether it is as it should be; None for what is neither"""

    def __str__(self) -> str:
        return f"{_WORDS[self.right]:<6} {self.name:<14} {self.told}".rstrip()


class Report(NamedTuple):
    """All lines of one examination."""

    lines: tuple[Line, ...]

    @property
    def right(self) -> bool:
        """Whether no line says that something is wrong."""
        return all(line.right is not False for line in self.lines)

    @property
    def verdict(self) -> str:
        """The last line."""
        checks = [line for line in self.lines if line.right is not None]
        wrong = sum(not line.right for line in checks)
        untried = sum(line.told.startswith(UNTRIED) for line in self.lines)
        return (f"{len(checks)} checks, {f'{wrong} wrong' if wrong else 'all right'}"
                + (f"; {untried} not tried" if untried else ""))

    def __str__(self) -> str:
        return "\n".join([*map(str, self.lines), self.verdict])


def tried(name: str, check: Callable[[], Line | Iterable[Line]]) -> Iterator[Line]:
    """The lines of a check; one that says what happened where it fails, whatever that is."""
    try:
        made = check()
        yield from [made] if isinstance(made, Line) else made
    except ICLightError as error:
        yield Line(name, str(error), False)
    except Exception as error:  # whatever is broken here, it is to be told and the other checks are to go on
        log.debug("the doctor's check %s failed", name, exc_info=True)
        # Without the message: it may name folders, and the paper is made to be shown around.
        yield Line(name, plain(f"it ended with {type(error).__name__} ({reason(error)})."), False)
