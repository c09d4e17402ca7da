"""info: what a picture tells of its making."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import ImageError
from ..imaging.save import read_text
from .console import say

HELP = "tell how a picture was made"


def add(command: argparse.ArgumentParser) -> None:
    """The command's flags."""
    command.add_argument("file", metavar="FILE", type=Path, help="a PNG, JPEG, WebP or AVIF of ours or of a WebUI's")


def run(args: argparse.Namespace) -> None:
    """Print its infotext."""
    text = read_text(args.file)
    if not text:
        raise ImageError(f"{args.file.name} tells nothing of its making. Give a picture as it was saved: what sends "
                         "pictures on often takes their texts away.")
    say(text)
