"""relight: a picture under another light."""

from __future__ import annotations

import argparse
from pathlib import Path

from .console import bars, warn
from .files import beside, save, target
from .options import FORMATS, WITH_ALPHA, add_output, add_settings, generation_of, session_of, settings_of

HELP = "relight a picture with Stable Diffusion 1.5"


def add(command: argparse.ArgumentParser) -> None:
    """The command's flags."""
    command.add_argument("foreground", metavar="FOREGROUND", type=Path, help="the picture of the subject")
    add_output(command, FORMATS, "several pictures become OUT-1.png, OUT-2.png, ...")
    add_settings(command)


def run(args: argparse.Namespace) -> None:
    """Relight, and write every picture that was asked for."""
    settings = settings_of(args, enabled=True)
    out = target(args.output, FORMATS, args.foreground, args.background, args.mask)
    with bars() as progress:
        session = session_of(args, progress)
        generation = generation_of(args, settings, session.native)
        made = session.relight(settings, generation)
    if session.note:
        print(f"note: this is the {session.note}; give --checkpoint for that")
    warn(made.warnings)
    for output in made.outputs:
        path = beside(out, str(output.number)) if output.number and generation.batch > 1 else out
        path = path if output.name == "result" else beside(path, output.name)
        transparent = output.picture.mode == "RGBA" and path.suffix.lower() not in WITH_ALPHA
        save(output.picture, path.with_suffix(".png") if transparent else path, output.text)
