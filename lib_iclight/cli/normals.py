"""normals: which way the subject of a stage faces."""

from __future__ import annotations

import argparse

from PIL import Image

from ..imaging.outputs import plan_outputs
from ..stage import normals, to_colors
from ..stage.normals import RELIEF
from .console import say, warn
from .options import add_output
from .sets import add_stage, read_stage, sources_of

HELP = "measure a normal map from a light stage"
METHODS = ("pairs", "reference", "lambert")


def add(command: argparse.ArgumentParser) -> None:
    """The command's flags."""
    add_stage(command)
    add_output(command)
    command.add_argument("--relief", type=float, metavar="N", help="how deep the relief is, of the method pairs: "
                         f"0 (flat) to 1 (default: {RELIEF:g})")
    command.add_argument("--method", metavar="{" + ",".join(METHODS) + "}", help="how it is measured (default: "
                         "lambert for three or more photographed lamps, else pairs)")


def run(args: argparse.Namespace) -> None:
    """Measure them, and write them as a picture."""
    stage = read_stage(args)
    outputs = plan_outputs(args.output, [""], sources_of(args, stage))
    made = normals(stage, args.method, RELIEF if args.relief is None else args.relief)
    by_pairs = args.method == "pairs" or (args.method is None and sum(lamp.true for lamp in stage.lamps) < 3)
    if args.relief is not None and not by_pairs:
        warn(["The relief is not used: it is of the method pairs."])
    say(outputs.save("", Image.fromarray(to_colors(made)), "IC-Light normals"))
