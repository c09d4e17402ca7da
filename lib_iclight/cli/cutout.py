"""cutout: the foreground, cut out as a relight would."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..effects import idle
from ..imaging.outputs import Output, plan_outputs
from ..imaging.save import WITH_ALPHA
from ..settings import FIELDS
from ..subject import TRANSPARENCY_UNUSED
from .console import bars, say, warn
from .flags import idle_flags
from .options import add_field, add_matting, add_output, session_of, settings_of, size_of

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
    outputs = plan_outputs(args.output, [Output(size=size_of(settings))], [args.foreground, args.mask],
                           endings=WITH_ALPHA)
    with bars() as progress:
        session = session_of(args, progress)
        subject = session.subject(settings)
        picture = subject.cutout()
    warn([*(found.sentence for found in idle(settings)), *idle_flags(args, session)])
    if subject.is_whole and subject.own_alpha is not None:
        warn([TRANSPARENCY_UNUSED])
    say(outputs.save("", picture, "IC-Light cutout"))
