"""python run.py demo: the whole way of a picture, offline, on the pocket model that comes with the program.

The pocket model knows rendered objects only, so a rendered object is what the demo relights.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageDraw

from .generation import Generation
from .hosts.standalone.host import Standalone, pick_device
from .hosts.standalone.pocket import NOTE, SIDE, Pocket
from .job import LatentCache, Relight
from .matting import Cutter
from .settings import Settings

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
FOREGROUND = EXAMPLES / "rendered-vase.png"
BACKGROUND = EXAMPLES / "rendered-wall.png"
CELL = 256
"""pixels of a picture on the contact sheet"""
PROMPT = "a glossy yellow vase, best quality"
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "left": ({"light": "left"}, {}),
    "right": ({"light": "right"}, {}),
    "top": ({"light": "top"}, {}),
    "bottom": ({"light": "bottom"}, {}),
    "warm sunset light": ({}, {"prompt": f"{PROMPT}, warm sunset light"}),
    "cold blue light": ({}, {"prompt": f"{PROMPT}, cold blue light"}),
    "on this background": ({"mode": "fbc", "background": BACKGROUND}, {}),
    "hires, left": ({"light": "left"}, {"hires_scale": 1.5, "hires_denoise": 0.3}),
}
"""name -> (settings, choices of the generation)"""


def main(argv: Sequence[str] | None = None) -> int:
    """Relight the example in every case, and write the pictures and a contact sheet."""
    parser = argparse.ArgumentParser(prog="python run.py demo", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the pictures (default: demo)")
    out = parser.parse_args(argv).out
    out.mkdir(parents=True, exist_ok=True)
    print(f"Model: {NOTE}.")
    torch.set_num_threads(1)  # the model is so small that threads waiting for each other cost more than they bring
    model = Pocket()
    host = Standalone(model, device=pick_device("cpu"))
    cutter, latents = Cutter([]), LatentCache()
    shown: list[tuple[str, Image.Image]] = [("foreground", Image.open(FOREGROUND).convert("RGB"))]
    for name, (choices, generated) in CASES.items():
        settings = Settings(enabled=True, foreground=FOREGROUND, **choices)
        job = Relight(settings, cutter=cutter, latents=latents)
        if len(shown) == 1:
            shown.append(("cut-out", job.subjects[0].cutout()))
        if settings.mode == "fbc":
            shown.append(("background", Image.open(BACKGROUND).convert("RGB")))
        common: dict[str, Any] = {"prompt": PROMPT, "width": SIDE, "height": SIDE, "steps": 15, "cfg": 2.0, "seed": 9}
        generation = Generation(**common | generated)
        picture = host.relight(job, generation, model.offsets(settings.mode)).pictures[0].picture
        path = out / f"{name.replace(',', '').replace(' ', '-')}.png"
        picture.save(path)
        print(path)
        shown.append((name, picture))
    sheet = out / "contact-sheet.png"
    contact_sheet(shown).save(sheet)
    print(sheet)
    return 0


def contact_sheet(pictures: Sequence[tuple[str, Image.Image]], columns: int = 4, margin: int = 8) -> Image.Image:
    """The pictures side by side with their names below, scaled to `CELL` x `CELL`; what is transparent is white."""
    cell, text = CELL + margin, 20
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * cell + margin, rows * (cell + text) + margin), "white")
    draw = ImageDraw.Draw(sheet)
    for index, (name, picture) in enumerate(pictures):
        left, top = margin + index % columns * cell, margin + index // columns * (cell + text)
        scaled = picture.resize((CELL, CELL), Image.Resampling.LANCZOS)
        sheet.paste(scaled, (left, top), scaled if scaled.mode == "RGBA" else None)
        draw.text((left, top + CELL + 3), name, fill="black")
    return sheet


if __name__ == "__main__":
    sys.exit(main())
