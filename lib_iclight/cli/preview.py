"""preview: a photo under another light at once, sketched without a model."""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image

from ..console import Note
from ..imaging import composite_on_grey, read_picture, split_alpha
from ..imaging.outputs import plan_outputs
from ..imaging.save import WITH_ALPHA
from ..instant import USED
from ..settings import FIELD
from .console import bars, say, warn
from .flags import idle_flags
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
        session = session_of(args, progress)
        made = session.preview(settings, normals=normals, convention=args.convention, side=args.side)
    picture, notes = made.picture, [*made.notes, *idle_flags(args, session)]
    if picture.mode == "RGBA" and args.output.suffix.lower() not in WITH_ALPHA:
        rgb, alpha = split_alpha(picture)
        picture = Image.fromarray(rgb if alpha is None else composite_on_grey(rgb, alpha))
        notes.append(Note(f"The cut-out lies on grey: a {args.output.suffix.lower()} has no transparency."))
    warn(notes)
    say(outputs.save("", picture, "IC-Light preview"))


def size(text: str) -> int | None:
    """A number of pixels, or None for the photo's own size. Raises ArgumentTypeError for what is neither."""
    if text == ORIGINAL:
        return None
    if not text.isdecimal() or not 16 <= int(text) <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no size: give {ORIGINAL}, or pixels from 16 on")
    return int(text)
