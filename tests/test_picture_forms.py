"""Forms of picture files that people have: depths, profiles and other words about colour, against hand-made files."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import types
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from lib_iclight.color import linear_to_srgb
from lib_iclight.errors import ImageError
from lib_iclight.imaging import MAX_PIXELS, load_image, load_mask, read_picture, split_alpha
from lib_iclight.imaging import decode as decode_module

pytestmark = pytest.mark.filterwarnings("error")

WIDTH, HEIGHT = 24, 16
DEEP = np.random.default_rng(7).integers(0, 65536, (HEIGHT, WIDTH, 4)).astype(np.uint16)
RGB = np.random.default_rng(8).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
RAMP = np.linspace(0, 1, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
"""0..1, dark at the start"""


# --- files made by hand -------------------------------------------------------------------------------------------


def png(values: NDArray[Any], *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of uint8 or uint16 [H,W] or [H,W,C], with chunks before the pixels."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    height, width = values.shape[:2]
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[1 if values.ndim == 2 else values.shape[2]]
    header = struct.pack(">IIBBBBB", width, height, 8 * values.itemsize, color_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(f">u{values.itemsize}").tobytes() for row in values)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunk(*each) for each in chunks)
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def iccp(profile: bytes) -> tuple[bytes, bytes]:
    return b"iCCP", b"p\0\0" + zlib.compress(profile)


def tiff(values: NDArray[Any], photometric: int = 1, *, bits: int | None = None, planes: bool = False,
         profile: bytes = b"", more: Sequence[tuple[int, int, list[int]]] = ()) -> bytes:
    """An uncompressed TIFF of [H,W] or [H,W,C] in the byte order of `values`."""
    order = ">" if values.dtype.byteorder == ">" else "<"
    height, width = values.shape[:2]
    channels = 1 if values.ndim == 2 else values.shape[2]
    data = (np.moveaxis(values, 2, 0) if planes else values).tobytes()
    strips = channels if planes else 1
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    entries: list[tuple[int, int, list[int]]] = [
        (256, 4, [width]), (257, 4, [height]), (258, 3, [bits or 8 * values.itemsize] * channels), (259, 3, [1]),
        (262, 3, [photometric]), (273, 4, [8 + i * len(data) // strips for i in range(strips)]), (277, 3, [channels]),
        (278, 4, [height]), (279, 4, [len(data) // strips] * strips), (284, 3, [2 if planes else 1]),
        (339, 3, [kind] * channels), *more, *([(34675, 7, list(profile))] if profile else [])]
    start = 8 + len(data)
    tail, free = b"", start + 2 + 12 * len(entries) + 4
    directory = struct.pack(order + "H", len(entries))
    for tag, type_, numbers in sorted(entries):
        raw = struct.pack(order + {3: "H", 4: "I", 7: "B"}[type_] * len(numbers), *numbers)
        if len(raw) > 4:
            tail, raw = tail + raw, struct.pack(order + "I", free + len(tail))
        directory += struct.pack(order + "HHI", tag, type_, len(numbers)) + raw.ljust(4, b"\0")
    return ((b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", start) + data + directory
            + b"\0\0\0\0" + tail)


def curve(gamma: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + bytes(2)


def parametric(kind: int, *numbers: float) -> bytes:
    return b"para" + bytes(4) + struct.pack(">HH", kind, 0) + struct.pack(
        f">{len(numbers)}i", *(round(number * 65536) for number in numbers))


def xyz(*numbers: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(number * 65536) for number in numbers))


def icc(space: bytes, tags: dict[bytes, bytes], pcs: bytes = b"XYZ ", kind: bytes = b"mntr", name: str = "") -> bytes:
    """An ICC profile of version 2 with the tags that a colour engine needs."""
    text = name.encode() + b"\0"
    tags = {b"desc": b"desc" + bytes(4) + struct.pack(">I", len(text)) + text + bytes(80),
            b"cprt": b"text" + bytes(4) + b"none\0", b"wtpt": xyz(0.9642, 1.0, 0.8249)} | tags
    table, data = struct.pack(">I", len(tags)), b""
    for tag, content in tags.items():
        content = content.ljust(-(-len(content) // 4) * 4, b"\0")
        table += struct.pack(">4sII", tag, 132 + 12 * len(tags) + len(data), len(content))
        data += content
    header = (bytes(4) + b"none" + bytes.fromhex("02400000") + kind + space + pcs
              + struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
              + bytes(48))
    assert len(header) == 128
    profile = header + table + data
    return struct.pack(">I", len(profile)) + profile[4:]


SRGB_COLUMNS = {b"rXYZ": xyz(0.4361, 0.2225, 0.0139), b"gXYZ": xyz(0.3851, 0.7169, 0.0971),
                b"bXYZ": xyz(0.1431, 0.0606, 0.7141)}
P3_COLUMNS = {b"rXYZ": xyz(0.5151, 0.2412, -0.0011), b"gXYZ": xyz(0.2920, 0.6922, 0.0419),
              b"bXYZ": xyz(0.1571, 0.0666, 0.7841)}
SRGB_PARAMETERS = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def rgb_profile(columns: dict[bytes, bytes], trc: bytes, name: str = "") -> bytes:
    return icc(b"RGB ", columns | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), trc), name=name)


LINEAR_SRGB = rgb_profile(SRGB_COLUMNS, curve(1.0), "sRGB linear")


def grey_profile(gamma: float) -> bytes:
    return icc(b"GRAY", {b"kTRC": curve(gamma)}, name="sRGB grey")


def cmyk_profile() -> bytes:
    """CMYK by a table of colours in which K alone counts: no other ink darkens."""
    corners = [(255 * (1 - (index & 1)), 128, 128) for index in range(16)]  # Lab, 8 bits; K is the last ink
    table = (b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + struct.pack(">9i", *(65536 * (i % 4 == 0) for i in range(9)))
             + bytes(range(256)) * 4 + bytes(value for corner in corners for value in corner) + bytes(range(256)) * 3)
    return icc(b"CMYK", {b"A2B0": table}, pcs=b"Lab ", kind=b"prtr")


def by_pillow(values: NDArray[Any], profile: bytes) -> NDArray[Any]:
    """What LittleCMS makes of 8-bit values."""
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return np.asarray(ImageCms.profileToProfile(
        Image.fromarray(values), source, ImageCms.createProfile("sRGB"), ImageCms.Intent.RELATIVE_COLORIMETRIC,
        "RGB")).astype(int)


def pixels(source: object) -> NDArray[Any]:
    return np.asarray(load_image(source))


def srgb(linear: NDArray[Any]) -> NDArray[Any]:
    """Linear light 0..1 as 8-bit sRGB, not rounded."""
    return linear_to_srgb(linear) * 255


# --- depth --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bit_tiffs(order: str) -> None:
    deep = DEEP.astype(f"{order}u2")
    np.testing.assert_allclose(pixels(tiff(deep[..., 0]))[..., 0], DEEP[..., 0] / 257, atol=0.51)
    np.testing.assert_allclose(pixels(tiff(deep[..., :3], 2)), DEEP[..., :3] / 257, atol=1.0)
    np.testing.assert_allclose(pixels(tiff(deep, 2, more=[(338, 3, [2])])), DEEP / 257, atol=1.0)


def test_a_tiff_whose_white_is_zero() -> None:
    np.testing.assert_allclose(pixels(tiff(DEEP[..., 0], 0))[..., 0], 255 - DEEP[..., 0] / 257, atol=0.51)
    np.testing.assert_allclose(pixels(tiff(RAMP.astype("<f4"), 0))[..., 0], 255 - RAMP * 255, atol=0.51)


def test_a_tiff_of_twelve_bits() -> None:
    codes = np.random.default_rng(2).integers(0, 4096, (HEIGHT, WIDTH))
    pairs = codes.reshape(-1, 2)
    packed = np.stack([pairs[:, 0] >> 4, (pairs[:, 0] & 15) << 4 | pairs[:, 1] >> 8, pairs[:, 1] & 255], -1)
    data = tiff(packed.reshape(HEIGHT, -1).astype(np.uint8), bits=12)
    data = data.replace(struct.pack("<HHII", 256, 4, 1, WIDTH * 3 // 2), struct.pack("<HHII", 256, 4, 1, WIDTH))
    np.testing.assert_allclose(pixels(data)[..., 0], codes / 4095 * 255, atol=0.51)


def test_sixteen_bit_colour_in_planes_is_refused_not_misread() -> None:
    with pytest.raises(ImageError, match="planes"):
        load_image(tiff(DEEP[..., :3], 2, planes=True))
    np.testing.assert_array_equal(pixels(tiff(RGB, 2, planes=True)), RGB)


def test_float_tiffs_are_0_to_1_or_refused_by_name() -> None:
    for order in "<>":
        np.testing.assert_allclose(pixels(tiff(RAMP.astype(f"{order}f4")))[..., 0], RAMP * 255, atol=0.51)
    for values in (RAMP * 255, RAMP - 0.5, RAMP * np.nan):
        with pytest.raises(ImageError, match=r"the light map is a picture of float32 with values outside 0\.\.1"):
            load_image(tiff(values.astype("<f4")), "light map")


def test_tiffs_of_other_kinds_are_refused_by_name() -> None:
    wide = np.dstack([RAMP] * 3)
    for data in (tiff(wide.astype("<f4"), 2), tiff(RAMP.astype("<f8")), tiff(DEEP[..., :2], more=[(338, 3, [2])])):
        with pytest.raises(ImageError, match="a TIFF of a kind that cannot be read"):
            load_image(data)


def test_float_and_sixteen_bit_grey_go_through_their_profile() -> None:
    dark = RAMP**3  # most of it below what 8 bits of linear light tell apart
    profile = grey_profile(1.0)
    np.testing.assert_allclose(pixels(tiff(dark.astype("<f4"), profile=profile))[..., 0], srgb(dark), atol=0.6)
    codes = np.round(dark * 65535).astype(np.uint16)
    for data in (tiff(codes, profile=profile), png(codes, iccp(profile))):
        np.testing.assert_allclose(pixels(data)[..., 1], srgb(codes / 65535), atol=0.6)


def test_sixteen_bit_linear_colour_keeps_its_shadows() -> None:
    codes = np.round(np.dstack([RAMP**3, RAMP**2, RAMP[::-1] ** 4]) * 65535).astype(np.uint16)
    for data in (png(codes, iccp(LINEAR_SRGB)), tiff(codes, 2, profile=LINEAR_SRGB),
                 tiff(codes.astype(">u2"), 2, profile=LINEAR_SRGB)):
        np.testing.assert_allclose(pixels(data), srgb(codes / 65535), atol=0.8)
    alpha = DEEP[..., 3:]
    result = pixels(png(np.dstack([codes, alpha]), iccp(LINEAR_SRGB)))
    np.testing.assert_allclose(result[..., :3], srgb(codes / 65535), atol=0.8)
    np.testing.assert_allclose(result[..., 3:], alpha / 257, atol=0.51)


def test_a_transparent_value_of_a_sixteen_bit_png() -> None:
    grey = DEEP[..., 0].copy()
    grey[0, 0], grey[0, 1] = 0x1234, 0x1235  # alike in 8 bits
    result = pixels(png(grey, (b"tRNS", struct.pack(">H", 0x1234))))
    assert result.shape == (HEIGHT, WIDTH, 4) and result[0, 0, 3] == 0
    assert (result[..., 3] == 0).sum() == (grey == 0x1234).sum()
    np.testing.assert_allclose(result[..., 0], grey / 257, atol=0.51)

    color = DEEP[..., :3].copy()
    color[0, 0], color[0, 1] = (0x1234, 0, 9), (0x1235, 0, 9)
    result = pixels(png(color, (b"tRNS", struct.pack(">3H", 0x1234, 0, 9))))
    assert result[0, 0, 3] == 0 and (result[..., 3] == 0).sum() == 1 and result[0, 1, 3] == 255
    np.testing.assert_allclose(result[..., :3], color / 257, atol=1.0)


# --- profiles -----------------------------------------------------------------------------------------------------


def test_a_linear_profile_is_applied_whatever_its_name_says() -> None:
    np.testing.assert_allclose(pixels(png(RGB, iccp(LINEAR_SRGB))), srgb(RGB / 255), atol=0.6)


@pytest.mark.parametrize("columns", [SRGB_COLUMNS, P3_COLUMNS], ids=["srgb", "p3"])
@pytest.mark.parametrize("trc", [
    curve(1.8), curve(2.2), b"curv" + bytes(8), b"curv" + bytes(4) + struct.pack(">I5H", 5, 0, 900, 9000, 30000, 65535),
    parametric(0, 1.8), parametric(1, 2.2, 1 / 1.1, 0.1 / 1.1), parametric(2, 2.0, 0.9, 0.05, 0.0475),
    parametric(3, *SRGB_PARAMETERS), parametric(4, *SRGB_PARAMETERS, 0.0, 0.0),
], ids=["1.8", "2.2", "identity", "table", "para0", "para1", "para2", "para3", "para4"])
def test_profiles_of_curves_equal_littlecms(columns: Any, trc: Any) -> None:
    profile = rgb_profile(columns, trc)
    np.testing.assert_allclose(pixels(png(RGB, iccp(profile))).astype(int), by_pillow(RGB, profile), atol=2)


def test_a_profile_that_is_srgb_by_its_curves_leaves_pixels_exact() -> None:
    for name in ("", "Somebody's screen"):
        profile = rgb_profile(SRGB_COLUMNS, parametric(3, *SRGB_PARAMETERS), name)
        np.testing.assert_array_equal(pixels(png(RGB, iccp(profile))), RGB)


@pytest.mark.parametrize("gamma", [1.0, 1.8, 3.0])
def test_grey_with_a_profile(gamma: float) -> None:
    grey = RGB[..., 0]
    expected = srgb((grey / 255) ** (round(gamma * 256) / 256))
    for data in (png(grey, iccp(grey_profile(gamma))), tiff(grey, profile=grey_profile(gamma))):
        np.testing.assert_allclose(pixels(data), np.dstack([expected] * 3), atol=0.6)


def test_cmyk_with_a_profile() -> None:
    inks = np.dstack([RGB, np.where(RAMP < 0.5, 0, 255).astype(np.uint8)])
    buffer = io.BytesIO()
    Image.fromarray(inks, "CMYK").save(buffer, "TIFF", icc_profile=cmyk_profile())
    result = pixels(buffer.getvalue())
    assert (result[RAMP < 0.5] >= 253).all() and (result[RAMP >= 0.5] <= 2).all()


def test_a_profile_cut_short_is_ignored_aloud(caplog: pytest.LogCaptureFixture) -> None:
    for size in (130, 200, len(LINEAR_SRGB) - 30):
        result = pixels(png(RGB, iccp(LINEAR_SRGB[:size])))
        assert result.shape == RGB.shape
    assert "profile is ignored" in caplog.text


def test_profiles_of_nonsense_give_a_picture() -> None:
    dice = np.random.default_rng(0)
    for number in range(200):
        trc = parametric(number % 5, *[(2.4,), (2.2, 0.9, 0.1), (2.0, 0.9, 0.05, 0.05), SRGB_PARAMETERS,
                                       (*SRGB_PARAMETERS, 0.0, 0.0)][number % 5])
        profile = bytearray(rgb_profile(P3_COLUMNS, trc))
        tags = len(rgb_profile({}, trc)) - 3 * len(trc)
        for _ in range(8):
            profile[dice.integers(tags if number % 2 else 128, len(profile))] = dice.integers(256)
        assert pixels(png(RGB, iccp(bytes(profile)))).shape == RGB.shape


# --- other words about colour -------------------------------------------------------------------------------------

LINEAR_GAMMA = (b"gAMA", struct.pack(">I", 100000))
SRGB_CHRM = (b"cHRM", struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000))
P3_CHRM = (b"cHRM", struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000))


def test_png_gamma() -> None:
    np.testing.assert_allclose(pixels(png(RGB, LINEAR_GAMMA)), srgb(RGB / 255), atol=0.6)
    np.testing.assert_allclose(pixels(png(RGB[..., 0], LINEAR_GAMMA))[..., 2], srgb(RGB[..., 0] / 255), atol=0.6)
    np.testing.assert_allclose(pixels(png(DEEP[..., :3], LINEAR_GAMMA)), srgb(DEEP[..., :3] / 65535), atol=0.6)
    np.testing.assert_allclose(pixels(png(DEEP[..., 0], LINEAR_GAMMA))[..., 0], srgb(DEEP[..., 0] / 65535), atol=0.6)
    for chunks in ([(b"gAMA", struct.pack(">I", 45455)), SRGB_CHRM], [(b"sRGB", b"\0"), LINEAR_GAMMA]):
        np.testing.assert_array_equal(pixels(png(RGB, *chunks)), RGB)


def test_png_primaries() -> None:
    expected = by_pillow(RGB, rgb_profile(P3_COLUMNS, parametric(3, *SRGB_PARAMETERS)))
    assert np.abs(expected - RGB).max() > 20
    for chunks in ([P3_CHRM], [P3_CHRM, (b"gAMA", struct.pack(">I", 45455))], [(b"cICP", bytes([12, 13, 0, 1]))]):
        np.testing.assert_allclose(pixels(png(RGB, *chunks)).astype(int), expected, atol=2)


@pytest.mark.parametrize("chunk", [(b"gAMA", bytes(4)), (b"cHRM", bytes(32)), (b"cHRM", b"\xff" * 32),
                                   (b"cHRM", struct.pack(">8I", *[31270, 32900] * 4)), (b"cICP", b"\2\2\0\1"),
                                   (b"cICP", b"\x09"), (b"gAMA", b"\xff" * 4)])
def test_chunks_of_nonsense_are_ignored(chunk: Any) -> None:
    np.testing.assert_array_equal(pixels(png(RGB, chunk)), RGB)


def test_cicp_overrules_the_rest() -> None:
    chunks = (b"cICP", bytes([1, 8, 0, 1])), iccp(rgb_profile(P3_COLUMNS, curve(1.8)))
    np.testing.assert_allclose(pixels(png(RGB, *chunks)), srgb(RGB / 255), atol=0.6)
    np.testing.assert_array_equal(pixels(png(RGB, (b"cICP", bytes([1, 13, 0, 1])), LINEAR_GAMMA)), RGB)


def test_cicp_of_narrow_range() -> None:
    narrow = np.round(16 + RGB / 255 * 219).astype(np.uint8)
    np.testing.assert_allclose(pixels(png(narrow, (b"cICP", bytes([1, 13, 0, 0])))), RGB, atol=1.0)


@pytest.mark.parametrize("transfer, white", [(16, 0.5806888), (18, 0.75)], ids=["PQ", "HLG"])
def test_hdr_shows_diffuse_white_as_white(transfer: int, white: float) -> None:
    """203 cd/m2 is at 58 % in PQ and 75 % in HLG (ITU-R BT.2408, table 1)."""
    chunk = (b"cICP", bytes([9, transfer, 0, 1]))
    codes = np.full((HEIGHT, WIDTH, 3), round(white * 65535), np.uint16)
    assert (pixels(png(codes, chunk)) >= 254).all()
    ramp = pixels(png(np.dstack([np.round(RAMP * white * 65535).astype(np.uint16)] * 3), chunk))[..., 0].ravel()
    assert (np.diff(ramp.astype(int)) >= 0).all() and ramp[0] == 0 and ramp[len(ramp) // 2] < 200


def adobe_exif(color_space: int, index: bytes) -> bytes:
    """EXIF as cameras write it for AdobeRGB: a colour space of none, and "R03" in the interoperability directory."""
    head = b"MM\0*" + struct.pack(">I", 8)
    ifd = struct.pack(">HHHII", 1, 0x8769, 4, 1, 26) + bytes(4)
    exif = struct.pack(">H", 2) + struct.pack(">HHIHH", 0xA001, 3, 1, color_space, 0) + struct.pack(
        ">HHII", 0xA005, 4, 1, 56) + bytes(4)
    interop = struct.pack(">HHHI4s", 1, 1, 2, 4, index) + bytes(4)
    return b"Exif\0\0" + head + ifd + exif + interop


def test_adobe_rgb_that_only_exif_tells() -> None:
    def jpeg(exif: bytes, **more: bytes) -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(np.full((HEIGHT, WIDTH, 3), (60, 160, 60), np.uint8)).save(
            buffer, "JPEG", quality=100, exif=exif, **more)
        return buffer.getvalue()

    green, blue = pixels(jpeg(adobe_exif(0xFFFF, b"R03\0")))[5, 5].astype(int)[[1, 2]]
    assert green in (160, 161, 162) and blue < 60
    red = pixels(jpeg(adobe_exif(0xFFFF, b"R03\0")))[5, 5, 0]
    assert red == 0  # this green lies outside sRGB
    for exif in (adobe_exif(1, b"R98\0"), adobe_exif(0xFFFF, b"R98\0"), adobe_exif(1, b"R03\0"),
                 b"Exif\0\0II*\0\xff\xff\xff\xff"):
        np.testing.assert_allclose(pixels(jpeg(exif))[5, 5], (60, 160, 60), atol=2)
    srgb_profile = rgb_profile(SRGB_COLUMNS, parametric(3, *SRGB_PARAMETERS))
    np.testing.assert_allclose(pixels(jpeg(adobe_exif(0xFFFF, b"R03\0"), icc_profile=srgb_profile))[5, 5],
                               (60, 160, 60), atol=2)


# --- kinds of files -----------------------------------------------------------------------------------------------


def test_heic_and_jpeg_xl_name_their_plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delitem(Image.OPEN, "HEIF", raising=False)
    monkeypatch.delitem(Image.OPEN, "JXL", raising=False)
    for head, plugin in ((b"\0\0\0\x18ftypheic" + bytes(40), "pillow-heif"),
                         (b"\xff\x0a" + bytes(40), "pillow-jxl-plugin"),
                         (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(40), "pillow-heif"),
                         (b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(40), "pillow-jxl-plugin")):
        path = tmp_path / "photo"
        path.write_bytes(head)
        for source in (head, path):
            with pytest.raises(ImageError, match=plugin) as caught:
                load_image(source, "foreground")
            assert str(caught.value).startswith("the foreground")


def test_an_avif_may_begin_with_a_general_brand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(Image.OPEN, "AVIF", raising=False)
    monkeypatch.setitem(sys.modules, "pillow_avif", None)
    with pytest.raises(ImageError, match="pillow-avif-plugin"):
        load_image(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif" + bytes(40))


def test_a_very_large_picture_of_sixteen_bits(monkeypatch: pytest.MonkeyPatch,
                                              caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(decode_module, "_DEEP_PIXELS", HEIGHT * WIDTH - 1)
    result = pixels(png(DEEP[..., :3], iccp(LINEAR_SRGB)))
    np.testing.assert_allclose(result, srgb((DEEP[..., :3] >> 8) / 255), atol=0.6)
    assert "read as 8 bits" in caplog.text
    with pytest.raises(ImageError, match="alpha channel"):
        load_image(png(DEEP[..., :3], (b"tRNS", bytes(6))))


def test_avif_is_read_through_the_plugin_once_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for pillow-avif-plugin, which adds itself to Pillow when it is imported."""
    class Opener(Image.Image):  # type: ignore[misc]  # mypy does not look into Pillow
        format = "AVIF"

        def __init__(self, file: io.BytesIO, name: str) -> None:
            super().__init__()
            self.__dict__.update(Image.fromarray(RGB).__dict__)

    monkeypatch.delitem(Image.OPEN, "AVIF", raising=False)
    avif = b"\0\0\0\x18ftypavif" + bytes(40)
    monkeypatch.setitem(sys.modules, "pillow_avif", None)
    with pytest.raises(ImageError, match="pillow-avif-plugin"):
        load_image(avif)

    def importing(name: str) -> types.ModuleType:
        assert name == "pillow_avif"
        monkeypatch.setitem(Image.OPEN, "AVIF", (Opener, lambda prefix: prefix[8:12] == b"avif"))
        return types.ModuleType(name)

    monkeypatch.setattr("importlib.import_module", importing)
    np.testing.assert_array_equal(pixels(avif), RGB)


