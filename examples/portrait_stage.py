#!/usr/bin/env python3
"""A portrait whose light is chosen afterwards: a light stage, and what can be made of it.

    python -m examples.portrait_stage                                 # the bust here, on the pocket model
    python -m examples.portrait_stage portrait.jpg --prompt "portrait photo of a woman" --checkpoint model.safetensors

Into the folder portrait: stage/ (a picture for each single light), normals.png, sunset.png (a mixture), lamps.png (a
mixture of one's own), orbit.webp (a lamp goes around) and desk.html, to mix on in any browser, offline. Run again, it
makes only what is missing of the stage. A stage takes nine relights, all else is a matter of seconds.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from PIL import Image

from lib_iclight import ICLightError, LightSpec, Session, Settings
from lib_iclight.stage import Stage, load, mix_codes, normals, to_colors, weights_of, write_desk
from lib_iclight.stage.animation import frame_count, frames, orbit, write_animation

BUST = Path(__file__).parent / "rendered-bust.png"
LAMPS = LightSpec.from_dict({"ambient": "#181818", "lights": [
    {"kind": "directional", "angle": 150, "color": "3000K", "intensity": 1.0},
    {"kind": "directional", "angle": 20, "color": "#5080ff", "intensity": 0.5}]})
"""a warm lamp at the upper left, and a dim blue one on the other side; angles go from the right, by the top"""
SECONDS, FPS = 3.0, 12.0


def made_stage(photo: Path, folder: Path, given: dict[str, object], rig: str, checkpoint: str) -> Stage:
    """The photo under each single light."""
    session = Session.open(checkpoint)
    if session.note:
        print(f"This is the {session.note}.")
    # With a checkpoint for photographs, preserve_detail=0.5 keeps more of a face as it is.
    settings = Settings(mode="fbc", foreground=photo)
    generation = session.suited(given, "fbc", picture=session.subject(settings).size)
    [place] = session.stage(settings, generation, folder, rig).folders
    return load(place)


def write_all(stage: Stage, out: Path) -> None:
    """What is made of a stage without generating any more."""
    Image.fromarray(to_colors(normals(stage))).save(out / "normals.png")
    for name, light in (("sunset", "sunset"), ("lamps", LAMPS)):
        weights = weights_of(light, stage.lamps, stage.width / stage.height)
        Image.fromarray(mix_codes(stage, weights)).save(out / f"{name}.png")
    count = frame_count(SECONDS, FPS)
    write_animation(out / "orbit.webp", frames(stage, orbit(stage, count)), count, FPS)
    write_desk(stage, out / "desk.html", title="Portrait")


def main() -> None:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photo", type=Path, nargs="?", default=BUST)
    parser.add_argument("--out", type=Path, default=Path("portrait"), help="folder (default: portrait)")
    parser.add_argument("--prompt", default="a matte yellow bust, best quality", help="what is on the photo")
    parser.add_argument("--checkpoint", default="pocket", metavar="FILE", help="an SD 1.5 checkpoint")
    parser.add_argument("--rig", choices=("4", "8"), default="8", help="sides, or sides and corners (default: 8)")
    parser.add_argument("--steps", type=int, help="fewer are quicker (default: what suits)")
    parser.add_argument("--seed", type=int, default=9)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    given = {"prompt": args.prompt, "seed": args.seed, "steps": args.steps}
    try:
        stage = made_stage(args.photo, args.out / "stage", given, args.rig, args.checkpoint)
        write_all(stage, args.out)
    except ICLightError as error:
        sys.exit(str(error))
    print(f"{args.out / 'desk.html'}: open it in a browser. Normals, mixtures and orbit.webp lie beside it.")


if __name__ == "__main__":
    main()
