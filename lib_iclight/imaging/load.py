"""Pictures in: any picture form becomes 8-bit sRGB.

Arrays are row-major [height, width] or [height, width, channel]; uint8 pixels are sRGB-encoded 0..255.
"""

from __future__ import annotations

import base64
import binascii
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import ImageError
from .convert import bands, orientation_of, reduced, to_uint8
from .decode import check_size, decoded, normalised, open_plain, opened
from .frame import composite_on_grey


def load_image(source: object, what: str = "picture", enough: tuple[int, int] | None = None) -> Image.Image:
    """Any picture form as an upright 8-bit sRGB picture, a new one that shares nothing with the source.

    source: a PIL image; a numpy array [H,W], [H,W,1], [H,W,3] or [H,W,4] of uint8, uint16, bool or floats in 0..1;
        the bytes of a picture file; a str of base64 (standard or URL-safe, line breaks allowed) or a base64 data URI,
        never a path, for API input must not read files; or a `pathlib.Path`.
    what: how errors name the picture ("foreground").
    enough: (width, height), upright, that the result has to cover. A larger picture may come smaller then, by whole
        factors, a JPEG without ever being decoded in full; exact without it. At three times a frame's size what `fit`
        makes of a photograph differs by less than a level (rms) from the exact one's, at twice by some two.

    Returns mode "RGBA" when the source has an alpha channel or transparency, else "RGB". EXIF orientation is applied;
    colours come to sRGB by the curves and primaries of an ICC profile, a PNG's cICP, gAMA and cHRM, or EXIF's word for
    AdobeRGB; 16 bits and floats in 0..1 are scaled to 8 bits; an animation gives its first frame.
    Raises ImageError for what is no picture's file, is damaged, has values without a known range, or is smaller than
    MIN_SIDE or larger than MAX_PIXELS; the size is read from the header, before anything is decoded. At most some
    8 bytes a pixel are held at once (12 for up to 64 megapixels of 16-bit colour with a profile).
    """
    if isinstance(source, Image.Image):
        return normalised(source, what, enough)
    if isinstance(source, Path):
        with opened(source, what) as file:
            return decoded(file, what, enough)
    if isinstance(source, str):
        return decoded(io.BytesIO(from_base64(source, what)), what, enough)
    if isinstance(source, bytes | bytearray | memoryview):
        return decoded(io.BytesIO(source), what, enough)
    if isinstance(source, np.ndarray):
        return reduced(_from_array(source, what), enough)
    raise ImageError(f"the {what} cannot be made from {type(source).__name__}. "
                     "Give base64, a data URI, a PIL image or a numpy array.")


def upright_size(data: bytes, what: str = "picture") -> tuple[int, int]:
    """Width and height of a picture's file as `load_image` will have it; but for TIFFs only the header is read.

    Raises ImageError.
    """
    picture = open_plain(io.BytesIO(data), what)
    if picture.format == "TIFF":  # whether Pillow tells an upright size before it decodes one depends on its version
        picture = load_image(data, what)
    width, height = picture.size
    return (height, width) if orientation_of(picture) >= 5 else (width, height)


def split_alpha(image: Image.Image) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
    """Colour uint8 [H,W,3] (sRGB) and alpha float32 [H,W] in 0..1 of a picture from `load_image`.

    Alpha is None when the picture has none or is opaque everywhere.
    """
    rgb = np.empty((image.height, image.width, 3), np.uint8)
    alpha = np.empty(rgb.shape[:2], np.uint8) if image.mode == "RGBA" else None
    for rows in bands(image.width, image.height):  # in bands, for Pillow copies what it converts up to three times
        values = np.asarray(image.crop((0, rows.start, image.width, rows.stop)))
        rgb[rows] = values[..., :3]
        if alpha is not None:
            alpha[rows] = values[..., 3]
    if alpha is None or alpha.min() == 255:
        return rgb, None
    share = alpha.astype(np.float32)
    share /= 255.0
    return rgb, share


def load_mask(source: object, width: int, height: int) -> NDArray[np.float32]:
    """A mask in any picture form as alpha, float32 [height, width] in 0..1, 1 = foreground.

    The picture's alpha where it is transparent anywhere, else its luma (ITU-R 601-2); scaled smoothly to the size.
    Raises ImageError as `load_image`, and when the shape is another by more than a hundredth.
    """
    image = _mask_of(source, width, height)
    alpha = _alpha_of(image).astype(np.float32)
    alpha /= np.float32(255.0)
    if image.size == (width, height):
        return alpha
    scaled = np.array(Image.fromarray(alpha).resize((width, height), Image.Resampling.BICUBIC))
    return scaled.clip(0.0, 1.0, out=scaled)


def load_finer_mask(source: object, width: int, height: int, than: tuple[int, int]) -> NDArray[np.uint8] | None:
    """As `load_mask`, in 0..255 for the large pictures that this is for; None for a mask no larger than `than`, width
    and height."""
    image = _mask_of(source, width, height)
    if image.width <= than[0] and image.height <= than[1]:
        return None
    alpha = _alpha_of(image)
    if image.size == (width, height):
        return alpha
    return np.array(Image.fromarray(alpha).resize((width, height), Image.Resampling.BICUBIC))


def _mask_of(source: object, width: int, height: int) -> Image.Image:
    image = load_image(source, "mask", enough=(width, height))
    if abs(image.width * height - image.height * width) > 0.01 * image.height * width:
        raise ImageError(f"the mask is {image.width} x {image.height} pixels, the foreground {width} x {height}: "
                         "they differ in shape. Give a mask of the whole foreground picture, at any size.")
    return image


def _alpha_of(image: Image.Image) -> NDArray[np.uint8]:
    """[H, W], the transparency where there is any, else the luma."""
    if image.mode == "RGBA" and image.getchannel("A").getextrema()[0] < 255:
        return np.array(image.getchannel("A"))
    return np.array(image.convert("L"))


def load_plain(source: object, what: str, enough: tuple[int, int] | None = None) -> NDArray[np.uint8] | None:
    """A picture in any form as uint8 sRGB [H, W, 3], grey where it is transparent; None for None.

    enough: as `load_image` has it. Raises ImageError as `load_image`.
    """
    if source is None:
        return None
    rgb, alpha = split_alpha(load_image(source, what, enough))
    return rgb if alpha is None else composite_on_grey(rgb, alpha)


def from_base64(text: str, what: str) -> bytes:
    """The bytes behind base64 text or a data URI."""
    if text[:5].lower() == "data:":
        head, comma, text = text.partition(",")
        if not comma or not head.lower().endswith(";base64"):
            raise ImageError(f"the {what}'s data URI is not base64. Start it with data:image/png;base64,")
    text = re.sub(r"\s+", "", text).translate({ord("-"): "+", ord("_"): "/"}).rstrip("=")
    if not text:
        raise ImageError(f"the {what} is empty. Send the picture file's bytes as base64.")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ImageError(f"the {what} is text that is not base64. Send the picture file's bytes as base64 "
                         "or as a data URI; file names and web addresses are not read.") from error


def _from_array(array: NDArray[Any], what: str) -> Image.Image:
    """A numpy picture as "RGB" or "RGBA"; see `load_image` for what is taken."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageError(f"the {what} is an array of shape {array.shape}. "
                         "Give [height, width] with no, 1, 3 or 4 channels last.")
    check_size(array.shape[1], array.shape[0], what)
    pixels = to_uint8(array, f"{what} is an array")
    return Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels).convert(
        "RGBA" if pixels.shape[2:] == (4,) else "RGB")
