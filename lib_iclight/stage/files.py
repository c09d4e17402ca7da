"""The pictures of a stage on disk, with 8 or 16 bits a channel.

What Pillow reads as 8-bit sRGB goes through `imaging.load_image`, with its profiles, orientations and refusals. Pillow
(9.5 to 12) has no mode for colour of 16 bits: it decodes such PNG and TIFF files whole and keeps the upper byte of each
value. Asked for the same file in the other byte order, it keeps the lower one; both together are the picture. It cannot
write them at all, so `write_png` does.
"""

from __future__ import annotations

import logging
import struct
import sys
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from ..color import linear_to_srgb, srgb_to_linear
from ..errors import ImageError, StageError
from ..files import exists, is_dir, is_file
from ..imaging import MAX_PIXELS, MIN_SIDE, load_image, split_alpha
from ..imaging.save import encoded, write_whole

Codes = NDArray[np.uint8] | NDArray[np.uint16]
"""sRGB-encoded values, 0..255 or 0..65535"""

LINEAR_OF_CODE = {8: srgb_to_linear(np.arange(256) / 255.0), 16: srgb_to_linear(np.arange(65536) / 65535.0)}
"""Linear light 0..1 by sRGB code, by the number of bits."""
CODE8_OF_LINEAR = np.rint(linear_to_srgb(np.arange(65536) / 65535.0) * 255.0).astype(np.uint8)
"""8-bit sRGB codes by linear light in 1 / 65535: fine enough to tell the darkest codes, twenty entries apart."""

_OTHER_ORDER = {";16B": ";16L", ";16L": ";16B", ";16N": ";16B" if sys.byteorder == "little" else ";16L"}
_log = logging.getLogger("iclight")


def bits_of(codes: Codes) -> int:
    """8 or 16, from the array's dtype."""
    return 8 * codes.dtype.itemsize


def to_linear(codes: Codes) -> NDArray[np.float32]:
    """sRGB codes, uint8 or uint16 of any shape, as linear light 0..1, float32 of the same shape."""
    linear: NDArray[np.float32] = LINEAR_OF_CODE[bits_of(codes)].take(codes)
    return linear


def to_codes(linear: NDArray[np.float32], bits: int = 8) -> Codes:
    """Linear light of any shape, clipped to 0..1, as sRGB codes: uint8 (bits 8) or uint16 (bits 16), rounded."""
    if bits == 16:
        deep: NDArray[np.uint16] = np.rint(65535.0 * linear_to_srgb(linear.clip(0.0, 1.0))).astype(np.uint16)
        return deep
    index = linear * np.float32(65535.0)
    index += np.float32(0.5)
    np.minimum(index, np.float32(65535.0), out=index)
    np.maximum(index, np.float32(0.0), out=index)
    codes: NDArray[np.uint8] = CODE8_OF_LINEAR.take(index.astype(np.int32))
    return codes


def size_of(path: Path) -> tuple[int, int]:
    """Width and height as `read` will give them, from the header alone. Raises StageError as `read` does."""
    with _opened(path) as image:
        turned = image.format != "TIFF" and _orientation(image) >= 5
        return (image.height, image.width) if turned else (image.width, image.height)


def read(path: Path) -> tuple[Codes, NDArray[np.float32] | None]:
    """A picture's sRGB codes [H, W, 3], uint8 or uint16 as the file has them, and its alpha, float32 [H, W] or None.

    Alpha is None where the picture is opaque. A colour profile is converted to sRGB at 8 bits and ignored, with a
    warning in the log, at 16. Raises StageError, naming the file without its folder, for what cannot be read.
    """
    deep = _read_deep(path)
    if deep is not None:
        return deep
    try:
        return split_alpha(load_image(path, f"stage's picture {path.name}"))
    except ImageError as error:
        raise StageError(str(error).replace(f"{path.name} {path}", path.name)) from error


def read_mask(path: Path) -> NDArray[np.float32]:
    """Alpha float32 [H, W], 0..1: a picture's alpha where it has one, else its luma (for grey, its values)."""
    codes, alpha = read(path)
    if alpha is not None:
        return alpha
    values = codes.astype(np.float32) / np.float32(2 ** bits_of(codes) - 1)
    if (codes == codes[..., :1]).all():
        return values[..., 0]  # exact, which a weighted sum is not
    return values @ np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R 601-2, as Pillow's "L"


