"""An opened picture of any mode, depth and profile as upright 8-bit sRGB.

Work on values goes in bands of rows, so that a picture costs little more than its own 8-bit pixels.
"""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import ImageError
from . import profiles
from .profiles import EIGHT_BIT, Encoding

_BAND = 1_000_000
"""pixels that are worked on at once"""

_ORIENTATION_TAG, _PHOTOMETRIC_TAG, _BITS_TAG = 0x0112, 262, 258
_EXIF_IFD, _INTEROP_IFD, _COLOR_SPACE_TAG, _INTEROP_INDEX_TAG = 0x8769, 0xA005, 0xA001, 1
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


@dataclass(frozen=True)
class Meaning:
    """What a picture's values stand for. With neither part they are sRGB."""

    encoding: Encoding | None = None
    profile: bytes | None = None
    """an ICC profile that only Pillow's colour management can read"""


def meaning(image: Image.Image, cicp: bytes | None = None) -> Meaning:
    """What an opened picture's values stand for: by its cICP chunk, its profile, its PNG chunks or its EXIF."""
    if cicp is not None:
        encoding = profiles.from_cicp(cicp)
        if encoding is not None:
            return _unless_srgb(encoding, image)
        _log.warning("a picture's cICP chunk %s is ignored: its codes are not known", list(cicp))
    profile = image.info.get("icc_profile")
    if isinstance(profile, bytes) and profile:
        space = profiles.icc_space(profile)
        encoding = profiles.from_icc(profile, 1 if space == "GRAY" else 3)
        if encoding is None or (space == "GRAY") != _is_grey(image):
            return Meaning(profile=profile)
        return _unless_srgb(encoding, image)
    gamma, chromaticity = image.info.get("gamma"), image.info.get("chromaticity")
    if "srgb" not in image.info and (isinstance(gamma, float) or isinstance(chromaticity, tuple)):
        encoding = profiles.from_png(gamma, chromaticity)
        if encoding is not None:
            return _unless_srgb(encoding, image)
        _log.warning("a picture's gAMA and cHRM chunks are ignored: no colours follow from them")
    return _unless_srgb(profiles.adobe_rgb(), image) if _exif_says_adobe_rgb(image) else Meaning()


def to_srgb(image: Image.Image, meant: Meaning, what: str, low: Image.Image | None = None,
            enough: tuple[int, int] | None = None, own: bool = False) -> Image.Image:
    """A loaded picture as a new upright "RGB" or "RGBA" one in sRGB.

    low: the same 16-bit picture with the lower bytes of its values, where Pillow reads the upper ones.
    enough: (width, height), upright, that the result has to cover; it is not reduced below that.
    own: nobody else holds the pictures, they are closed as soon as they are no longer needed.
    Raises ImageError for values without a known range; ValueError for modes that Pillow cannot convert.
    """
    orientation = orientation_of(image)
    if enough is not None and orientation >= 5:
        enough = enough[1], enough[0]
    if image.mode == "F" or image.mode.startswith("I"):
        color, alpha = _reduced(*_deep_grey(image, meant, what), enough)
    elif low is not None:
        color, alpha = _reduced(*_deep_color(image, low, meant), enough)
    else:
        color, alpha = _reduced(*_channels(image), enough)
        color = _managed(color, meant)
    result = color.convert("RGB") if color is image or color.mode != "RGB" else color
    if own:
        image.close()
    if alpha is not None:
        result.putalpha(alpha)
    if orientation in _UPRIGHT:
        result = result.transpose(_UPRIGHT[orientation])
    result.info = {}  # the profile, orientation and transparency it came with no longer apply
    return result


def to_uint8(array: NDArray[Any], what: str) -> NDArray[np.uint8]:
    """Values of uint8, uint16, bool or floats in 0..1 as uint8 of the same shape, each scaled from its full range.

    what: how an error names them ("foreground is an array"). Raises ImageError for other types and values outside 0..1.
    """
    if array.dtype == np.uint8:
        return np.ascontiguousarray(array)
    if array.dtype == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if (array.dtype.kind == "u" and array.dtype.itemsize == 2) or array.dtype.kind == "f":
        result = np.empty(array.shape, np.uint8)
        for rows in bands(array.shape[1], array.shape[0]):
            result[rows] = (_to_uint16(array[rows], what).astype(np.float32) / EIGHT_BIT).round()
        return result
    raise ImageError(f"the {what} of {array.dtype}. Give uint8, uint16, bool, or floats in 0..1.")


