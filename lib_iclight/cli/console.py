"""What a person sees at the console while a command runs: bars of progress, warnings, notes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, NoReturn

from ..progress import Progress

if TYPE_CHECKING:
    from tqdm import tqdm


@contextlib.contextmanager
def bars() -> Iterator[Progress]:
    """Progress as bars on standard error, one for each thing that reports."""
    from tqdm import tqdm

    bar: tqdm[NoReturn] | None = None
    shown = ""

    def show(what: str, done: int, total: int) -> None:
        nonlocal bar, shown
        if bar is None or what != shown:
            if bar is not None:
                bar.close()
            shown = what
            bar = tqdm(desc=what, total=total or None, file=sys.stderr, leave=False, unit_scale=True, unit="")
        bar.update(done - bar.n)

    try:
        yield show
    finally:
        if bar is not None:
            bar.close()


def warn(sentences: Iterable[str]) -> None:
    """Tell what was given and changed nothing, and the like, one line each on standard error."""
    for sentence in sentences:
        print(f"warning: {sentence}", file=sys.stderr)