def write_png(path: Path, codes: Codes, text: str = "") -> None:
    """Write sRGB codes [H, W, 3] or grey ones [H, W], uint8 or uint16, as PNG. The file is there whole or not at all.

    text: an infotext, for 8 bits. 16-bit rows are stored as their differences from the row above (filter 2 of the PNG
    specification). Raises StageError where the disk refuses.
    """
    try:
        write_whole(path, encoded(Image.fromarray(codes), ".png", text) if codes.dtype == np.uint8 else _png16(codes))
    except OSError as error:
        raise StageError(f"{path.name} cannot be written ({error.strerror or error}). "
                         "Choose a folder that may be written to and has room.") from error


def _png16(codes: Codes) -> bytes:
    height, width = codes.shape[:2]
    values = codes.astype(">u2").reshape(height, -1).view(np.uint8)
    rows = np.empty((height, 1 + values.shape[1]), np.uint8)
    rows[:, 0], rows[0, 1:] = 2, values[0]
    np.subtract(values[1:], values[:-1], out=rows[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 16, 2 if codes.ndim == 3 else 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"sRGB", b"\0"), (b"IDAT", zlib.compress(rows.data, 4)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(data)) + kind + data
                                           + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks)


def _opened(path: Path) -> Image.Image:
    """The picture with its header read. Raises StageError."""
    if exists(path) and not is_dir(path) and not is_file(path):  # a pipe would wait for ever
        raise StageError(f"the stage's picture {path.name} is no regular file. Give a picture's file.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's complaints about large pictures; the limit is ours
            return Image.open(path)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise StageError(f"the stage's picture {path.name} is missing. "
                         "Put it back, or take it out of the list.") from error
    except UnidentifiedImageError as error:
        raise StageError(f"the stage's picture {path.name} is in no picture format that can be read. "
                         "Save it as PNG, JPEG, WebP or TIFF.") from error
    except Exception as error:  # decoders raise anything on damaged headers
        raise StageError(f"the stage's picture {path.name} is damaged or cannot be read. Save it anew.") from error


def _read_deep(path: Path) -> tuple[NDArray[np.uint16], NDArray[np.float32] | None] | None:
    """A PNG or TIFF with 16 bits a channel; None for everything else."""
    with _opened(path) as image:
        if image.format not in ("PNG", "TIFF") or image.width * image.height > MAX_PIXELS \
                or min(image.size) < MIN_SIDE:
            return None  # `load_image` has the words for it
        profile = image.info.get("icc_profile")
        try:
            if image.mode.startswith("I"):
                grey = np.asarray(image)
                if not 0 <= int(grey.min()) <= int(grey.max()) <= 65535:
                    return None
                values = np.repeat(grey.astype(np.uint16)[..., None], 3, 2)
            else:
                other = _other_half(image)
                if other is None:
                    return None
                upper = np.asarray(image)
                with _opened(path) as again:
                    again.tile = other
                    values = (upper.astype(np.uint16) << 8) | np.asarray(again)
        except StageError:
            raise
        except Exception as error:
            raise StageError(f"the stage's picture {path.name} is damaged or cut short. Save it anew.") from error
    if profile:
        _log.warning("the 16-bit picture %s is taken as sRGB: its colour profile is ignored", path.name)
    if values.shape[2] == 3:
        return values, None
    alpha = values[..., 3].astype(np.float32) / np.float32(65535.0)
    return np.ascontiguousarray(values[..., :3]), None if alpha.min() == 1.0 else alpha


def _other_half(image: Image.Image) -> list[Any] | None:
    """The tiles of a 16-bit colour picture so that decoding them gives the lower bytes; None for other pictures."""
    tiles: list[Any] = []
    for codec, extents, offset, args in image.tile:
        words = (args,) if isinstance(args, str) else tuple(args)
        if image.mode not in ("RGB", "RGBA") or words[0][len(image.mode):] not in _OTHER_ORDER:
            return None
        raw = image.mode + _OTHER_ORDER[words[0][len(image.mode):]]
        tiles.append((codec, extents, offset, raw if isinstance(args, str) else (raw, *words[1:])))
    return [type(tile)(*new) if hasattr(tile, "_fields") else new
            for tile, new in zip(image.tile, tiles, strict=True)] or None


def _orientation(image: Image.Image) -> int:
    """EXIF orientation 1..8; damaged EXIF counts as upright."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:
        return 1