def test_a_raw_file_does_not_give_its_preview() -> None:
    with pytest.raises(ImageError, match="raw file"):
        load_image(tiff(RGB, 2, more=[(254, 4, [1])]))
    np.testing.assert_array_equal(pixels(tiff(RGB, 2, more=[(254, 4, [0])])), RGB)


@pytest.mark.parametrize("read", [load_image, read_picture], ids=["load_image", "read_picture"])
def test_only_regular_files_of_pictures_are_read(read: Any, tmp_path: Path) -> None:
    model = tmp_path / "model.safetensors"
    with model.open("wb") as file:
        file.write((10000).to_bytes(8, "little") + b'{"__metadata__":{}')
        file.truncate(3 << 30)
    kinds = [(model, "no picture format"), (Path("/dev/zero"), "no regular file"), (tmp_path, "a folder"),
             (tmp_path / "nothing.png", "No such file"), (tmp_path / "a\0b.png", "null"),
             (tmp_path / ("x" * 300), "File name too long")]
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        kinds.append((tmp_path / "pipe", "no regular file"))
    for path, reason in kinds:
        with pytest.raises(ImageError, match=reason) as caught:
            read(path, "mask")
        assert str(caught.value).startswith("the mask")


def test_read_picture_gives_the_bytes_up_to_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = png(RGB)
    (tmp_path / "a.png").write_bytes(data)
    assert read_picture(tmp_path / "a.png", "mask") == data
    monkeypatch.setattr(decode_module, "MAX_BYTES", len(data) - 1)
    with pytest.raises(ImageError, match="larger than"):
        read_picture(tmp_path / "a.png", "mask")


