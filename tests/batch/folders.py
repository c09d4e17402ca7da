"""Folders of small pictures, good ones and broken ones."""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from lib_iclight.batch.report import read_report

QUICK = ["--width", "64", "--height", "64", "--steps", "1", "--device", "cpu", "--light", "left"]


def picture(seed: int, width: int = 48, height: int = 40) -> Image.Image:
    """A noisy disc on nothing."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 4), dtype=np.uint8)
    y, x = np.mgrid[:height, :width]
    pixels[..., 3] = np.where(np.hypot(x - width / 2, y - height / 2) < min(width, height) / 2.5, 255, 0)
    return Image.fromarray(pixels)


def fill(folder: Path, count: int, start: int = 0) -> list[str]:
    """So many good pictures, some of them in a folder inside; returns their names from the folder on."""
    names = [f"{'inside/' if number % 5 == 4 else ''}photo-{number:03}.png" for number in range(start, start + count)]
    for number, name in enumerate(names, start):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        picture(number).save(folder / name)
    return names


def data(seed: int = 0, form: str = "PNG", width: int = 48) -> bytes:
    """The bytes of a good picture's file."""
    file, made = io.BytesIO(), picture(seed, width)
    (made.convert("RGB") if form == "JPEG" else made).save(file, form)
    return file.getvalue()


def _huge() -> bytes:
    """A PNG whose header tells of 10^10 pixels."""
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b""))


def _small() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(file, "PNG")
    return file.getvalue()


def _clear() -> bytes:
    file = io.BytesIO()
    Image.new("RGBA", (32, 32), (9, 9, 9, 0)).save(file, "PNG")
    return file.getvalue()


def _link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere.jpg"))


BREAK: dict[str, Callable[[Path], object]] = {
    "empty.png": lambda path: path.write_bytes(b""),
    "text.jpg": lambda path: path.write_text("this is no picture, whatever its name says " * 9, encoding="ascii"),
    "cut.png": lambda path: path.write_bytes(data()[:len(data()) // 2]),
    "cut.jpg": lambda path: path.write_bytes(data(form="JPEG")[:300]),
    "small.png": lambda path: path.write_bytes(_small()),
    "clear.png": lambda path: path.write_bytes(_clear()),
    "link.jpg": _link,
    "pipe.png": os.mkfifo,
    "huge.png": lambda path: path.write_bytes(_huge()),
    "phone.heic": lambda path: path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(64)),
}
"""a name -> how such a file is broken: ten ways"""


def spoil(folder: Path, times: int = 1) -> list[str]:
    """Files broken in all those ways; returns their names."""
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for number in range(times):
        for name, spoiled in BREAK.items():
            names.append(f"z{number}-{name}")
            spoiled(folder / names[-1])
    return names


def results(out: Path) -> list[str]:
    """All files of results, from `out` on; the batch's own ones aside."""
    return sorted(path.relative_to(out).as_posix() for path in out.rglob("*")
                  if path.is_file() and path.name != ".batch-claims" and not path.name.startswith("report"))


def last(out: Path) -> dict[str, dict[str, Any]]:
    """What the reports say in the end, by input."""
    return {row["input"]: row for path in sorted(out.glob("report*.jsonl")) for row in read_report(path)}
