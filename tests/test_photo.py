"""Photos in and out with their own depth, colours and EXIF."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms

from lib_iclight.errors import ImageError
from lib_iclight.imaging import load_image, read_text
from lib_iclight.imaging.coding import Coding
from lib_iclight.imaging.decode import can_write_avif
from lib_iclight.imaging.photo import Photo, load_photo
from lib_iclight.imaging.profiles import adobe_rgb, from_icc
from lib_iclight.imaging.save_photo import GPS_LEFT_OUT, PhotoForm, save_photo

RNG = np.random.default_rng(3)
RGB = RNG.integers(0, 256, (40, 56, 3), np.uint8)
SMOOTH = np.asarray(Image.fromarray(RNG.integers(30, 226, (4, 5, 3), np.uint8)).resize((56, 40)))
DEEP = RNG.integers(0, 65536, (40, 56, 3), np.uint16)
EIGHT = [".png", ".jpg", ".webp", ".tif", *([".avif"] if can_write_avif() else [])]
TEXT = "a cat, 猫\nNegative prompt: a dog\nSteps: 1, IC-Light size: original"


def camera_exif(orientation: int = 6) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0112], exif[0x8298] = "Maker", "Model 5", orientation, "A. Person"
    exif[0x8769] = {0x9003: "2024:05:06 07:08:09", 0x829A: (1, 250), 0xA001: 0xFFFF}
    exif[0x8825] = {1: "N", 2: (52.0, 30.0, 1.5), 3: "E", 4: (13.0, 24.0, 0.0)}
    return exif


def file_of(image: Image.Image, form: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def icc() -> bytes:
    """A profile of curves and a matrix that is not sRGB: its green and blue change places."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    places = {bytes(data[132 + 12 * i:136 + 12 * i]): 132 + 12 * i
              for i in range(int.from_bytes(data[128:132], "big"))}
    green, blue = (data[places[name] + 4:places[name] + 12] for name in (b"gXYZ", b"bXYZ"))
    data[places[b"gXYZ"] + 4:places[b"gXYZ"] + 12], data[places[b"bXYZ"] + 4:places[b"bXYZ"] + 12] = blue, green
    return bytes(data)


ICC = icc()  # once: it holds the time


def seen(data: bytes | Path) -> NDArray[Any]:
    return np.asarray(load_image(data, "picture").convert("RGB")).astype(int)


@pytest.mark.parametrize("encoding", [None, adobe_rgb()], ids=["sRGB", "AdobeRGB"])
@pytest.mark.parametrize("bits", [8, 16])
def test_codes_go_to_linear_light_and_back_exactly(encoding: Any, bits: int) -> None:
    coding = Coding(encoding, bits)
    every = np.arange(2**bits, dtype=np.uint8 if bits == 8 else np.uint16)[None, :, None].repeat(3, 2)
    done = np.empty_like(every)
    coding.write(coding.linear(every), done)
    off = np.abs(done.astype(int) - every)
    assert off.max() <= (0 if bits == 8 else 1)
    white = coding.own(np.ones((3, 1, 1), np.float32))
    np.testing.assert_allclose(white, 1.0, atol=2e-3)


def test_between_codes_there_are_fractions() -> None:
    coding = Coding(None, 8)
    middle = np.full((3, 1, 1), (coding.linear(np.full((1, 1, 3), 99, np.uint8)).mean()
                                 + coding.linear(np.full((1, 1, 3), 100, np.uint8)).mean()) / 2, np.float32)
    assert abs(float(coding.encode(middle).mean()) - 99.5) < 0.01


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_lies_upright_as_everywhere(orientation: int) -> None:
    data = file_of(Image.fromarray(RGB), "PNG", exif=camera_exif(orientation))
    np.testing.assert_array_equal(load_photo(data, "photo").codes, np.asarray(load_image(data, "photo")))


def test_every_form_of_a_picture_is_taken() -> None:
    import base64

    data = file_of(Image.fromarray(RGB), "PNG")
    for source in (RGB, Image.fromarray(RGB), data, base64.b64encode(data).decode()):
        photo = load_photo(source, "photo")
        np.testing.assert_array_equal(photo.codes, RGB)
        assert photo.alpha is None and photo.bits == 8 and photo.size == (56, 40)
    np.testing.assert_array_equal(load_photo(DEEP, "photo").codes, DEEP)
    cut = np.dstack([RGB, np.arange(56, dtype=np.uint8)[None].repeat(40, 0)])
    photo = load_photo(cut, "photo")
    assert photo.alpha is not None
    np.testing.assert_array_equal(photo.alpha, cut[..., 3])
    share = photo.share()
    assert share is not None and share.max() == np.float32(55 / 255)
    for bad in (3, b"no picture", RGB[:8]):
        with pytest.raises(ImageError):
            load_photo(bad, "photo")


