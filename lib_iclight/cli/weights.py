"""weights: what a weights file is."""

from __future__ import annotations

import argparse
from pathlib import Path

from .console import bars, say

HELP = "tell what a weights file is"


def add(command: argparse.ArgumentParser) -> None:
    """The command's flags."""
    command.add_argument("file", metavar="FILE", type=Path, help="a .safetensors file")


def run(args: argparse.Namespace) -> None:
    """Identify and hash it, and say whether it is one that IC-Light's authors published."""
    from ..weights import hashed, identify, published
    from ..weights.keys import KEYS

    file = identify(args.file)
    with bars() as progress:
        file = hashed(file, progress)
    official = published(file.sha256)
    for name, value in (("file", file.name), ("kind", file.kind), ("inputs", file.inputs), ("layout", file.layout),
                        ("dtype", file.dtype), ("keys", len(KEYS)), ("size", f"{file.size} bytes"),
                        ("sha256", file.sha256),
                        ("official", f"yes, {official.name}" if official else "no, its hash is not a published one")):
        say(f"{name + ':':<10}{value}")
