"""cutout: the foreground, cut out as a relight would."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..effects import idle
from ..settings import FIELDS
from .console import bars, warn
from .files import save, target
from .options import WITH_ALPHA, add_field, add_matting, add_output, session_of, settings_of

HELP = "cut the foreground out"


def add(command: argparse.ArgumentParser) -> None:
    """The command's flags."""
    command.add_argument("foreground", metavar="IN", type=Path, help="the picture of the subject")
    add_output(command, WITH_ALPHA)
    for field in FIELDS:
        if field.name == "matting" or field.group == "matting":
            add_field(command, field)
    add_matting(command)


def run(args: argparse.Namespace) -> None:
    """Cut it out, and write it."""
    settings = settings_of(args)
    out = target(args.output, WITH_ALPHA, args.foreground, args.mask)
    with bars() as progress:
        picture = session_of(args, progress).subject(settings).cutout()
    warn(found.sentence for found in idle(settings))
    save(picture, out, "IC-Light cutout")
