"""animate: moving light, as a WebP or MP4."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..imaging.outputs import check_target
from ..progress import Progress
from ..stage import Stage
from ..stage.animation import (
    Movement,
    along_path,
    check_ending,
    frame_count,
    frames,
    orbit,
    path_from_json,
    turning,
    write_animation,
)
from .console import bars, say, warn
from .sets import add_environment, add_stage, environment_of, read_stage, sources_of

HELP = "animate the light of a light stage"
LARGEST = 1024
"""pixels of the longer side of an animation"""


def add(command: argparse.ArgumentParser) -> None:
    """The command's flags."""
    add_stage(command)
    command.add_argument("-o", "--output", metavar="OUT", type=Path, required=True,
                         help="the animation to write: .webp, or .mp4 (needs the package av or imageio-ffmpeg)")
    light = command.add_mutually_exclusive_group(required=True)
    light.add_argument("--orbit", action="store_true", help="a light goes once around the subject")
    light.add_argument("--path", metavar="JSON", help="a lamp goes along these points, x and y from 0 to 1: "
                       "[[0, 0.5], [1, 0.5]]")
    add_environment(light)
    command.add_argument("--seconds", type=float, default=4.0, metavar="N", help="how long (default: 4)")
    command.add_argument("--fps", type=float, default=24.0, metavar="N", help="frames a second (default: 24)")


def run(args: argparse.Namespace) -> None:
    """Mix every frame, and write them."""
    count = frame_count(args.seconds, args.fps)
    check_ending(args.output)
    stage = read_stage(args)
    given = [] if args.environment is None else [Path(args.environment)]
    check_target(args.output, [*sources_of(args, stage), *given])
    small = stage.reduced(LARGEST)
    movement = _movement(args, small, count)
    if (small.width, small.height) != (stage.width, stage.height):
        warn([f"The animation is {small.width} x {small.height} pixels, smaller than the stage."])
    with bars() as progress:
        write_animation(args.output, _told(frames(small, movement), count, progress), count, args.fps)
    say(args.output)


def _movement(args: argparse.Namespace, stage: Stage, count: int) -> Movement:
    if args.environment is not None:
        return turning(stage, count, environment_of(args.environment))
    return orbit(stage, count) if args.orbit else along_path(stage, count, path_from_json(args.path))


def _told(pictures: Iterator[NDArray[np.uint8]], count: int, progress: Progress) -> Iterator[NDArray[np.uint8]]:
    for number, picture in enumerate(pictures, 1):
        progress("mixing", number, count)
        yield picture
