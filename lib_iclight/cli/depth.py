"""depth: how far a stage's subject stands out."""

from __future__ import annotations

import argparse

from ..imaging.outputs import plan_outputs
from ..stage import depth, depth_codes, normals
from ..stage.files import write_png
from .console import say
from .options import add_output
from .sets import add_stage, read_stage, sources_of

HELP = "estimate a depth map from a light stage, as a PNG of 16 bits"
PNG = (".png",)


def add(command: argparse.ArgumentParser) -> None:
    """The command's flags."""
    add_stage(command)
    add_output(command, PNG)


def run(args: argparse.Namespace) -> None:
    """Estimate it, and write it: 0 outside, 1 far to 65535 near."""
    stage = read_stage(args)
    plan_outputs(args.output, [""], sources_of(args, stage), endings=PNG)
    write_png(args.output, depth_codes(depth(stage, normals(stage)), stage.subject))
    say(args.output)
