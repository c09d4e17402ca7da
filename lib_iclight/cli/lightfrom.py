"""lightfrom: the light that a picture shows, as a spec."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ..console import printable
from ..effects import idle
from ..lightfrom import light_of_picture
from ..settings import FIELD
from .console import bars, say, warn
from .flags import idle_flags
from .options import add_field, add_matting, session_of, settings_of

HELP = "print the light that a picture shows, as a light spec in JSON"


def add(command: argparse.ArgumentParser) -> None:
    """The command's flags."""
    command.add_argument("foreground", metavar="PICTURE", type=Path, help="a background, or any photo")
    command.add_argument("--matting", metavar="NAME",
                         help="leave out what this cut-out finds to be the subject: auto or a model's name "
                         "(default: none: the whole picture tells)")
    add_field(command, FIELD["mask"])
    add_matting(command)


def run(args: argparse.Namespace) -> None:
    """Print the spec; what was found, in words, goes to standard error."""
    if args.matting is None:
        args.matting = FIELD["matting"].default if args.mask is not None else "none"
    settings = settings_of(args)
    with bars() as progress:
        session = session_of(args, progress)
        found = light_of_picture(session.subject(settings))
    warn([*(one.sentence for one in idle(settings)), *idle_flags(args, session)])
    print(printable(found.note, sys.stderr), file=sys.stderr)
    say(json.dumps(found.spec.to_dict()))
