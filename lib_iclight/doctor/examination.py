"""The whole examination, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..hosts.standalone.checkpoint import Checkpoint
from ..progress import Progress, silent
from ..session import Session
from ..settings import MODES
from ..weights import Offsets, find
from . import checks, facts
from .report import UNTRIED, Line, Report, tried


def examine(session: Session, *, host: str = "none", adapter: str = "standalone", device: str = "auto",
            checkpoint: Callable[[], Checkpoint] | None = None, photo: object = None,
            progress: Progress = silent) -> Report:
    """Everything that can be told of an installation. Nothing is downloaded and nothing raises.

    host, adapter: where the program runs, as the console's line at the start has it. device: as `Session.open` takes
    it. checkpoint: opens what the offsets and one noise prediction are checked with, and loaded twice; without one only
    files and formulas are looked at. photo: a picture to cut out.
    """
    lines = [*tried("IC-Light", lambda: facts.installation(host, adapter)),
             *tried("device", lambda: facts.device(device)),
             *tried("folders", lambda: facts.folders(session.folders)),
             *tried("weights", lambda: facts.weights(session.folders, progress)),
             *tried("cut-out", lambda: facts.cutouts(session.folders))]
    if checkpoint is None:
        lines.append(Line("noise", f"{UNTRIED} here: `iclight doctor --checkpoint FILE --weights-dir FOLDER` does"))
    else:
        lines += tried("checkpoint", lambda: _sampling(session, checkpoint, device))
    lines += [*tried("light map", checks.light_maps),
              *tried("transparency", lambda: checks.own_transparency(session, progress)),
              *tried("cut-out", lambda: checks.cutouts(session, progress, photo)),
              *tried("preserve", checks.preservation)]
    return Report(tuple(lines))


def _sampling(session: Session, checkpoint: Callable[[], Checkpoint], device: str) -> Iterator[Line]:
    opened = checkpoint()
    yield Line("checkpoint", opened.name)
    for kind in MODES:
        yield from tried(f"noise {kind}", lambda kind=kind: _noise(  # type: ignore[misc]
            session, opened, kind, device))


def _noise(session: Session, checkpoint: Checkpoint, kind: str, device: str) -> Iterator[Line]:
    """The offsets of a mode, where they are here: sound, merged, and in one prediction."""
    from ..hosts.standalone.host import pick_device
    from . import equations

    offsets = _offsets(session, checkpoint, kind)
    if offsets is None:
        yield Line(f"noise {kind}", f"{UNTRIED}: no weights of this kind are here")
        return
    sound = equations.sound(offsets)
    yield sound
    if sound.right:
        yield from equations.compare(checkpoint, offsets, pick_device(device))


def _offsets(session: Session, checkpoint: Checkpoint, kind: str) -> Offsets | None:
    brought = checkpoint.offsets(kind)
    if brought is not None:
        return brought
    file = find(kind, "auto", session.folders.weights)
    return None if file is None else session.map_offsets(file, "diffusers")
