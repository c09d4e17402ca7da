"""Pictures in: any picture form becomes 8-bit sRGB.

Arrays are row-major [height, width] or [height, width, channel]; uint8 pixels are sRGB-encoded 0..255.
"""

from __future__ import annotations

import base64
import binascii
import io
import logging
import re
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ..errors import ImageError

MIN_SIDE = 16
MAX_PIXELS = 128_000_000

# Only decoders that read pixels and run nothing else (Pillow's EPS reader, for one, starts Ghostscript),
# and that know their files by a signature. AVIF and HEIF count where the host has a plugin for them.
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "HEIF")

_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_log = logging.getLogger("iclight")


def load_image(source: object, what: str = "picture") -> Image.Image:
    """Any picture form as an upright 8-bit sRGB picture, a new one that shares nothing with the source.

    source: a PIL image; a numpy array [H,W], [H,W,1], [H,W,3] or [H,W,4] of uint8, uint16, bool or floats in 0..1;
        the bytes of a picture file; a str of base64 (standard or URL-safe, line breaks allowed) or a base64 data URI,
        never a path, for API input must not read files; or a `pathlib.Path`.
    what: how errors name the picture ("foreground").

    Returns mode "RGBA" when the source has an alpha channel or transparency, else "RGB". EXIF orientation is applied,
    an embedded colour profile is converted to sRGB, 16 bits are scaled to 8, an animation gives its first frame.
    Raises ImageError for what is no picture, is damaged, or is smaller than MIN_SIDE or larger than MAX_PIXELS;
    the size is read from the header, before anything is decoded.
    """
    if isinstance(source, Image.Image):
        return _normalised(source, what)
    if isinstance(source, Path):
        try:
            with source.open("rb") as file:
                return _decoded(file, what)
        except OSError as error:
            reason = error.strerror or error
            raise ImageError(f"the {what} {source} cannot be read ({reason}). Check the file's name.") from error
    if isinstance(source, str):
        return _decoded(io.BytesIO(_from_base64(source, what)), what)
    if isinstance(source, bytes | bytearray | memoryview):
        return _decoded(io.BytesIO(source), what)
    if isinstance(source, np.ndarray):
        return _from_array(source, what)
    raise ImageError(f"the {what} cannot be made from {type(source).__name__}. "
                     "Give base64, a data URI, a PIL image or a numpy array.")


def split_alpha(image: Image.Image) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
    """Colour uint8 [H,W,3] (sRGB) and alpha float32 [H,W] in 0..1 of a picture from `load_image`.

    Alpha is None when the picture has none or is opaque everywhere.
    """
    rgb = np.array(image.convert("RGB"))
    if image.mode != "RGBA":
        return rgb, None
    alpha = np.array(image.getchannel("A"))
    return rgb, None if alpha.min() == 255 else alpha.astype(np.float32) / 255.0


def load_mask(source: object, width: int, height: int) -> NDArray[np.float32]:
    """A mask in any picture form as alpha, float32 [height, width] in 0..1, 1 = foreground.

    The picture's alpha where it is transparent anywhere, else its luma (ITU-R 601-2); scaled smoothly to the size.
    Raises ImageError as `load_image`, and when the shape is another by more than a hundredth.
    """
    image = load_image(source, "mask")
    if abs(image.width * height - image.height * width) > 0.01 * image.height * width:
        raise ImageError(f"the mask is {image.width} x {image.height} pixels, the foreground {width} x {height}: "
                         "they differ in shape. Give a mask of the whole foreground picture, at any size.")
    _, alpha = split_alpha(image)
    if alpha is None:
        alpha = np.asarray(image.convert("L")).astype(np.float32) / 255.0
    return np.array(Image.fromarray(alpha).resize((width, height), Image.Resampling.BICUBIC)).clip(0.0, 1.0)


def _from_base64(text: str, what: str) -> bytes:
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


def _decoded(file: BinaryIO, what: str) -> Image.Image:
    """The picture in an open file."""
    Image.init()  # registers the decoders, so that those a host lacks can be left out
    try:
        # Pillow's own limits and complaints give way to ours; without this they reach the console, or raise.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file, formats=[name for name in _FORMATS if name in Image.OPEN]) as image:
                return _normalised(image, what)
    except ImageError:
        raise
    except Image.DecompressionBombError as error:
        raise _too_large(what) from error
    except UnidentifiedImageError as error:
        raise ImageError(f"the {what} is in no picture format that can be read. "
                         "Give the whole file of a PNG, JPEG, WebP, GIF, BMP or TIFF.") from error
    except Exception as error:  # decoders raise anything from IndexError to zlib.error on damaged headers
        raise _damaged(what) from error


