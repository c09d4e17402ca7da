"""Where a picture lies in what the host paints: in a pass of sampling, in an img2img tab, in a finished picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ..errors import HostError
from ..frame import LATENT_STRIDE, Frame, Lie, fit, lie_of
from ..imaging import covering

Crop = tuple[int, int, int, int]
"""left, top, right, bottom, in pixels"""
Array = NDArray[Any]


@dataclass(frozen=True)
class TabPlacement:
    """Lays the img2img picture into the frame as the tab does: its resize mode, or its inpainting crop."""

    resize_mode: int
    """the host's: 0 stretch, 1 crop, 2 fill with the edge; 3, a resized latent, stretches too"""
    crop: Crop | None

    def __call__(self, pixels: Array, width: int, height: int) -> Array:
        """uint8 [H, W, 3] or float32 [H, W] -> the same, [height, width, ...]."""
        if self.crop is not None:
            left, top, right, bottom = self.crop
            return _stretch(pixels[top:bottom, left:right], width, height)
        if self.resize_mode == 1:
            return fit(pixels, width, height)
        if self.resize_mode == 2:
            return _contain(pixels, width, height)
        return _stretch(pixels, width, height)

    def lie(self, size: tuple[int, int], width: int, height: int) -> Lie:
        """How a picture of `size` (width, height) lies in the frame then; see `frame.lie_of`."""
        if self.crop is not None:
            left, top, right, bottom = self.crop
            across, down = width / (right - left), height / (bottom - top)
            return Lie(across, down, -left * across, -top * down)
        if self.resize_mode == 1:
            return lie_of(fit, size, width, height)
        if self.resize_mode == 2:
            scale = min(width / size[0], height / size[1])
            wide, tall = max(1, int(size[0] * scale)), max(1, int(size[1] * scale))
            return Lie(wide / size[0], tall / size[1], float((width - wide) // 2), float((height - tall) // 2))
        return Lie(width / size[0], height / size[1], 0.0, 0.0)


def crop_of(p: Any) -> Crop | None:
    """img2img: the part of its picture that "only masked" inpaints."""
    if p.paste_to is None:
        return None
    left, top, width, height = p.paste_to
    return left, top, left + width, top + height


def of_pass(p: Any, x: torch.Tensor) -> Frame:
    """What of the picture the pass over latent `x` [B, 4, h, w] paints. Hires fix may cut or stretch to fit."""
    height, width = (int(side) * LATENT_STRIDE for side in x.shape[2:])
    if not getattr(p, "is_hr_pass", False):  # only txt2img has that, and what follows
        return Frame(width, height)
    if p.truncate_x or p.truncate_y:
        return Frame(width, height, (width + p.truncate_x * LATENT_STRIDE, height + p.truncate_y * LATENT_STRIDE),
                     p.truncate_x // 2 * LATENT_STRIDE, p.truncate_y // 2 * LATENT_STRIDE)
    full = covering((p.width, p.height), width, height)
    if _as_good_as(full, width, height):
        return Frame(width, height)
    return Frame(width, height, full, stretched=True)


def of_picture(frame: Frame, width: int, height: int) -> Frame:
    """The frame of a finished picture of `width` x `height`, of which the pass painted `frame`.

    They differ where another extension made the picture larger or smaller before us (an upscaler): the frame is scaled
    along. Raises HostError if the picture has another aspect by a latent's pixel or more, for then nobody knows what
    of it is where.
    """
    if (width, height) == (frame.width, frame.height):
        return frame
    if not _as_good_as(covering((frame.width, frame.height), width, height), width, height):
        raise HostError(f"another extension made a {width}x{height} picture of the relit one, {frame.width}x"
                        f"{frame.height}, before its colour, detail or background could be preserved. Switch that "
                        "extension off for this job, or preservation.")
    if frame.full is None:
        return Frame(width, height)
    across, down = width / frame.width, height / frame.height
    left, top = round(frame.left * across), round(frame.top * down)
    full = max(left + width, round(frame.full[0] * across)), max(top + height, round(frame.full[1] * down))
    return Frame(width, height, full, left, top, frame.stretched)


def _as_good_as(full: tuple[int, int], width: int, height: int) -> bool:
    """Whether `full`, a size that covers `width` x `height`, has the same aspect but for less than a latent's pixel."""
    return max(full[0] - width, full[1] - height) < LATENT_STRIDE


def _stretch(pixels: Array, width: int, height: int) -> Array:
    resized: Array = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))
    return resized.clip(0, 1) if pixels.dtype == np.float32 else resized


def _contain(pixels: Array, width: int, height: int) -> Array:
    """Scaled to lie inside the frame, the rest filled by repeating the edge."""
    scale = min(width / pixels.shape[1], height / pixels.shape[0])
    inside = _stretch(pixels, max(1, int(pixels.shape[1] * scale)), max(1, int(pixels.shape[0] * scale)))
    left, top = (width - inside.shape[1]) // 2, (height - inside.shape[0]) // 2
    edges = [(top, height - inside.shape[0] - top), (left, width - inside.shape[1] - left)]
    return np.pad(inside, [*edges, *[(0, 0)] * (pixels.ndim - 2)], mode="edge")
