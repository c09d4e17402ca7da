"""doctor: what is installed here, and whether it works."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import SettingsError
from ..imaging import read_picture
from ..matting import DEVICES
from ..session import Session
from .console import bars, say
from .options import add_models, folders_of

HELP = "tell what is installed here, and check it with your own files; for an issue"


def add(command: argparse.ArgumentParser) -> None:
    """The command's flags."""
    command.add_argument("--photo", metavar="PICTURE", type=Path, help="cut this picture out too")
    add_models(command, loras=False)


def run(args: argparse.Namespace) -> int:
    """Examine, and print the paper: 0 where all is right, 1 where something is wrong. Raises SettingsError, ImageError.
    """
    from ..doctor import examine
    from ..hosts.standalone.checkpoint import open_checkpoint

    if args.matting_device not in DEVICES:
        raise SettingsError(f"the cut-out's device must be {' or '.join(DEVICES)}, not {args.matting_device!r}.")
    photo = None if args.photo is None else read_picture(args.photo, "photo")
    with bars() as progress:
        # Not `Session.open`, which refuses what cannot be used: here that is a line of the paper.
        session = Session(folders=folders_of(args), progress=progress, matting_device=lambda: args.matting_device)
        report = examine(session, host="command line", device=args.device,
                         checkpoint=lambda: open_checkpoint(args.checkpoint), photo=photo, progress=progress)
    for line in str(report).splitlines():
        say(line)
    return 0 if report.right else 1