@pytest.mark.parametrize("ending", [".png", ".tif"])
@pytest.mark.parametrize("profile", [None, ICC], ids=["sRGB", "own profile"])
def test_sixteen_bits_survive(ending: str, profile: bytes | None, tmp_path: Path) -> None:
    encoding = None if profile is None else from_icc(profile, 3)
    photo = Photo(DEEP, None, encoding, profile)
    path = tmp_path / f"a{ending}"
    assert save_photo(photo, path, TEXT, PhotoForm(16)) == ()
    again = load_photo(path, "photo")
    np.testing.assert_array_equal(again.codes, DEEP)
    assert again.profile == profile and (again.encoding is None) == (encoding is None)
    assert read_text(path) == TEXT
    with Image.open(path) as image:
        assert image.size == (56, 40)
    np.testing.assert_array_equal(seen(path), seen(path.read_bytes()))


@pytest.mark.parametrize("ending", EIGHT)
def test_profile_exif_and_text_are_in_every_format(ending: str, tmp_path: Path) -> None:
    source = file_of(Image.fromarray(SMOOTH), "JPEG", quality=100, exif=camera_exif(), icc_profile=ICC)
    photo = load_photo(source, "photo")
    assert photo.size == (40, 56) and photo.profile == ICC
    path = tmp_path / f"a{ending}"
    assert save_photo(photo, path, TEXT) == (GPS_LEFT_OUT,)
    with Image.open(path) as image:
        exif = image.getexif()
        told = dict(exif.get_ifd(0x8769))
        assert image.info.get("icc_profile") == ICC
        assert str(exif[0x0110]).strip("\0") == "Model 5" and str(told[0x9003]).startswith("2024:05:06")
        assert exif.get(0x0112, 1) == 1 and not exif.get_ifd(0x8825)
        assert (told[0xA002], told[0xA003], told[0xA001]) == (40, 56, 0xFFFF)
    assert read_text(path) == TEXT
    assert np.abs(seen(path) - seen(source)).mean() < (4 if ending in (".jpg", ".webp", ".avif") else 0.01)


@pytest.mark.parametrize("ending", EIGHT)
def test_on_request_it_is_srgb_and_tells_where(ending: str, tmp_path: Path) -> None:
    source = file_of(Image.fromarray(SMOOTH), "JPEG", quality=100, exif=camera_exif(1), icc_profile=ICC)
    path = tmp_path / f"a{ending}"
    assert save_photo(load_photo(source, "photo"), path, "", PhotoForm(8, "srgb", gps=True)) == ()
    with Image.open(path) as image:
        exif = image.getexif()
        assert not image.info.get("icc_profile") and exif.get_ifd(0x8769)[0xA001] == 1
        assert str(exif.get_ifd(0x8825)[1]).strip("\0") == "N"
    assert np.abs(seen(path) - seen(source)).mean() < (4 if ending in (".jpg", ".webp", ".avif") else 0.6)


def test_depth_changes_exactly_both_ways() -> None:
    photo = Photo(RGB)
    np.testing.assert_array_equal(photo.with_bits(16).codes, RGB.astype(np.uint16) * 257)
    np.testing.assert_array_equal(photo.with_bits(16).with_bits(8).codes, RGB)
    assert photo.with_bits(8) is photo is photo.in_srgb(8)


def test_what_no_format_holds_is_refused() -> None:
    for ending in (".jpg", ".webp"):
        with pytest.raises(ImageError, match="For 16 write"):
            PhotoForm(16).check(ending)
    for bad in ({"depth": 12}, {"profile": "adobe"}):
        with pytest.raises(ImageError, match="must be"):
            PhotoForm(**bad)


def test_palettes_cmyk_and_grey_come_as_srgb_and_deep_grey_stays_deep() -> None:
    for image, form in ((Image.fromarray(RGB).quantize(32), "PNG"), (Image.fromarray(RGB).convert("CMYK"), "TIFF"),
                        (Image.fromarray(RGB).convert("L"), "PNG")):
        data = file_of(image, form)
        photo = load_photo(data, "photo")
        np.testing.assert_array_equal(photo.codes, np.asarray(load_image(data, "photo").convert("RGB")))
    grey = Image.fromarray(DEEP[..., 0].astype(np.uint16))
    photo = load_photo(file_of(grey, "PNG"), "photo")
    np.testing.assert_array_equal(photo.codes, DEEP[..., :1].repeat(3, 2))
