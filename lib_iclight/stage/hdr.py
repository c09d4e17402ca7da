"""Pictures with the full range of light: Radiance `.hdr` files, and EXR where the optional package `OpenEXR` is there.

The format: Ward, "Real Pixels", Graphics Gems II (1991), and the Radiance manual, "Radiance File Formats". A pixel is
red, green, blue and an exponent (RGBE), one byte each: (mantissa + 0.5) * 2^(exponent - 136), 0 where the exponent is 0.
"""

from __future__ import annotations

import io
import os
import re
import tempfile
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ..errors import StageError
from ..imaging import MAX_PIXELS

_AXES = re.compile(rb"([-+])([XY]) +(\d{1,6}) +([-+])([XY]) +(\d{1,6})")
_MAX_HEADER = 64


def read_hdr(data: bytes, what: str = "the .hdr picture") -> NDArray[np.float32]:
    """Linear light, float32 [H, W, 3], of a Radiance picture's bytes; the first row is at the top.

    Flat pixels and both run-length forms, all eight orders of the axes; values are divided by the header's EXPOSURE,
    as the format says. Raises StageError for XYZE colours, for what is no such picture, and for one cut short.
    """
    stream = io.BytesIO(data)
    if not stream.readline(32).startswith(b"#?"):
        raise StageError(f"{what} is no Radiance .hdr file. Give a .hdr (RGBE) or an ordinary picture.")
    exposure = 1.0
    for _ in range(_MAX_HEADER):
        line = stream.readline(4096)
        if not line.strip():
            break
        key, _, value = line.strip().partition(b"=")
        if key.strip() == b"FORMAT" and value.strip() != b"32-bit_rle_rgbe":
            raise StageError(f"{what} holds colours of another kind than RGBE. Save it as RGBE.")
        if key.strip() == b"EXPOSURE":
            try:
                exposure *= float(value)
            except ValueError:
                exposure = float("nan")
    axes = _AXES.fullmatch(stream.readline(64).strip())
    if axes is None or axes[2] == axes[5] or not np.isfinite(exposure) or exposure <= 0:
        raise StageError(f"{what} has a header that cannot be read. Save it anew.")
    lines, length = int(axes[3]), int(axes[6])
    if not lines or not length or lines * length > MAX_PIXELS:
        raise StageError(f"{what} is {length} x {lines} pixels, which cannot be used. "
                         f"Use one of up to {MAX_PIXELS // 10**6} million pixels.")
    pixels = _scan_lines(memoryview(data)[stream.tell():], lines, length, what)
    scale = np.ldexp(np.float32(1.0), pixels[..., 3].astype(np.int32) - 136)
    linear = (pixels[..., :3] + np.float32(0.5)) * np.where(pixels[..., 3] == 0, 0.0, scale)[..., None]
    linear = (linear / exposure).astype(np.float32)
    # The first axis is the one that scan lines are counted along; -Y counts from the top, +X from the left.
    if axes[2] == b"X":
        linear = linear.transpose(1, 0, 2)
    signs = {axes[2]: axes[1], axes[5]: axes[4]}
    if signs[b"Y"] == b"+":
        linear = linear[::-1]
    if signs[b"X"] == b"-":
        linear = linear[:, ::-1]
    return np.ascontiguousarray(linear)


def write_hdr(linear: NDArray[np.float32]) -> bytes:
    """The bytes of a Radiance picture of linear light [H, W, 3], not negative; flat, which every reader knows."""
    largest = linear.max(axis=2)
    _, exponent = np.frexp(largest)
    scale = np.where(largest > 1e-32, np.ldexp(np.float32(1.0), 8 - exponent), 0.0)
    pixels = np.empty((*linear.shape[:2], 4), np.uint8)
    pixels[..., :3] = (linear * scale[..., None]).clip(0, 255)
    pixels[..., 3] = np.where(largest > 1e-32, (exponent + 128).clip(0, 255), 0)
    header = f"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y {linear.shape[0]} +X {linear.shape[1]}\n"
    return header.encode() + pixels.tobytes()


