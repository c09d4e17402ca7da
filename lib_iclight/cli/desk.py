"""desk: a stage and the desk to mix it on, as one page for any browser."""

from __future__ import annotations

import argparse
import importlib
from pathlib import Path

from ..errors import ImageError
from ..imaging.outputs import check_target
from .console import say
from .sets import add_stage, read_stage, sources_of

HELP = "write a page to mix a light stage on, which needs no network"


def add(command: argparse.ArgumentParser) -> None:
    """The command's flags."""
    add_stage(command)
    command.add_argument("-o", "--output", metavar="OUT", type=Path, required=True, help="the page to write (.html)")


def run(args: argparse.Namespace) -> None:
    """Write the page."""
    if args.output.suffix.lower() not in (".html", ".htm"):
        raise ImageError(f"a page cannot be written as {args.output.name!r}: its ending must be .html.")
    stage = read_stage(args)
    check_target(args.output, sources_of(args, stage))
    importlib.import_module("lib_iclight.stage.desk").write_desk(stage, args.output)
    say(args.output)
