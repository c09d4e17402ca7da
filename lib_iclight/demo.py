"""python run.py demo: the whole way of a picture, offline, on the embedded model.

The embedded model is a random miniature: it shows that the machinery runs, not what relighting looks like.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from .hosts.miniature import NOTE, Miniature
from .hosts.standalone.generation import Generation
from .hosts.standalone.host import Standalone, pick_device
from .imaging import fit
from .job import LatentCache, Relight
from .matting import Cutter
from .settings import Settings

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
FOREGROUND = EXAMPLES / "astronaut-cutout.webp"
BACKGROUND = EXAMPLES / "rocket.jpg"
SIDE = 256
CASES: dict[str, dict[str, Any]] = {
    "left": {"light": "left"},
    "right": {"light": "right"},
    "top": {"light": "top"},
    "bottom": {"light": "bottom"},
    "no light": {},
    "on a background": {"mode": "fbc", "background": BACKGROUND},
    "colour and detail kept": {"light": "left", "preserve_color": 1.0, "preserve_detail": 1.0},
}


def main(argv: Sequence[str] | None = None) -> int:
    """Relight the example in every case, and write the pictures and a contact sheet."""
    parser = argparse.ArgumentParser(prog="python run.py demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the pictures (default: demo)")
    out = parser.parse_args(argv).out
    out.mkdir(parents=True, exist_ok=True)
    print(f"Model: {NOTE}.")
    model = Miniature()
    host = Standalone(model, device=pick_device("cpu"))
    cutter, latents = Cutter([]), LatentCache()
    generation = Generation(prompt="portrait, best quality", width=SIDE, height=SIDE, steps=12, seed=1)
    shown: list[tuple[str, Image.Image]] = []
    for name, choices in CASES.items():
        settings = Settings(enabled=True, foreground=FOREGROUND, **choices)
        job = Relight(settings, cutter=cutter, latents=latents)
        if not shown:
            shown.append(("foreground", Image.fromarray(fit(job.subjects[0].on_grey(), SIDE, SIDE))))
        picture = host.relight(job, generation, model.offsets(settings.mode)).pictures[0].picture
        path = out / f"{name.replace(' ', '-')}.png"
        picture.save(path)
        print(path)
        shown.append((name, picture))
    sheet = out / "contact-sheet.png"
    contact_sheet(shown).save(sheet)
    print(sheet)
    return 0


def contact_sheet(pictures: Sequence[tuple[str, Image.Image]], columns: int = 4, margin: int = 8) -> Image.Image:
    """The pictures side by side with their names below; each is `SIDE` x `SIDE`."""
    cell, text = SIDE + margin, 20
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * cell + margin, rows * (cell + text) + margin), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (name, picture) in enumerate(pictures):
        left, top = margin + index % columns * cell, margin + index // columns * (cell + text)
        sheet.paste(picture.convert("RGB"), (left, top))
        draw.text((left, top + SIDE + 3), name, fill="black")
    return sheet


if __name__ == "__main__":
    sys.exit(main())
