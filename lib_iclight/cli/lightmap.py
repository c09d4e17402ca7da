"""lightmap: the light map of a light."""

from __future__ import annotations

import argparse

from ..errors import LightError
from ..fields import FROM_BACKGROUND
from ..generation import Generation
from ..imaging.outputs import plan_outputs
from ..lights import light_map
from ..settings import FIELD, Settings
from .console import say
from .options import add_field, add_output, add_size

HELP = "draw the light map of a light"


def add(command: argparse.ArgumentParser) -> None:
    """The command's flags."""
    add_output(command)
    add_field(command, FIELD["light"])
    command.add_argument("--mode", default="fc", metavar="{fc,fcon,fbc}",
                         help="the form of the map: fbc's is softer, it serves as a background (default: fc)")
    add_size(command, f"{Generation.width} x {Generation.height}")


def run(args: argparse.Namespace) -> None:
    """Draw it, and write it."""
    from PIL import Image

    settings = Settings(mode=args.mode, light=args.light)
    if settings.light == FROM_BACKGROUND:
        raise LightError("lightmap draws a light, and has no background. Find that light with lightfrom, and give "
                         "what it prints.")
    size = Generation(width=Generation.width if args.width is None else args.width,
                      height=Generation.height if args.height is None else args.height)
    outputs = plan_outputs(args.output, [""])
    pixels = light_map(settings.light, size.width, size.height, "fbc" if settings.mode == "fbc" else "fc")
    if pixels is None:
        raise LightError("there is no light to draw. Choose one, such as --light left.")
    say(outputs.save("", Image.fromarray(pixels), "IC-Light lightmap"))
