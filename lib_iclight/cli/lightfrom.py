"""lightfrom: the light that a picture shows, as a spec."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ..console import printable
from ..lightfrom import light_of_picture
from ..settings import FIELD
from .console import bars, say
from .options import add_field, add_matting, session_of, settings_of

HELP = "print the light that a picture shows, as a light spec in JSON"


def add(command: argparse.ArgumentParser) -> None:
    """The command's flags."""
    command.add_argument("foreground", metavar="PICTURE", type=Path, help="a background, or any photo")
    command.add_argument("--matting", default="none", metavar="NAME",
                         help="leave out what this cut-out finds to be the subject: auto or a model's name "
                         "(default: none: the whole picture tells)")
    add_field(command, FIELD["mask"])
    add_matting(command)


def run(args: argparse.Namespace) -> None:
    """Print the spec; what was found, in words, goes to standard error."""
    settings = settings_of(args)
    with bars() as progress:
        found = light_of_picture(session_of(args, progress).subject(settings))
    print(printable(found.note, sys.stderr), file=sys.stderr)
    say(json.dumps(found.spec.to_dict()))
