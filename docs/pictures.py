"""The pictures of README.md and these pages, made anew: python -m docs.pictures [NAME ...] [--models FOLDER]

Each is made by one function from what is in examples/, and lies in docs/images/ as NAME.webp, at most 300 kB. The
sketches need the cut-out model (170 MB, downloaded into FOLDER where it is missing), the others the pocket model, which
comes with the program. The screenshots there are from real WebUIs: python -m tests.live with -k page writes them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image, ImageDraw

from lib_iclight.demo import CASES, FOREGROUND, PROMPT
from lib_iclight.imaging import load_image
from lib_iclight.session import Session
from lib_iclight.settings import Settings
from lib_iclight.stage import load
from lib_iclight.stage.animation import frame_count, frames, write_animation
from lib_iclight.stage.animation import orbit as stage_orbit

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
IMAGES = ROOT / "docs" / "images"
LARGEST = 300_000
"""bytes of a picture"""
QUALITY = 82
COMMON: dict[str, Any] = {"prompt": PROMPT, "seed": 9}
POCKET_CASES = ("left", "right", "top", "warm sunset light", "cold blue light")
SECONDS, FPS = 4.0, 12.0
CELL, GAP, TITLE = 160, 6, 22
"""pixels of a sheet: the longer side of a picture, what lies between pictures, the height of a title"""


def main(argv: Sequence[str] | None = None) -> int:
    """Make the pictures that are named, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m docs.pictures", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(PICTURES)} (default: all)")
    parser.add_argument("--models", type=Path, default=ROOT / "models", metavar="FOLDER",
                        help="holds matting/ with the cut-out model (default: models)")
    arguments = parser.parse_args(argv)
    for name in arguments.names:
        if name not in PICTURES:
            parser.error(f"there is no picture {name}; there are {', '.join(PICTURES)}")
    IMAGES.mkdir(exist_ok=True)
    session = Session.open(models=arguments.models, device="cpu")
    for name in arguments.names or PICTURES:
        path = IMAGES / f"{name}.webp"
        PICTURES[name](session, path)
        if path.stat().st_size > LARGEST:
            sys.exit(f"{path.name} has {path.stat().st_size} bytes, more than {LARGEST}. Make it smaller.")
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size} bytes")
    return 0


def sketches(session: Session, path: Path) -> None:
    """Photos, and a drawing, under five lights: the sketch, which needs no diffusion model."""
    lights = ("left", "right", "top", "sunset", "neon pair")
    photos: list[Image.Image] = [
        load_image(EXAMPLES / name) for name in ("astronaut.jpg", "chelsea.jpg", "coffee.jpg", "rocket.jpg")]
    photos += [load_image(EXAMPLES / "rendered-vase.png"), drawing()]
    rows = []
    for photo in photos:
        scaled = photo.copy()
        scaled.thumbnail((2 * CELL, 2 * CELL))
        row = [scaled.convert("RGBA")]
        row += [session.preview(Settings(foreground=photo, light=light), side=2 * CELL).picture for light in lights]
        rows.append(row)
    save(sheet(["as it was", *lights], rows), path)


def pocket(session: Session, path: Path) -> None:
    """The demo's vase, relit by the pocket model."""
    pictures = [load_image(FOREGROUND).convert("RGB")]
    for name in POCKET_CASES:
        choices, generated = CASES[name]
        pictures += session.relight(Settings(enabled=True, foreground=FOREGROUND, **choices),
                                    session.suited({**COMMON, **generated}, "fc")).pictures
    save(sheet(["as it was", *POCKET_CASES], [pictures]), path)


def orbit(session: Session, path: Path) -> None:
    """A lamp going around the demo's vase: mixed from a light stage that the pocket model made."""
    with TemporaryDirectory() as folder:
        [made] = session.stage(Settings(mode="fbc", foreground=FOREGROUND),
                               session.suited(COMMON, "fbc"), Path(folder, "stage")).folders
        stage = load(made)
        count = frame_count(SECONDS, FPS)
        write_animation(path, frames(stage, stage_orbit(stage, count)), count, FPS)


