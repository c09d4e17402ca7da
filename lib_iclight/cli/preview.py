"""preview: a photo under another light at once, sketched without a model."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..imaging import read_picture
from ..imaging.outputs import plan_outputs
from ..instant import USED
from ..settings import FIELD
from .console import bars, say, warn
from .options import FLAGLESS, add_field, add_matting, add_output, session_of, settings_of

HELP = "show a photo under another light at once: a sketch, without a diffusion model"
ORIGINAL = "original"


def add(command: argparse.ArgumentParser) -> None:
    """The command's flags."""
    command.add_argument("foreground", metavar="PHOTO", type=Path, help="the picture of the subject")
    add_output(command)
    for name in USED:
        if name not in FLAGLESS:
            add_field(command, FIELD[name])
    command.add_argument("--normals", type=Path, metavar="PICTURE",
                         help="a normal map of this photo, at any size, from a ControlNet preprocessor, Blender, ...")
    command.add_argument("--convention", choices=("auto", "opengl", "directx"), default="auto",
                         help="of the normal map: green is up (opengl) or down (directx) (default: %(default)s)")
    command.add_argument("--size", type=size, default=ORIGINAL, metavar="PIXELS", dest="side",
                         help="the longer side at most, or original: the photo's own size (default: %(default)s)")
    add_matting(command)


def run(args: argparse.Namespace) -> None:
    """Sketch it, and write it."""
    settings = settings_of(args)
    normals = None if args.normals is None else read_picture(args.normals, "normal map")
    outputs = plan_outputs(args.output, [""], [args.foreground, args.background, args.mask, args.normals])
    with bars() as progress:
        made = session_of(args, progress).preview(settings, normals=normals, convention=args.convention, side=args.side)
    warn(made.notes)
    say(outputs.save("", made.picture, "IC-Light preview"))


def size(text: str) -> int | None:
    """A number of pixels, or None for the photo's own size. Raises ArgumentTypeError for what is neither."""
    if text == ORIGINAL:
        return None
    if not text.isdecimal() or not 16 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: give {ORIGINAL}, or pixels from 16 on")
    return int(text)
