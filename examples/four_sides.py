#!/usr/bin/env python3
"""One photo under light from four sides, and a sheet that shows them side by side.

    python -m examples.four_sides                                     # the vase here, on the pocket model
    python -m examples.four_sides photo.jpg --prompt "portrait photo" --checkpoint model.safetensors

Without --checkpoint the pocket model relights: it knows small rendered objects only, and shows that the light follows.
A photo without transparency is cut out by a model first (170 MB, downloaded once).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from PIL import Image, ImageDraw

from lib_iclight import ICLightError, Session, Settings

VASE = Path(__file__).parent / "rendered-vase.png"
SIDES = ("left", "right", "top", "bottom")
TITLE = 20
"""pixels above each picture of the sheet"""


def relit(photo: Path, out: Path, given: dict[str, object], checkpoint: str) -> list[tuple[str, Image.Image]]:
    """The photo relit from each side, by the names of the sides; written to `out`, too."""
    session = Session.open(checkpoint)
    if session.note:
        print(f"This is the {session.note}.")
    # What is not given becomes what suits the model and the photo: size, sampler, steps, CFG.
    generation = session.suited(given, "fc", picture=session.subject(Settings(foreground=photo)).size)
    pictures = []
    for side in SIDES:
        [picture] = session.relight(Settings(foreground=photo, light=side), generation).pictures
        picture.save(out / f"{side}.png")
        pictures.append((side, picture))
    return pictures


def sheet(pictures: list[tuple[str, Image.Image]]) -> Image.Image:
    """Pictures of one size in a row, each below its name."""
    width, height = pictures[0][1].size
    made = Image.new("RGB", (width * len(pictures), height + TITLE), "white")
    draw = ImageDraw.Draw(made)
    for number, (name, picture) in enumerate(pictures):
        draw.text((number * width + 4, 4), name, "black")
        made.paste(picture, (number * width, TITLE))
    return made


def main() -> None:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path, nargs="?", default=VASE)
    parser.add_argument("--out", type=Path, default=Path("four-sides"), help="folder (default: four-sides)")
    parser.add_argument("--prompt", default="a glossy yellow vase, best quality", help="what is on the photo")
    parser.add_argument("--checkpoint", default="pocket", metavar="FILE", help="an SD 1.5 checkpoint")
    parser.add_argument("--steps", type=int, help="fewer are quicker (default: what suits)")
    parser.add_argument("--seed", type=int, default=9)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    given = {"prompt": args.prompt, "seed": args.seed, "steps": args.steps}
    try:
        pictures = relit(args.photo, args.out, given, args.checkpoint)
    except ICLightError as error:
        sys.exit(str(error))
    with Image.open(args.photo) as photo:
        before = photo.convert("RGB").resize(pictures[0][1].size)
    sheet([("as it was", before), *pictures]).save(args.out / "sheet.png")
    print(f"{args.out / 'sheet.png'}, and a picture for each side beside it")


if __name__ == "__main__":
    main()
