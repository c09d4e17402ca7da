"""What can be told of a job from its cut-out alone, before it runs. No face model is used."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UPRIGHT = 1.8
"""From so many times as tall as wide a cut-out may be a standing person; sitting and half-length figures are not."""
HEADS = 7.5
"""A standing adult's height in heads (drawing schools teach 7 1/2 to 8)."""
LEAST_HEAD = 64.0
"""Height in pixels under which a face has fewer than 8 x 8 latents, too few for its features."""


def standing_height(alpha: NDArray[np.float32]) -> float | None:
    """The height of what may be a standing person, as a share of the picture's, or None where nothing looks like one.

    alpha: float32 [H, W] in 0..1, 1 = subject. Only the outline is looked at, so a bottle or a tree passes too: what
    is said of the result must be conditional. A figure cut off by the lower edge has no height to tell.
    """
    subject = alpha > 0.5
    rows, columns = (np.flatnonzero(subject.any(axis=axis)) for axis in (1, 0))
    if not rows.size or rows[-1] == alpha.shape[0] - 1:
        return None
    tall, wide = rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1
    return float(tall / alpha.shape[0]) if tall >= UPRIGHT * wide else None


def head_height(standing: float, picture: tuple[int, int], job: tuple[int, int], scale: float = 1.0) -> float:
    """Pixels from chin to crown of a standing person in the finished picture.

    standing: that of `standing_height`. picture, job: width and height of the foreground picture, which is scaled to
    cover, and of the job. scale: of the hires pass; 1 without one.
    """
    cover = max(job[0] / picture[0], job[1] / picture[1])
    return standing * picture[1] * cover * scale / HEADS