def read_exr(path: Path) -> NDArray[np.float32]:
    """Linear light, float32 [H, W, 3], of an EXR picture. Raises StageError without the package `OpenEXR` (3.3 or newer)."""
    try:
        import OpenEXR
    except ImportError as error:
        raise StageError("EXR pictures need the optional package OpenEXR: pip install OpenEXR. "
                         "Or convert the picture to Radiance .hdr.") from error
    try:
        with OpenEXR.File(str(path)) as file:
            channels = file.channels()
            names = next((group for group in (["RGB"], ["RGBA"], ["R", "G", "B"], ["Y"])
                          if all(name in channels for name in group)), None)
            if names is None:
                raise StageError(f"{path.name} has no red, green and blue channels.")
            planes = [np.asarray(channels[name].pixels, np.float32) for name in names]
    except StageError:
        raise
    except Exception as error:  # the package raises RuntimeError, and others on damaged headers
        raise StageError(f"{path.name} is damaged or no EXR picture. Save it anew.") from error
    linear = planes[0][..., :3] if planes[0].ndim == 3 else np.stack(planes if len(planes) == 3 else planes * 3, 2)
    return np.ascontiguousarray(linear)


def exr_from_bytes(data: bytes) -> NDArray[np.float32]:
    """`read_exr` of a picture's bytes; the package reads files only."""
    handle, name = tempfile.mkstemp(suffix=".exr")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        return read_exr(Path(name))
    finally:
        os.unlink(name)


def _scan_lines(data: memoryview, lines: int, length: int, what: str) -> NDArray[np.uint8]:
    """RGBE pixels [lines, length, 4] of flat, old and new run-length coded scan lines, which may be mixed."""
    short = StageError(f"{what} is cut short. Copy or download it anew.")
    pixels = np.empty((lines, length, 4), np.uint8)
    source: BinaryIO = io.BytesIO(data)
    for line in pixels:
        head = source.read(4)
        if len(head) < 4:
            raise short
        if 8 <= length < 32768 and head[:2] == b"\x02\x02" and head[2] < 128:
            if head[2] * 256 + head[3] != length:
                raise StageError(f"{what} is damaged: a row has another length than the picture. Download it anew.")
            for channel in range(4):
                _runs(source, line[:, channel], short)
        else:
            _flat(source, head, line, short)
    return pixels


def _runs(source: BinaryIO, row: NDArray[np.uint8], short: StageError) -> None:
    """One channel of a row in the new form: a count up to 128 and so many bytes, or 128 + n and a byte n times."""
    at = 0
    while at < len(row):
        count = source.read(1)
        if not count:
            raise short
        size = count[0]
        repeated = size > 128
        size = size - 128 if repeated else size
        values = source.read(1 if repeated else size)
        if len(values) < (1 if repeated else size):
            raise short
        if not size or at + size > len(row):
            raise StageError("the .hdr picture is damaged: a run is longer than its row. Download it anew.")
        row[at:at + size] = values[0] if repeated else np.frombuffer(values, np.uint8)
        at += size


def _flat(source: BinaryIO, head: bytes, row: NDArray[np.uint8], short: StageError) -> None:
    """A row of pixels as they are, or in the old form, where (1, 1, 1, n) repeats the pixel before n times."""
    rest = source.read(4 * (len(row) - 1))
    block = np.frombuffer(head + rest[:len(rest) // 4 * 4], np.uint8).reshape(-1, 4)
    mark = (block[:, :3] == 1).all(axis=1)
    if len(block) == len(row) and not mark.any():
        row[:] = block
        return
    at, taken, shift = 0, 0, 0
    while at < len(row):
        if taken == len(block):
            raise short
        if mark[taken]:
            size = int(block[taken, 3]) << shift
            shift += 8
            if not at or at + size > len(row) or shift > 24:
                raise StageError("the .hdr picture is damaged: a run is longer than its row. Download it anew.")
            row[at:at + size] = row[at - 1]
            at += size
        else:
            row[at], at, shift = block[taken], at + 1, 0
        taken += 1
    source.seek(4 * taken - len(head) - len(rest), io.SEEK_CUR)
