"""Pixels as IC-Light's training contract wants them: on grey, fitted into a frame, in the VAE's range.

Arrays are row-major [height, width] or [height, width, channel]; uint8 pixels are sRGB-encoded 0..255.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..color import linear_to_srgb, srgb_to_linear
from ..errors import ImageError
from .convert import bands
from .decode import MAX_PIXELS


def composite_on_grey(rgb: NDArray[np.uint8], alpha: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The foreground on the grey 127 that IC-Light was trained with: `127 + (rgb - 127) * alpha`, as uint8 [H,W,3].

    rgb: uint8 [H,W,3], sRGB. alpha: float32 [H,W], 0..1. Fractions are cut off, not rounded, as in the reference.
    """
    result = np.empty(rgb.shape, np.uint8)
    for rows in bands(rgb.shape[1], rgb.shape[0]):  # whole, a photograph's floats would take a gigabyte
        mixed = 127.0 + (rgb[rows].astype(np.float32) - 127.0) * alpha[rows, :, None]
        result[rows] = mixed.clip(0, 255)
    return result


def under_light(rgb: NDArray[np.uint8], light: NDArray[np.uint8], white: int) -> NDArray[np.uint8]:
    """A picture as a light would show it: multiplied by the light's picture in linear light, uint8 [H,W,3].

    rgb, light: uint8 sRGB [H,W,3]. white: the value 1..255 of `light` under which the picture stays as it is.
    """
    level = srgb_to_linear(np.arange(256) / 255.0)
    result = np.empty(rgb.shape, np.uint8)
    for rows in bands(rgb.shape[1], rgb.shape[0]):
        lit = level[rgb[rows]] * (level[light[rows]] / level[white])
        result[rows] = np.rint(255.0 * linear_to_srgb(lit.clip(0.0, 1.0)))
    return result


def covering(size: tuple[int, int], width: int, height: int) -> tuple[int, int]:
    """`size` (width, height) scaled, its aspect kept, until it just covers `width` x `height`."""
    scale = max(width / size[0], height / size[1])
    return round(size[0] * scale), round(size[1] * scale)


def fit(pixels: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Pixels scaled by `max(width / w, height / h)` with Lanczos and cropped about the centre, as the reference does.

    pixels: uint8 [H,W,3] or [H,W]. Returns uint8 [height,width,3] or [height,width].
    Raises ImageError when the picture is so long and narrow that the scaled one would exceed MAX_PIXELS.
    """
    return np.array(_fitted(Image.fromarray(pixels), width, height))


def fit_alpha(alpha: NDArray[np.float32], width: int, height: int) -> NDArray[np.float32]:
    """Alpha float32 [H,W] in 0..1 brought to float32 [height,width] by the same geometry as `fit`, without 8-bit steps.

    Lanczos overshoots at edges; the result is clipped to 0..1.
    """
    return np.array(_fitted(Image.fromarray(alpha.astype(np.float32)), width, height)).clip(0.0, 1.0)


def contain(pixels: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """Pixels scaled whole into a frame with Lanczos, by `min(width / w, height / h)`, centred.

    pixels: uint8 [H,W,3] or [H,W], sRGB, with grey 127 around; or alpha float32 [H,W] in 0..1, with 0 around. Returns
    [height,width,3] or [height,width] of the same type. `contained` says where the picture lies.
    """
    left, top, right, bottom = contained((pixels.shape[1], pixels.shape[0]), width, height)
    around = 127 if pixels.dtype == np.uint8 else 0
    result = np.full((height, width, *pixels.shape[2:]), around, pixels.dtype)
    result[top:bottom, left:right] = stretch(pixels, right - left, bottom - top)
    return result


def contained(size: tuple[int, int], width: int, height: int) -> tuple[int, int, int, int]:
    """Where a picture of `size` (width, height) lies in a frame that contains it: left, top, right, bottom in pixels.

    At least a pixel wide and high; an odd rest of the frame is larger at the right and the bottom.
    """
    scale = min(width / size[0], height / size[1])
    own_width, own_height = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    left, top = (width - own_width) // 2, (height - own_height) // 2
    return left, top, left + own_width, top + own_height


def stretch(pixels: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """Pixels uint8 [H,W,3] or alpha float32 [H,W] scaled to [height,width] with Lanczos, whatever the aspect."""
    scaled = np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))
    return scaled if scaled.dtype == np.uint8 else scaled.clip(0.0, 1.0)


def to_vae(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 pixels as IC-Light's VAE input, float32 of the same shape: `v / 127 - 1`, so that 127 is exactly 0."""
    return pixels.astype(np.float32) / 127.0 - 1.0


def _fitted(image: Image.Image, width: int, height: int) -> Image.Image:
    """`fit` on a PIL image of mode L, RGB or F."""
    scaled_width, scaled_height = covering(image.size, width, height)
    if scaled_width * scaled_height > MAX_PIXELS:
        raise ImageError(f"a picture of {image.width} x {image.height} pixels is too long and narrow "
                         f"for {width} x {height}. Crop it first.")
    scaled = image.resize((scaled_width, scaled_height), Image.Resampling.LANCZOS)
    # The reference gives Pillow a box of floats, and Pillow rounds each edge; for an odd target the two
    # roundings can disagree by a pixel, so here the far edge follows from the near one.
    left, top = round((scaled_width - width) / 2), round((scaled_height - height) / 2)
    return scaled.crop((left, top, left + width, top + height))