def _normalised(image: Image.Image, what: str) -> Image.Image:
    """A PIL image of any mode as a new upright sRGB "RGB" or "RGBA" one."""
    _check_size(image.width, image.height, what)
    try:
        image.load()
    except Image.DecompressionBombError as error:
        raise _too_large(what) from error
    except Exception as error:
        raise _damaged(what) from error
    try:
        color, alpha = _channels(image, what)
        result = _to_srgb(color, image.info.get("icc_profile")).convert("RGB")
    except ValueError as error:
        raise ImageError(f"the {what} has colours of kind {image.mode}, which cannot be read. "
                         "Save it as an RGB PNG or JPEG.") from error
    if alpha is not None:
        result.putalpha(alpha)
    orientation = _orientation(image)
    if orientation in _UPRIGHT:
        result = result.transpose(_UPRIGHT[orientation])
    result.info = {}  # the profile, orientation and transparency it came with no longer apply
    return result


def _from_array(array: NDArray[Any], what: str) -> Image.Image:
    """A numpy picture as "RGB" or "RGBA"; see `load_image` for what is taken."""
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageError(f"the {what} is an array of shape {array.shape}. "
                         "Give [height, width] with no, 1, 3 or 4 channels last.")
    _check_size(array.shape[1], array.shape[0], what)
    pixels = _to_uint8(array, what)
    return Image.fromarray(pixels[..., 0] if pixels.shape[2:] == (1,) else pixels).convert(
        "RGBA" if pixels.shape[2:] == (4,) else "RGB")


def _to_uint8(array: NDArray[Any], what: str) -> NDArray[np.uint8]:
    """Values of any taken dtype as uint8 of the same shape, each scaled from its own full range."""
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.dtype.kind == "u" and array.dtype.itemsize == 2:
        return (array.astype(np.float32) / 257.0).round().astype(np.uint8)
    if array.dtype.kind == "f":
        # Written so that NaN fails it too. The slack is for rounding in whatever made the array.
        if not (array.min() >= -1e-3 and array.max() <= 1.001):
            raise ImageError(f"the {what} is an array of {array.dtype} with values outside 0..1. "
                             "Scale it to 0..1, or give uint8.")
        return (array.astype(np.float32).clip(0.0, 1.0) * 255.0).round().astype(np.uint8)
    raise ImageError(f"the {what} is an array of {array.dtype}. Give uint8, uint16, bool, or floats in 0..1.")


def _channels(image: Image.Image, what: str) -> tuple[Image.Image, Image.Image | None]:
    """The colour part, in a mode that its colour profile would fit, and alpha as "L" or None."""
    mode = image.mode
    if mode == "F":
        return Image.fromarray(_to_uint8(np.asarray(image), what)), None
    if mode.startswith("I"):  # what Pillow makes of 16-bit grey; 32-bit integers have no known full range
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ImageError(f"the {what} has 32-bit integer values. Save it with 8 or 16 bits.")
        return Image.fromarray(_to_uint8(values.astype(np.uint16), what)), None
    palette_alpha = mode == "P" and image.palette is not None and image.palette.mode == "RGBA"
    if image.getbands()[-1] in ("A", "a") or "transparency" in image.info or palette_alpha:
        rgba = image.convert("RGBA")
        return rgba.convert("L" if mode in ("1", "L", "LA") else "RGB"), rgba.getchannel("A")
    return image if mode in ("L", "RGB", "CMYK") else image.convert("RGB"), None


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The picture's colours moved from the embedded ICC profile to sRGB; unchanged without a usable profile."""
    if not profile:
        return image
    try:
        from PIL import ImageCms, _imagingcms  # noqa: F401  Pillow can be built without the second
    except ImportError:
        _log.warning("a picture's colour profile is ignored: this Pillow was built without colour management")
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        # Left alone, pixels stay exact; a round trip through the transform would move some by one.
        if "sRGB" in ImageCms.getProfileDescription(source):
            return image
        return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB") or image
    except (OSError, ImageCms.PyCMSError) as error:
        _log.warning("a picture's colour profile is ignored, it cannot be used: %s", error)
        return image


def _orientation(image: Image.Image) -> int:
    """A loaded picture's EXIF orientation, 1 (upright) to 8; damaged EXIF counts as upright, the pixels may be good."""
    if image.format == "TIFF":
        return 1  # Pillow turns TIFFs upright when it loads them; before 10.1 it left the tag as it was
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:
        return 1


def _check_size(width: int, height: int, what: str) -> None:
    if width * height > MAX_PIXELS:
        raise _too_large(what)
    if min(width, height) < MIN_SIDE:
        raise ImageError(f"the {what} is {width} x {height} pixels, too small to relight. "
                         f"Use one with at least {MIN_SIDE} pixels on each side.")


def _too_large(what: str) -> ImageError:
    return ImageError(f"the {what} is too large: at most {MAX_PIXELS // 10**6} million pixels can be used. "
                      "Scale it down and try again.")


def _damaged(what: str) -> ImageError:
    return ImageError(f"the {what} is damaged or cut short. Open it in a picture editor, save it anew and try again.")


