"""What a person sees at the console while a command runs: bars of progress, warnings, notes."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from ..console import Note, printable
from ..errors import ImageError
from ..progress import Progress

if TYPE_CHECKING:
    from tqdm import tqdm

    from ..session import Session


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
    """Tell what was given and changed nothing, what was found, and the like, one line each on standard error."""
    for sentence in sentences:
        word = "note" if isinstance(sentence, Note) else "warning"
        print(printable(f"{word}: {sentence}", sys.stderr), file=sys.stderr)


def tell_model(session: Session) -> None:
    """On standard error what there is to know of the session's model, such as that it is the pocket model."""
    if session.note:
        warn([Note(f"this is the {session.note}; give --checkpoint for that")])


def each_of(savings: Iterable[Callable[[], Path]]) -> tuple[list[Path], list[ImageError]]:
    """Write every picture, whichever fails: the paths of those that were written, and the errors of the others."""
    paths, failed = [], []
    for save in savings:
        try:
            paths.append(save())
        except ImageError as error:
            failed.append(error)
    return paths, failed


def say(what: object) -> None:
    """Print a result to standard output, whatever letters the console knows."""
    print(printable(what, sys.stdout))
