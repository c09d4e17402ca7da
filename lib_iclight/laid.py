"""A subject as a job lays it into the frame and shows it to the model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import imaging
from .errors import ImageError
from .frame import Frame, Pixels, Place, fit
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

    def crop_warning(self, frame: Frame) -> str:
        """What to tell where most of the subject lies outside a frame it covers, or nothing.

        Raises ImageError where nearly all of it does.
        """
        # Contained, laid by the tab as the person sees it there, or cut by the host's hires fix after a first pass.
        if self.place is not fit or frame.full is not None:
            return ""
        alpha = self.subject.alpha
        height, width = alpha.shape
        scale = max(frame.width / width, frame.height / height)
        x, y = (width - frame.width / scale) / 2, (height - frame.height / scale) / 2
        inside = alpha[round(y):round(height - y), round(x):round(width - x)]
        share = float(inside.sum(dtype=np.float64) / alpha.sum(dtype=np.float64))
        if share < LEAST_IN_FRAME:
            raise ImageError(f"the subject lies outside the frame of {frame.width} x {frame.height} pixels: hardly "
                             "anything of it would be relit. Set fit to contain, or use the foreground's own aspect.")
        return CUT_OFF if share < MOSTLY_IN_FRAME else ""
