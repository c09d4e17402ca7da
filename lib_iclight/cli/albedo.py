"""albedo: the colour of a stage's subject, without light."""

from __future__ import annotations

import argparse

from PIL import Image

from ..imaging.outputs import plan_outputs
from ..stage import albedo, normals
from ..stage.files import to_codes
from .console import say
from .options import add_output
from .sets import add_stage, read_stage, sources_of

HELP = "estimate the subject's own colour from a light stage"


def add(command: argparse.ArgumentParser) -> None:
    """The command's flags."""
    add_stage(command)
    add_output(command)


def run(args: argparse.Namespace) -> None:
    """Estimate it, and write it."""
    stage = read_stage(args)
    outputs = plan_outputs(args.output, [""], sources_of(args, stage))
    say(outputs.save("", Image.fromarray(to_codes(albedo(stage, normals(stage)))), "IC-Light albedo"))