def bands(width: int, height: int) -> Iterator[slice]:
    """The rows of a picture, some at a time."""
    step = max(1, _BAND // max(width, 1))
    for top in range(0, height, step):
        yield slice(top, min(top + step, height))


def reduced(image: Image.Image, enough: tuple[int, int] | None) -> Image.Image:
    """The picture made smaller by whole factors (means over blocks) as long as it still covers `enough`."""
    if enough is None:
        return image
    factor = min(image.width // max(enough[0], 1), image.height // max(enough[1], 1))
    return image.reduce(factor) if factor > 1 else image


def _reduced(color: Image.Image, alpha: Image.Image | None,
             enough: tuple[int, int] | None) -> tuple[Image.Image, Image.Image | None]:
    """Colour and alpha, reduced together: what is transparent does not tint its neighbours."""
    if alpha is None:
        return reduced(color, enough), None
    if enough is None or reduced(alpha, enough) is alpha:
        return color, alpha
    both = color.copy()
    both.putalpha(alpha)
    both = reduced(both, enough)
    return both.convert(color.mode), both.getchannel("A")


def orientation_of(image: Image.Image) -> int:
    """A picture's EXIF orientation, 1 (upright) to 8; damaged EXIF counts as upright, the pixels may be good."""
    if image.format == "TIFF":
        return 1  # Pillow turns TIFFs upright when it loads them; before 10.1 it left the tag as it was
    try:
        return int(image.getexif().get(_ORIENTATION_TAG, 1))
    except Exception:
        return 1


def low_bytes(image: Image.Image, what: str) -> list[Any] | None:
    """The tiles of an opened 16-bit colour picture, changed so that Pillow reads the lower bytes of its values.

    Of 16-bit colour Pillow keeps the upper byte; read in the other byte order the lower one is where the upper was.
    None for other pictures. Raises ImageError for 16-bit colour in planes, whose bytes Pillow mistakes for pixels.
    """
    if image.mode not in ("RGB", "RGBA", "RGBX"):
        return None
    tiles = []
    for codec, extents, offset, args in getattr(image, "tile", ()):
        rawmode, *rest = args if isinstance(args, tuple) else (args,)
        if len(str(rawmode)) == 1 and 16 in _tag(image, _BITS_TAG, (8,)):
            raise ImageError(f"the {what} is a TIFF of 16-bit colour in planes, which cannot be read. "
                             "Save it with its colours interleaved, or as a PNG.")
        if rawmode not in (f"{image.mode};16B", f"{image.mode};16L", f"{image.mode};16N"):
            return None
        native = "B" if sys.byteorder == "little" else "L"
        swapped = rawmode[:-1] + {"B": "L", "L": "B", "N": native}[rawmode[-1]]
        tiles.append((codec, extents, offset, (swapped, *rest) if isinstance(args, tuple) else swapped))
    return tiles or None


def _unless_srgb(encoding: Encoding, image: Image.Image) -> Meaning:
    """The encoding as a meaning. Left alone where it is sRGB's, pixels stay exact."""
    if _is_grey(image):
        encoding = encoding.grey()
    return Meaning() if encoding.is_srgb() else Meaning(encoding)


def _is_grey(image: Image.Image) -> bool:
    return image.mode in ("1", "L", "LA", "La", "F") or image.mode.startswith("I")


def _exif_says_adobe_rgb(image: Image.Image) -> bool:
    """Whether EXIF's colour space is none and its interoperability that of AdobeRGB (DCF 2.0), as cameras write it."""
    try:
        exif = image.getexif()
        return bool(exif and exif.get_ifd(_EXIF_IFD).get(_COLOR_SPACE_TAG) == 0xFFFF
                    and str(exif.get_ifd(_INTEROP_IFD).get(_INTEROP_INDEX_TAG, ""))[:3] == "R03")
    except Exception:  # damaged EXIF raises anything
        return False


def _tag(image: Image.Image, tag: int, default: Any) -> Any:
    """A TIFF's tag."""
    return getattr(image, "tag_v2", {}).get(tag, default)


def _rows(image: Image.Image, rows: slice) -> Image.Image:
    return image.crop((0, rows.start, image.width, rows.stop))


def _to_uint16(values: NDArray[Any], what: str) -> NDArray[np.uint16]:
    """uint16, or floats in 0..1, as uint16 at full range. Raises ImageError."""
    if values.dtype.kind == "u":
        return values.astype(np.uint16)
    # Written so that NaN fails it too. The slack is for rounding in whatever made the values.
    if values.size and not (values.min() >= -1e-3 and values.max() <= 1.001):
        raise ImageError(f"the {what} of {values.dtype} with values outside 0..1. Scale it to 0..1, or give uint8.")
    return (values.astype(np.float64).clip(0.0, 1.0) * 65535).round().astype(np.uint16)


def _deep_grey(image: Image.Image, meant: Meaning, what: str) -> tuple[Image.Image, Image.Image | None]:
    """16-bit or floating-point grey as "L", with its one transparent value as an alpha."""
    if meant.profile is not None:
        _log.warning("a picture's colour profile is ignored: it is not one of grey curves")
    transparent = image.info.get("transparency")
    # A TIFF may store white as 0, and 12 bits; Pillow hands such values over as they are.
    full = (1 << _tag(image, _BITS_TAG, (16,))[0]) - 1 if image.mode.startswith("I;") else 65535
    turned = image.format == "TIFF" and _tag(image, _PHOTOMETRIC_TAG, 1) == 0
    color = Image.new("L", image.size)
    alpha = Image.new("L", image.size) if isinstance(transparent, int) else None
    for rows in bands(image.width, image.height):
        values = np.asarray(_rows(image, rows))
        if image.mode != "F":
            if values.min() < 0 or values.max() > 65535:  # 32-bit integers have no known full range
                raise ImageError(f"the {what} has 32-bit integer values. Save it with 8 or 16 bits.")
            if alpha is not None:
                alpha.paste(Image.fromarray((values != transparent).astype(np.uint8) * np.uint8(255)), (0, rows.start))
            if full != 65535:
                values = (values.astype(np.float64) * (65535 / full)).round().clip(0, 65535)
            values = values.astype(np.uint16)
        deep = _to_uint16(values, f"{what} is a picture")
        if turned:
            deep = ~deep
        color.paste(Image.fromarray(_eight(deep, meant.encoding)), (0, rows.start))
    return color, alpha


def _deep_color(image: Image.Image, low: Image.Image, meant: Meaning) -> tuple[Image.Image, Image.Image | None]:
    """16-bit colour, upper and lower bytes apart, as "RGB" with its alpha or its one transparent colour as an alpha."""
    transparent = image.info.get("transparency")
    color = Image.new("RGB", image.size)
    keyed = isinstance(transparent, tuple) and image.mode == "RGB"
    alpha = Image.new("L", image.size) if image.mode == "RGBA" or keyed else None
    for rows in bands(image.width, image.height):
        deep = np.asarray(_rows(image, rows)).astype(np.uint16)
        deep *= 256
        deep += np.asarray(_rows(low, rows))
        rgb = deep[..., :3]
        color.paste(Image.fromarray(_eight(rgb, meant.encoding)), (0, rows.start))
        if alpha is not None:
            share = np.where((rgb != transparent).any(-1), 65535, 0).astype(np.uint16) if keyed else deep[..., 3]
            alpha.paste(Image.fromarray(_eight(share, None)), (0, rows.start))
    return (color if meant.profile is None else _managed(color, meant)), alpha


def _eight(deep: NDArray[np.uint16], encoding: Encoding | None) -> NDArray[np.uint8]:
    """uint16 [H,W] or [H,W,3] as uint8 sRGB of the same shape."""
    if encoding is None:
        return ((deep.astype(np.uint32) + EIGHT_BIT // 2) // EIGHT_BIT).astype(np.uint8)
    return encoding.to_srgb(deep[..., None])[..., 0] if deep.ndim == 2 else encoding.to_srgb(deep)


def _channels(image: Image.Image) -> tuple[Image.Image, Image.Image | None]:
    """The colour part, in a mode that its colour profile would fit, and alpha as "L" or None."""
    mode = image.mode
    palette_alpha = mode == "P" and image.palette is not None and image.palette.mode == "RGBA"
    if image.getbands()[-1] in ("A", "a") or "transparency" in image.info or palette_alpha:
        rgba = image.convert("RGBA")
        return rgba.convert("L" if mode in ("1", "L", "LA") else "RGB"), rgba.getchannel("A")
    return image if mode in ("L", "RGB", "CMYK") else image.convert("L" if mode == "1" else "RGB"), None


def _managed(image: Image.Image, meant: Meaning) -> Image.Image:
    """An "L", "RGB" or "CMYK" picture's colours as sRGB; the picture itself where they are."""
    if meant.encoding is not None and image.mode in ("L", "RGB"):
        result = Image.new(image.mode, image.size)
        for rows in bands(image.width, image.height):
            values = np.asarray(_rows(image, rows))
            values = values[..., None] if image.mode == "L" else values
            srgb = meant.encoding.to_srgb(values)
            result.paste(Image.fromarray(srgb[..., 0] if image.mode == "L" else srgb), (0, rows.start))
        return result
    return image if meant.profile is None else _by_profile(image, meant.profile)


def _by_profile(image: Image.Image, profile: bytes) -> Image.Image:
    """The picture's colours moved from an ICC profile to sRGB by Pillow; unchanged where the profile is unusable."""
    try:
        from PIL import ImageCms, _imagingcms  # noqa: F401  Pillow can be built without the second
    except ImportError:
        _log.warning("a picture's colour profile is ignored: this Pillow was built without colour management")
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        # Colour tables of RGB tell most in their colorimetric form; printers' perceptual ones map what paper lacks.
        intent = ImageCms.Intent.PERCEPTUAL if image.mode == "CMYK" else ImageCms.Intent.RELATIVE_COLORIMETRIC
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), image.mode, "RGB", intent)
        if image.mode == "RGB":  # a round trip through sRGB's own tables would move some pixels by one
            values = np.stack(np.meshgrid(*[np.arange(0, 256, 17, dtype=np.uint8)] * 3), -1).reshape(1, -1, 3)
            if np.abs(np.asarray(transform.apply(Image.fromarray(values))).astype(int) - values).max() <= 1:
                return image
        return transform.apply(image)
    except (OSError, ValueError, ImageCms.PyCMSError) as error:
        _log.warning("a picture's colour profile is ignored, it cannot be used: %s", error)
        return image
