"""Checks that need no diffusion model: light maps, cut-outs, and what a relight gives back."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .. import preserve
from ..imaging.frame import composite_on_grey
from ..lights import PRESETS, light_map
from ..matting import DEFAULT, MODELS, is_as_released, located, model_names, obstacle
from ..progress import Progress
from ..session import Session
from ..settings import Settings
from .report import UNTRIED, Line, tried

Pixels = NDArray[np.uint8]

WIDTH, HEIGHT = 96, 64
RANGES = {"fc": (255, 0, 127), "fbc": (224, 32, 64)}
"""the reference demo's brightest, darkest and ambient value, for each form of a light map"""
LEAST_SHARE, MOST_SHARE = 0.01, 0.99
"""of a picture that a subject can be"""
UNCHANGED = 2
"""codes by which colours and detail may move where there is nothing to give back: rounding, twice"""


def light_maps() -> Line:
    """The five light maps of the reference demo, against the formula; all others must be drawn."""
    largest = 0
    for form, (bright, dark, ambient) in RANGES.items():
        across = np.broadcast_to(np.linspace(bright, dark, WIDTH)[None, :], (HEIGHT, WIDTH)).astype(np.uint8)
        down = np.broadcast_to(np.linspace(bright, dark, HEIGHT)[:, None], (HEIGHT, WIDTH)).astype(np.uint8)
        # From the right is from the left, mirrored: but for the fractions, which are cut off, so it has a formula too.
        back = np.linspace(dark, bright, WIDTH).astype(np.uint8)[None, :].repeat(HEIGHT, axis=0)
        up = np.linspace(dark, bright, HEIGHT).astype(np.uint8)[:, None].repeat(WIDTH, axis=1)
        for name, expected in (("left", across), ("right", back), ("top", down), ("bottom", up),
                               ("ambient", np.full((HEIGHT, WIDTH), ambient, np.uint8))):
            drawn = light_map(name, WIDTH, HEIGHT, "fbc" if form == "fbc" else "fc")
            assert drawn is not None, "a light"
            largest = max(largest, int(np.abs(drawn.astype(int) - expected[..., None]).max()))
    drawn_too = [name for name in PRESETS if name != "none" and light_map(name, WIDTH, HEIGHT) is not None]
    right = largest == 0 and len(drawn_too) == len(PRESETS) - 1
    return Line("light map", f"10 maps against the formula, largest difference {largest} of 255; "
                f"{len(drawn_too)} presets drawn", right)


def own_transparency(session: Session, progress: Progress) -> Line:
    """A picture's own alpha must arrive as it is, and the model be shown 127 + (v - 127) * alpha."""
    rgb, inside = ball(64)
    alpha = np.where(inside, 255, 0).astype(np.uint8)
    alpha[0, :8] = np.arange(0, 80, 10)
    picture = Image.fromarray(np.dstack([rgb, alpha]), "RGBA")
    subject = session.subject(Settings(foreground=picture), progress)
    moved = float(np.abs(subject.alpha - alpha / 255.0).max())
    shown = composite_on_grey(rgb, alpha.astype(np.float32) / np.float32(255))
    expected = np.floor(127.0 + (rgb.astype(np.float64) - 127.0) * alpha[..., None] / 255.0 + 1e-6)
    apart = int(np.abs(shown - expected).max())
    return Line("transparency", f"alpha moved by {moved:.4f}; on grey, {apart} of 255 from the formula",
                moved <= 0.5 / 255 and apart <= 1)


def cutouts(session: Session, progress: Progress, photo: object = None) -> Iterator[Line]:
    """A cut-out with the default model, or the first there is, and with all that are not known by their hash.

    photo: any picture form, cut out too; by default a drawn ball. Nothing is downloaded.
    """
    here = {name: path for name in model_names(session.folders.matting)
            if (path := located(name, session.folders.matting)) is not None}
    if not here:
        yield Line("cut-out", f"{UNTRIED}: there is no model here")
        return
    blocked = obstacle(next(iter(here)), session.folders.matting)
    if blocked:
        yield Line("cut-out", f"{UNTRIED}: {blocked}")
        return
    first = DEFAULT if DEFAULT in here else next(iter(here))
    strange = [name for name, path in here.items()
               if name != first and (name not in MODELS or not is_as_released(MODELS[name], path))]
    for name in (first, *strange):
        yield from tried("cut-out", lambda name=name: _cut_ball(session, name, progress))  # type: ignore[misc]
    if photo is not None:
        yield from tried("cut-out", lambda: _cut_photo(session, first, photo, progress))


def preservation() -> Iterator[Line]:
    """What preserving gives back, on a drawn card whose truth is known."""
    rgb, inside = ball(128)
    alpha = inside.astype(np.float32)
    rgb[56:72, 56:72] = (190, 40, 40)  # print
    same = preserve.preserve(rgb, rgb, alpha, color=1.0, detail=1.0, detail_radius=4.0, additive=False)
    moved = int(np.abs(same.astype(int) - rgb)[inside].max())
    yield Line("preserve", f"a picture that did not change moves by {moved} of 255 (up to {UNCHANGED} is rounding)",
               moved <= UNCHANGED)
    wrong = rgb.copy()
    wrong[56:72, 56:72] = (40, 120, 40)  # as a model may paint it
    before, after = (float(np.abs(one.astype(int) - rgb)[56:72, 56:72].mean())
                     for one in (wrong, preserve.preserve(wrong, rgb, alpha, color=1.0, detail=1.0, detail_radius=4.0,
                                                          additive=False)))
    yield Line("preserve", f"print that came out green instead of red: error {before:.0f} of 255 before, "
               f"{after:.0f} after", after < 0.7 * before)
    relit = (rgb * 0.5).astype(np.uint8)
    kept = preserve.restore_background(relit, rgb, alpha)
    outside = int(np.abs(kept.astype(int) - rgb)[~inside].max())
    within = int(np.abs(kept.astype(int) - relit)[inside].max())
    yield Line("background", f"kept to {outside} of 255, the subject to {within}", outside == 0 and within == 0)


def ball(side: int) -> tuple[Pixels, NDArray[np.bool_]]:
    """A lit ball before a dark wall, uint8 sRGB [side, side, 3], and where it is."""
    across = (np.arange(side) + 0.5) / side * 2 - 1
    x, y = np.meshgrid(across, across)
    inside = x**2 + y**2 < 0.5
    height = np.sqrt(np.clip(0.5 - x**2 - y**2, 0, None)) / np.sqrt(0.5)
    shade = 60 + 160 * height
    picture = np.full((side, side, 3), 40, np.float64)
    picture[inside] = (shade[..., None] * (1.0, 0.9, 0.75))[inside]
    return picture.astype(np.uint8), inside


def _cut_ball(session: Session, name: str, progress: Progress) -> Line:
    rgb, inside = ball(320)
    alpha = session.cutter.cut(rgb, name, progress).alpha
    within, without = float(alpha[inside].mean()), float(alpha[~inside].mean())
    sound = bool(np.isfinite(alpha).all()) and float(alpha.min()) >= 0.0 and float(alpha.max()) <= 1.0
    return Line("cut-out", f"{name} finds a drawn ball: alpha {within:.2f} on it, {without:.2f} beside it",
                sound and within > without)


def _cut_photo(session: Session, name: str, photo: object, progress: Progress) -> Line:
    subject = session.subject(Settings(foreground=photo, matting=name), progress)
    share = float(subject.alpha.mean())
    return Line("cut-out", f"{name} takes {100 * share:.0f} % of your picture for its subject",
                LEAST_SHARE < share < MOST_SHARE)