MEASURE = """
import re, sys
from pathlib import Path
import numpy as np
from PIL import Image
from lib_iclight.imaging import composite_on_grey, fit, load_image, split_alpha
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

data, side = sys.stdin.buffer.read(), int(sys.argv[1])
load_image(Image.new("RGBA", (64, 64)))
before = peak()
image = load_image(data)
loaded = peak()
rgb, alpha = split_alpha(image)
fit(composite_on_grey(rgb, np.linspace(0, 1, side, dtype=np.float32)[None].repeat(side, 0)), 64, 64)
after = peak()
print((loaded - before) * 1024 / side**2, (after - before) * 1024 / side**2)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has /proc")
@pytest.mark.parametrize("values, load, work", [
    (np.zeros((4000, 4000), np.uint16), 8, 18), (np.zeros((4000, 4000, 3), np.uint8), 10, 18)], ids=["16-bit", "RGB"])
def test_a_photograph_takes_few_bytes_a_pixel(values: Any, load: int, work: int) -> None:
    """Bytes a pixel; whole arrays of floats would make it 38."""
    done = subprocess.run([sys.executable, "-c", MEASURE, "4000"], input=png(values), capture_output=True, check=True,
                          cwd=Path(__file__).resolve().parent.parent)
    loaded, worked = map(float, done.stdout.split())
    assert loaded < load and worked < work


# --- large pictures -----------------------------------------------------------------------------------------------


def test_200_megapixels_are_within_the_limits() -> None:
    assert MAX_PIXELS >= 16384 * 12288
    width, height = 15000, 12000  # above the size at which Pillow raises
    rows = zlib.compress(bytes((width // 8 + 1) * height), 1)
    data = png(np.zeros((16, 16), np.uint8))
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    data = data[:12] + header + struct.pack(">I", zlib.crc32(header)) + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in ((b"IDAT", rows), (b"IEND", b"")))
    image = load_image(data, enough=(100, 100))
    assert image.size == (125, 100) and image.mode == "RGB" and image.getextrema() == ((0, 0),) * 3


@pytest.mark.parametrize("format", ["JPEG", "PNG"])
@pytest.mark.parametrize("turn", [1, 6])
def test_enough_covers_what_is_asked_and_looks_the_same(format: str, turn: int) -> None:
    smooth = np.dstack([np.add.outer(np.arange(320), np.arange(480)) * 255 // 800, *[np.full((320, 480), 90)] * 2])
    exif = Image.Exif()
    exif[0x0112] = turn
    buffer = io.BytesIO()
    Image.fromarray(smooth.astype(np.uint8)).save(buffer, format, exif=exif.tobytes(), **(
        {"quality": 95} if format == "JPEG" else {}))
    whole = load_image(buffer.getvalue())
    for enough in ((100, 50), (50, 100), (159, 106), (300, 300), (9999, 9999), (0, 0)):
        result = load_image(buffer.getvalue(), enough=enough)
        covered = [min(own, want) for own, want in zip(whole.size, enough, strict=True)]
        assert all(own >= want for own, want in zip(result.size, covered, strict=True))
        if min(enough) > 200:
            assert result.size == whole.size
        if enough in ((100, 50), (50, 100)):
            assert result.size[0] <= whole.size[0] // 2
        if enough != (0, 0):
            scaled = whole.resize(result.size, Image.Resampling.BOX)
            np.testing.assert_allclose(np.asarray(result).astype(int), np.asarray(scaled), atol=4)


def test_what_is_transparent_does_not_tint_a_reduced_picture() -> None:
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[:, ::2] = (200, 100, 50, 255)
    rgba[:, 1::2, :3] = (0, 255, 0)
    rgb, alpha = split_alpha(load_image(png(rgba), enough=(32, 32)))
    assert rgb.shape == (32, 32, 3) and alpha is not None
    np.testing.assert_allclose(rgb, np.broadcast_to([200, 100, 50], rgb.shape), atol=2)
    np.testing.assert_allclose(alpha, 0.5, atol=0.01)


def test_a_mask_of_another_size_is_reduced_first() -> None:
    mask = np.zeros((400, 400), np.uint8)
    mask[:, 200:] = 255
    alpha = load_mask(png(mask), 40, 40)
    assert alpha.dtype == np.float32 and alpha.shape == (40, 40)
    assert (alpha[:, :18] < 0.01).all() and (alpha[:, 22:] > 0.99).all()
