"""Small stages for the tests, and readers written without looking at ours."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lib_iclight.stage import FOUR, Lamp, Stage, from_pictures

WIDTH, HEIGHT = 24, 18


def random_codes(seed: int, kind: type[Any] = np.uint8, height: int = HEIGHT, width: int = WIDTH) -> NDArray[Any]:
    """A picture's codes [H, W, 3]."""
    return np.random.default_rng(seed).integers(0, np.iinfo(kind).max, (height, width, 3), kind, endpoint=True)


def round_alpha(height: int = HEIGHT, width: int = WIDTH) -> NDArray[Any]:
    """A disc with a soft edge, in steps of 1/255."""
    y, x = np.mgrid[:height, :width]
    away = np.hypot(y - height / 2, x - width / 2)
    return (np.rint((min(height, width) / 2.2 - away).clip(0, 1) * 255) / 255).astype(np.float32)


def random_stage(lamps: Sequence[Lamp] = FOUR, seed: int = 0, alpha: bool = True, height: int = HEIGHT,
                 width: int = WIDTH) -> Stage:
    """Noise for every lamp."""
    pictures = np.random.default_rng(seed).random((len(lamps), height, width, 3)).astype(np.float32)
    return from_pictures(lamps, pictures, round_alpha(height, width) if alpha else None)


def pictures_of(stage: Stage) -> NDArray[np.float32]:
    """Those of a stage that holds them."""
    assert stage.pictures is not None
    return stage.pictures


def alpha_of(stage: Stage) -> NDArray[np.float32]:
    """That of a stage that has one."""
    assert stage.alpha is not None
    return stage.alpha


def decode(encoded: NDArray[Any]) -> NDArray[Any]:
    """sRGB 0..1 as linear light, in float64."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def encode(linear: NDArray[Any]) -> NDArray[Any]:
    """Linear light 0..1 as sRGB, in float64."""
    return np.where(linear <= 0.0031308, linear * 12.92, 1.055 * np.maximum(linear, 1e-12) ** (1 / 2.4) - 0.055)


def read_png16(path: Path) -> NDArray[Any]:
    """A 16-bit PNG, filters 0 to 4, by the specification, byte by byte."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    at, packed, header = 8, b"", b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + size:at + 12 + size])[0]
        header, packed = (body if kind == b"IHDR" else header), packed + (body if kind == b"IDAT" else b"")
        at += 12 + size
    width, height, depth, color = struct.unpack(">IIBB", header[:10])
    assert depth == 16
    step = {0: 2, 2: 6}[color]
    raw, rows, above = zlib.decompress(packed), [], bytes(width * step)
    for row in range(height):
        line = bytearray(raw[row * (width * step + 1) + 1:(row + 1) * (width * step + 1)])
        assert raw[row * (width * step + 1)] in (0, 2)
        if raw[row * (width * step + 1)] == 2:
            line = bytearray((value + upper) & 255 for value, upper in zip(line, above, strict=True))
        above = bytes(line)
        rows.append(np.frombuffer(above, ">u2"))
    return np.array(rows).reshape((height, width, 3) if color == 2 else (height, width)).astype(np.uint16)


def save_photos(folder: Path, names: tuple[str, ...], **options: Any) -> None:
    """Photographs of a person who has no program."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.fromarray(random_codes(number)).save(folder / name, **options)
