"""python run.py demo: the whole way of a picture, offline, on the pocket model that comes with the program.

The pocket model knows rendered objects only, so a rendered object is what the demo relights.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from ..session import Session
from ..settings import Settings
from ..stage import Stage
from .page import Compared, write_page

EXAMPLES = Path(__file__).resolve().parent.parent.parent / "examples"
FOREGROUND = EXAMPLES / "rendered-vase.png"
BACKGROUND = EXAMPLES / "rendered-wall.png"
PHOTO, PHOTO_MASK = EXAMPLES / "astronaut.jpg", EXAMPLES / "astronaut-cutout.webp"
SKETCHED = ("sunset", "left", "right", "top", "neon pair")
"""lights in which the photo is shown"""
CELL = 256
"""pixels of a picture on the contact sheet"""
FPS = 24.0
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
    started = time.monotonic()
    session = Session.open(device="cpu")
    print(f"Model: {session.note}.")
    shown: list[tuple[str, Image.Image]] = [
        ("foreground", Image.open(FOREGROUND).convert("RGB")),
        ("cut-out", session.subject(Settings(foreground=FOREGROUND)).cutout())]
    relit: list[Compared] = []
    for name, (choices, generated) in CASES.items():
        settings = Settings(enabled=True, foreground=FOREGROUND, **choices)
        if settings.background is not None:
            shown.append(("background", Image.open(settings.background).convert("RGB")))
        generation = session.suited({"prompt": PROMPT, "seed": 9, **generated}, settings.mode)
        picture = session.relight(settings, generation).pictures[0]
        path = out / f"{name.replace(',', '').replace(' ', '-')}.png"
        picture.save(path)
        print(path)
        shown.append((name, picture))
        relit.append(Compared(name, shown[0][1], picture))
    stage, figures = light_stage(session, out)
    sheet, page = out / "contact-sheet.png", out / "index.html"
    contact_sheet(shown).save(sheet)
    print(sheet)
    sketched = sketches(session)
    write_page(page, session.note, time.monotonic() - started, relit, sketched, stage, figures, sheet)
    print(f"{page}: open it in a browser")
    return 0


def sketches(session: Session) -> list[Compared]:
    """A real photo under lights at once, without the model."""
    photo = Image.open(PHOTO).convert("RGB")
    return [Compared(light, photo, session.preview(Settings(foreground=PHOTO, mask=PHOTO_MASK, light=light)).picture)
            for light in SKETCHED]


def light_stage(session: Session, out: Path) -> tuple[Stage, dict[str, Path]]:
    """A light stage of the example; what it says of the subject and moving light as files by their captions."""
    from ..stage import albedo, load, normals, to_colors
    from ..stage.animation import frame_count, frames, orbit, write_animation
    from ..stage.desk import write_desk
    from ..stage.files import to_codes

    [folder] = session.stage(Settings(mode="fbc", foreground=FOREGROUND),
                             session.suited({"prompt": PROMPT, "seed": 9}, "fbc"), out / "stage").folders
    stage = load(folder)
    found = normals(stage)
    for name, codes in (("normals", to_colors(found)), ("albedo", to_codes(albedo(stage, found)))):
        Image.fromarray(codes).save(out / f"stage-{name}.png")
    count = frame_count(4.0, FPS)
    write_animation(out / "stage-orbit.webp", frames(stage, orbit(stage, count)), count, FPS)
    write_desk(stage, out / "desk.html")
    figures = {"a lamp that goes around it": out / "stage-orbit.webp", "its normals": out / "stage-normals.png",
               "its own colour (albedo)": out / "stage-albedo.png"}
    for path in (folder, *figures.values(), out / "desk.html"):
        print(path)
    return stage, figures


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
