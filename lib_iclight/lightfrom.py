"""The light that the setting "from background" stands for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .preview import FoundLight, light_of
from .subject import Subject

ALIKE = 3.0
"""Mean difference in codes, of both pictures scaled down, up to which they are one."""
SIDE = 32
"""Width and height at which pictures are compared."""


def light_in(background: NDArray[np.uint8], subject: Subject, *, flipped: bool = False) -> FoundLight:
    """The light that a background shows, for a subject: see `preview.light_of`.

    background: uint8 sRGB [H, W, 3]; flipped: it was mirrored. Where it is the subject's own picture, the subject in
    it tells nothing of the light and is left out. Raises ImageError where hardly any background is seen then.
    """
    height, width = background.shape[:2]
    if subject.is_whole or not _same(background[:, ::-1] if flipped else background, subject):
        return light_of(background)
    alpha = subject.alpha[:, ::-1] if flipped else subject.alpha
    if alpha.shape != (height, width):
        alpha = np.asarray(Image.fromarray(alpha).resize((width, height), Image.Resampling.BILINEAR)).clip(0.0, 1.0)
    return light_of(background, np.ascontiguousarray(alpha))


def light_of_picture(subject: Subject) -> FoundLight:
    """The light that the subject's own picture shows beside the subject, or all of it where nothing is cut out.

    Raises ImageError where hardly any background is seen.
    """
    if not subject.is_whole:
        return light_of(subject.original, subject.alpha)
    own = subject.own_alpha
    return light_of(subject.original, None if own is None else 1.0 - own)


def _same(background: NDArray[np.uint8], subject: Subject) -> bool:
    """Whether a background is the picture that the subject stands in, perhaps at another size."""
    own, (height, width) = subject.original, background.shape[:2]
    if subject.own_alpha is not None or abs(own.shape[1] * height - own.shape[0] * width) > 2 * max(own.shape):
        return False
    one, other = (np.asarray(Image.fromarray(np.ascontiguousarray(picture)).resize((SIDE, SIDE), Image.Resampling.BOX),
                             np.float32) for picture in (background, own))
    return float(np.abs(one - other).mean()) <= ALIKE
