"""A subject as a job lays it into the frame and shows it to the model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import imaging
from .errors import ImageError
from .frame import Frame, Pixels, Place, fit
from .lights import LightSpec
from .preview import shape_of, sketch
from .settings import Settings
from .subject import Subject

CUT_OFF = ("Most of the subject lies outside the frame. Set fit to contain to have all of it, or use the foreground's "
           "own aspect.")
MOSTLY_IN_FRAME, LEAST_IN_FRAME = 0.5, 0.02
"""shares of the subject's alpha inside the frame: under the first it is told, under the second refused"""


@dataclass(frozen=True)
class Laid:
    """One subject of a job."""

    subject: Subject
    place: Place
    shown: Pixels
    """uint8 sRGB [H, W, 3], its colour: harmonised, if that is asked for"""
    key: str
    """names what is shown, alpha included"""

    def on_grey(self) -> Pixels:
        """uint8 [H, W, 3]: what IC-Light was trained to see."""
        return imaging.composite_on_grey(self.shown, self.subject.alpha)

    def lit(self, frame: Frame) -> tuple[int, int, int, int]:
        """Where the light lies that goes with it: left, top, right, bottom. A contained picture has its own."""
        return frame.box(self.subject.size) if self.place is imaging.contain else (0, 0, frame.width, frame.height)

    def over(self, frame: Frame, behind: Pixels, amount: float) -> Pixels:
        """uint8 [height, width, 3]: so much of the subject over a picture of the frame."""
        alpha = amount * frame.place(self.subject.alpha, self.place)[..., None]
        mixed: Pixels = np.round(frame.place(self.shown, self.place) * alpha + behind * (1 - alpha)).astype(np.uint8)
        return mixed

    def sketched(self, frame: Frame, light: str | LightSpec, behind: Pixels) -> Pixels:
        """uint8 [height, width, 3]: the sketch of a light on the subject, over a picture of the frame."""
        color, alpha = frame.place(self.shown, self.place), frame.place(self.subject.alpha, self.place)
        left, top, right, bottom = self.lit(frame)
        box = slice(top, bottom), slice(left, right)
        made = behind.copy()
        color, alpha = np.ascontiguousarray(color[box]), np.ascontiguousarray(alpha[box])
        made[box] = sketch(color, alpha, shape_of(color, alpha), light, behind[box])
        return made

    def crop_warning(self, frame: Frame) -> str:
        """What to tell where most of the subject lies outside a frame it covers, or nothing.

        Raises ImageError where nearly all of it does.
        """
        # Contained, laid by the tab as the person sees it there, or cut by the host's hires fix after a first pass.
        if self.place is not fit or frame.full is not None:
            return ""
        share = frame.share_inside(self.subject.alpha)
        if share < LEAST_IN_FRAME:
            raise ImageError(f"the subject lies outside the frame of {frame.width} x {frame.height} pixels: hardly "
                             "anything of it would be relit. Set fit to contain, or use the foreground's own aspect.")
        return CUT_OFF if share < MOSTLY_IN_FRAME else ""


def load_background(settings: Settings) -> Pixels | None:
    """The background picture, uint8 sRGB [H, W, 3], mirrored where that is asked for; None where there is none."""
    rgb = imaging.load_plain(settings.background, "background")
    if rgb is None:
        return None
    return np.ascontiguousarray(rgb[:, ::-1]) if settings.background_flip else rgb