def save(image: Image.Image, path: Path) -> None:
    """A picture of the documentation."""
    image.save(path, quality=QUALITY, method=6)


def drawing() -> Image.Image:
    """An owl of flat colours with dark outlines, before a pale wall: RGB, 480 x 480."""
    scale = 3
    made = Image.new("RGB", (480 * scale, 480 * scale), "#e8e0cc")
    draw = ImageDraw.Draw(made)

    def shape(kind: str, box: Sequence[int], fill: str | None, line: int = 7, **more: float) -> None:
        place = [scale * one for one in box]
        getattr(draw, kind)(place, fill=fill, outline="#2b2118", width=scale * line, **more)

    def points(corners: Sequence[tuple[int, int]], fill: str, line: int = 7) -> None:
        place = [(scale * x, scale * y) for x, y in corners]
        draw.polygon(place, fill=fill, outline="#2b2118", width=scale * line)

    points([(148, 130), (150, 46), (216, 96)], "#8a5a33")
    points([(332, 130), (330, 46), (264, 96)], "#8a5a33")
    shape("ellipse", (112, 70, 368, 440), "#a56d3f")
    shape("ellipse", (164, 220, 316, 424), "#e7c99a")
    for y in range(250, 390, 40):
        for x in range(190 + (y // 40) % 2 * 18, 290, 36):
            place = [scale * one for one in (x - 14, y - 14, x + 14, y + 14)]
            draw.arc(place, 20, 160, fill="#9a7040", width=scale * 5)
    shape("chord", (96, 190, 190, 420), "#7c4f2c", start=80, end=280)
    shape("chord", (290, 190, 384, 420), "#7c4f2c", start=260, end=100)
    for x in (146, 244):
        shape("ellipse", (x, 116, x + 90, 206), "#fbf6e6")
        shape("ellipse", (x + 24, 140, x + 66, 182), "#2f4858", 4)
        draw.ellipse([scale * one for one in (x + 46, 144, x + 58, 156)], fill="white")
    points([(226, 190), (254, 190), (240, 226)], "#e59a2c", 5)
    for x in (196, 252):
        shape("rounded_rectangle", (x, 420, x + 34, 452), "#e59a2c", 5, radius=12 * scale)
    return made.resize((480, 480), Image.Resampling.LANCZOS)


def sheet(titles: Sequence[str], rows: Sequence[Sequence[Image.Image]]) -> Image.Image:
    """Rows of pictures under titles, each within a cell of `CELL`, on white; what is transparent is grey."""
    heights = [max(round(one.height * CELL / max(one.size)) for one in row) for row in rows]
    width = len(titles) * (CELL + GAP) + GAP
    made = Image.new("RGB", (width, TITLE + sum(heights) + GAP * (len(rows) + 1)), "white")
    draw = ImageDraw.Draw(made)
    for column, title in enumerate(titles):
        left = GAP + column * (CELL + GAP) + (CELL - draw.textlength(title)) / 2
        draw.text((left, GAP), title, "#202020")
    top = TITLE + GAP
    for row, height in zip(rows, heights, strict=True):
        for column, picture in enumerate(row):
            scale = CELL / max(picture.size)
            small = picture.resize((round(picture.width * scale), round(picture.height * scale)),
                                   Image.Resampling.LANCZOS)
            place = (GAP + column * (CELL + GAP) + (CELL - small.width) // 2, top + (height - small.height) // 2)
            made.paste("#808080", (*place, place[0] + small.width, place[1] + small.height))
            made.paste(small, place, small if small.mode == "RGBA" else None)
        top += height + GAP
    return made


PICTURES: Mapping[str, Callable[[Session, Path], None]] = {"sketches": sketches, "pocket": pocket, "orbit": orbit}

if __name__ == "__main__":
    raise SystemExit(main())
