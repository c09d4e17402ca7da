"""Every picture form through `load_image`, its refusals, and the pixel contract against independent writings of it."""

from __future__ import annotations

import base64
import io
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile

from lib_iclight.cache import content_key
from lib_iclight.color import linear_to_srgb, srgb_to_linear
from lib_iclight.errors import ImageError
from lib_iclight.imaging import composite_on_grey, contain, contained, fit, fit_alpha, load_image, split_alpha, to_vae

pytestmark = pytest.mark.filterwarnings("error")

WIDTH, HEIGHT = 24, 16


def random_pixels(*shape: int, seed: int = 0) -> NDArray[Any]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


RGB = random_pixels(HEIGHT, WIDTH, 3)
RGBA = np.dstack([RGB, random_pixels(HEIGHT, WIDTH, seed=1)])
GREY = RGB[..., 0]


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def raw_png(width: int, height: int, depth: int, color_type: int, rows: bytes) -> bytes:
    """A PNG made by hand, for what Pillow does not write: 16-bit colour, and headers that promise too much."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color_type, 0, 0, 0))
            + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def pixels(source: object) -> NDArray[Any]:
    return np.asarray(load_image(source))


def test_rgb_and_rgba_come_through_unchanged() -> None:
    for array, mode in ((RGB, "RGB"), (RGBA, "RGBA")):
        for source in (Image.fromarray(array), array, encoded(Image.fromarray(array))):
            image = load_image(source)
            assert image.mode == mode
            np.testing.assert_array_equal(np.asarray(image), array)


def test_grey_forms_give_three_equal_channels() -> None:
    grey = np.dstack([GREY] * 3)
    for source in (Image.fromarray(GREY), GREY, GREY[..., None], encoded(Image.fromarray(GREY), "BMP")):
        np.testing.assert_array_equal(pixels(source), grey)
    black_and_white = GREY > 127
    for source in (black_and_white, Image.fromarray(black_and_white)):
        np.testing.assert_array_equal(pixels(source), np.dstack([black_and_white * np.uint8(255)] * 3))


def test_grey_with_alpha_keeps_its_alpha() -> None:
    image = load_image(encoded(Image.fromarray(RGBA[..., 2:], "LA")))
    np.testing.assert_array_equal(np.asarray(image), RGBA[..., [2, 2, 2, 3]])


def test_palette_with_and_without_transparency() -> None:
    indices = (np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) % 3).astype(np.uint8)
    colors = np.array([[10, 20, 30], [200, 100, 0], [0, 255, 128]], np.uint8)
    image = Image.fromarray(indices, "P")
    image.putpalette(colors.tobytes())
    assert load_image(image).mode == "RGB"
    np.testing.assert_array_equal(pixels(encoded(image)), colors[indices])

    alpha = np.array([255, 0, 77], np.uint8)
    for transparency, expected in ((1, np.array([255, 0, 255])), (alpha.tobytes(), alpha)):
        result = pixels(encoded(image, transparency=transparency))
        np.testing.assert_array_equal(result, np.dstack([colors[indices], expected[indices]]))


def test_a_transparent_colour_becomes_alpha() -> None:
    array = RGB.copy()
    array[:4] = (1, 2, 3)
    result = pixels(encoded(Image.fromarray(array), transparency=(1, 2, 3)))
    assert result.shape == (HEIGHT, WIDTH, 4)
    assert (result[:4, :, 3] == 0).all() and (result[4:, :, 3] == 255).all()


def test_cmyk_is_converted() -> None:
    image = Image.new("CMYK", (WIDTH, HEIGHT), (0, 255, 255, 0))
    assert load_image(image).getpixel((0, 0)) == (255, 0, 0)
    assert load_image(encoded(image, "TIFF")).getpixel((0, 0)) == (255, 0, 0)


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    values = np.linspace(0, 65535, HEIGHT * WIDTH).astype(np.uint16).reshape(HEIGHT, WIDTH)
    expected = np.dstack([values / 257.0] * 3)
    for source in (values, Image.fromarray(values), encoded(Image.fromarray(values)),
                   encoded(Image.fromarray(values), "TIFF"), Image.fromarray(values.astype(np.int32))):
        np.testing.assert_allclose(pixels(source), expected, atol=0.51)


def test_sixteen_bit_colour_png() -> None:
    values = np.random.default_rng(3).integers(0, 65536, (HEIGHT, WIDTH, 4)).astype(">u2")
    for channels, color_type in ((3, 2), (4, 6)):
        rows = b"".join(b"\0" + row.tobytes() for row in values[..., :channels])
        result = pixels(raw_png(WIDTH, HEIGHT, 16, color_type, rows))
        np.testing.assert_allclose(result, values[..., :channels] / 257.0, atol=1.0)


def test_float_arrays_and_pictures_are_0_to_1() -> None:
    values = np.linspace(0.0, 1.0, HEIGHT * WIDTH).reshape(HEIGHT, WIDTH)
    for source in (values, values.astype(np.float32), values.astype(np.float16), np.dstack([values] * 3),
                   Image.fromarray(values.astype(np.float32))):
        np.testing.assert_allclose(pixels(source), np.dstack([values * 255] * 3), atol=0.6)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: Any, format: str) -> None:
    # Large flat quadrants survive lossy formats; no two are alike, so each of the eight turns is seen.
    stored = np.kron(np.array([[20, 90], [160, 240]], np.uint8), np.ones((16, 32), np.uint8))
    upright = {1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1], 5: stored.T,
               6: np.rot90(stored, -1), 7: stored[::-1, ::-1].T, 8: np.rot90(stored)}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"tiffinfo": {0x0112: orientation}} if format == "TIFF" else {"exif": exif.tobytes()}
    result = load_image(encoded(Image.fromarray(np.dstack([stored] * 3)), format, **options))
    assert result.size == upright.shape[::-1]
    np.testing.assert_allclose(np.asarray(result)[8::16, 8::16, 0], upright[8::16, 8::16], atol=4)
    np.testing.assert_array_equal(pixels(result), np.asarray(result))  # and not applied a second time


def test_damaged_exif_does_not_cost_the_picture() -> None:
    np.testing.assert_array_equal(pixels(encoded(Image.fromarray(RGB), exif=b"Exif\0\0II*\0\xff\xff\xff\xff")), RGB)


@pytest.mark.parametrize("format", ["GIF", "PNG", "WEBP", "TIFF"])
def test_an_animation_gives_its_first_frame(format: str) -> None:
    frames = [Image.new("RGB", (WIDTH, HEIGHT), color) for color in ("#ff0000", "#00ff00", "#0000ff")]
    data = encoded(frames[0], format, save_all=True, append_images=frames[1:], **(
        {"lossless": True} if format == "WEBP" else {}))
    assert load_image(data).convert("RGB").getpixel((5, 5)) == (255, 0, 0)


def swapped_profile() -> bytes:
    """An sRGB profile in which red and green have changed places, under another name."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    for a, b in ((b"rXYZ", b"gXYZ"), ("sRGB".encode("utf-16-be"), "Swap".encode("utf-16-be"))):
        assert a in data
        data = data.replace(a, b"\0TMP").replace(b, a).replace(b"\0TMP", b)
    return data


def test_an_embedded_profile_is_converted_to_srgb() -> None:
    for array in (RGB, RGBA):
        data = encoded(Image.fromarray(array), icc_profile=swapped_profile())
        result = load_image(data)
        assert "icc_profile" not in result.info
        expected = array[..., [1, 0, 2, 3][:array.shape[2]]]
        np.testing.assert_allclose(np.asarray(result).astype(int), expected, atol=2)
        np.testing.assert_array_equal(pixels(result), np.asarray(result))  # and not converted a second time


def test_an_srgb_profile_leaves_pixels_exact() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    np.testing.assert_array_equal(pixels(encoded(Image.fromarray(RGB), icc_profile=profile)), RGB)


@pytest.mark.parametrize("array", [RGB, GREY], ids=["damaged", "not for grey"])
def test_an_unusable_profile_is_ignored(array: Any, caplog: pytest.LogCaptureFixture) -> None:
    profile = swapped_profile() if array is GREY else b"not a profile"
    result = pixels(encoded(Image.fromarray(array), icc_profile=profile))
    np.testing.assert_array_equal(result, array if array is RGB else np.dstack([array] * 3))
    assert "profile is ignored" in caplog.text


def test_base64_and_data_uris() -> None:
    data = encoded(Image.fromarray(RGB))
    plain = base64.b64encode(data).decode()
    urlsafe = base64.urlsafe_b64encode(data).decode()
    assert "_" in urlsafe and "-" in urlsafe
    for text in (plain, base64.encodebytes(data).decode(), plain.replace("a", "a\r\n"), urlsafe, plain.rstrip("="),
                 "data:image/png;base64," + plain, "DATA:;base64," + plain,
                 "data:image/png;name=a.png;base64," + plain):
        np.testing.assert_array_equal(pixels(text), RGB)
    for raw in (data, bytearray(data), memoryview(data)):
        np.testing.assert_array_equal(pixels(raw), RGB)


def test_a_path_object_is_read_and_a_text_never_is(tmp_path: Path) -> None:
    path = tmp_path / "photo"
    path.write_bytes(encoded(Image.fromarray(RGB)))
    np.testing.assert_array_equal(pixels(path), RGB)
    with pytest.raises(ImageError, match="foreground"):
        load_image(str(path), "foreground")
    for missing in (tmp_path / "nothing.png", tmp_path):
        with pytest.raises(ImageError, match="cannot be read"):
            load_image(missing)


def test_a_pil_image_is_left_as_it_was() -> None:
    image = Image.fromarray(RGB)
    image.info["icc_profile"] = swapped_profile()
    load_image(image).putpixel((0, 0), (1, 2, 3))
    np.testing.assert_array_equal(np.asarray(image), RGB)
    assert set(image.info) == {"icc_profile"}


GOOD = encoded(Image.fromarray(RGB))


@pytest.mark.parametrize("source, reason", [
    (None, "NoneType"),
    (3, "int"),
    ({"image": "x"}, "dict"),
    ("", "empty"),
    ("data:image/png;base64,", "empty"),
    ("data:image/png,abc", "not base64"),
    ("data:image/png;base64", "not base64"),
    ("!not base64!", "not base64"),
    ("http://example.org/a.png", "not base64"),
    ("ÄÖÜ", "not base64"),
    ("QUJDREVGRw==", "no picture format"),
    (b"", "no picture format"),
    (b"plain text, no picture", "no picture format"),
    (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 99 99\n%%EndComments\n", "no picture format"),
    (GOOD[:20], "damaged"),
    (GOOD[:50], "damaged"),
    (GOOD[:len(GOOD) // 2], "damaged"),
    (np.zeros(400, np.uint8), "shape"),
    (np.zeros((20, 20, 2), np.uint8), "shape"),
    (np.zeros((1, 20, 20, 3), np.uint8), "shape"),
    (np.zeros((20, 20), np.int64), "int64"),
    (np.zeros((20, 20), np.uint32), "uint32"),
    (np.zeros((20, 20), complex), "complex"),
    (np.full((20, 20), None), "object"),
    (np.full((20, 20), 127.0), "outside 0..1"),
    (np.full((20, 20), -0.5), "outside 0..1"),
    (np.full((20, 20), np.nan), "outside 0..1"),
    (np.full((20, 20), np.inf), "outside 0..1"),
    (Image.fromarray(np.full((20, 20), 70000, np.int32)), "32-bit"),
    (Image.new("RGB", (1, 1)), "1 x 1"),
    (Image.new("RGB", (15, 900)), "too small"),
    (encoded(Image.new("RGB", (1, 1))), "1 x 1"),
    (np.zeros((0, 0, 3), np.uint8), "too small"),
    (np.broadcast_to(np.uint8(0), (16000, 16000, 3)), "too large"),
])
def test_refusals_name_the_picture_and_the_reason(source: Any, reason: str) -> None:
    with pytest.raises(ImageError, match=reason) as caught:
        load_image(source, "background")
    assert str(caught.value).startswith("the background")


@pytest.mark.parametrize("side", [15000, 2**31 - 1])
def test_a_decompression_bomb_is_refused_from_its_header(side: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda self: pytest.fail("decoded"))
    limit = Image.MAX_IMAGE_PIXELS
    with pytest.raises(ImageError, match="too large"):
        load_image(raw_png(side, side, 8, 2, b"\0" * 100))
    assert limit == Image.MAX_IMAGE_PIXELS


def test_size_limits_are_inclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_image(Image.new("RGB", (16, 16))).size == (16, 16)
    monkeypatch.setattr("lib_iclight.imaging.decode.MAX_PIXELS", 400)
    assert load_image(Image.new("RGB", (20, 20))).size == (20, 20)
    with pytest.raises(ImageError, match="too large"):
        load_image(Image.new("RGB", (20, 21)))


def test_pillows_own_limits_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", WIDTH * HEIGHT - 1)  # warns
    np.testing.assert_array_equal(pixels(GOOD), RGB)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", WIDTH // 3)  # raises
    np.testing.assert_array_equal(pixels(GOOD), RGB)


@pytest.mark.parametrize("format", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_damaged_files_give_a_picture_or_an_image_error(format: str) -> None:
    data = encoded(Image.fromarray(RGB), format)
    dice = random.Random(format)
    refused = 0
    for _ in range(150):
        damaged = bytearray(data[:dice.randrange(len(data))] if dice.random() < 0.3 else data)
        for _ in range(dice.randrange(1, 6)):
            if damaged:
                damaged[dice.randrange(min(len(damaged), 200))] = dice.randrange(256)
        try:
            assert load_image(bytes(damaged)).mode in ("RGB", "RGBA")
        except ImageError:
            refused += 1
    assert refused > 10


def test_split_alpha() -> None:
    rgb, alpha = split_alpha(load_image(RGBA))
    np.testing.assert_array_equal(rgb, RGB)
    assert alpha is not None and alpha.dtype == np.float32
    np.testing.assert_allclose(alpha, RGBA[..., 3] / 255, atol=1e-7)
    assert split_alpha(load_image(RGB))[1] is None
    opaque = np.dstack([RGB, np.full((HEIGHT, WIDTH), 255, np.uint8)])
    rgb, alpha = split_alpha(load_image(opaque))
    assert alpha is None
    np.testing.assert_array_equal(rgb, RGB)


def test_composite_on_grey_literal_values() -> None:
    rgb = np.array([[[0, 127, 255], [200, 100, 50], [10, 20, 30], [255, 0, 1]]], np.uint8)
    alpha = np.array([[1.0, 0.5, 0.0, 0.25]], np.float32)
    # 127 + 73/2 = 163.5, 127 - 27/2 = 113.5, 127 - 77/2 = 88.5; 127 + 128/4 = 159, 127 - 127/4 = 95.25, ...: cut off
    expected = [[[0, 127, 255], [163, 113, 88], [127, 127, 127], [159, 95, 95]]]
    result = composite_on_grey(rgb, alpha)
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, expected)


def reference_fit(array: NDArray[Any], width: int, height: int) -> NDArray[Any]:
    """Scale to cover, centre crop: the reference demo's definition, its crop box left to Pillow's rounding."""
    image = Image.fromarray(array)
    scale = max(width / image.width, height / image.height)
    image = image.resize((int(round(image.width * scale)), int(round(image.height * scale))), Image.LANCZOS)
    margin_x, margin_y = (image.width - width) / 2, (image.height - height) / 2
    return np.array(image.crop((margin_x, margin_y, (image.width + width) / 2, (image.height + height) / 2)))


@pytest.mark.parametrize("shape", [(16, 24, 3), (37, 23, 3), (64, 64, 3), (101, 17), (50, 200)])
def test_fit_equals_the_reference(shape: Any) -> None:
    array = random_pixels(*shape)
    for width, height in ((32, 40), (64, 64), (24, 16), (8, 72), (90, 16)):
        result = fit(array, width, height)
        assert result.dtype == np.uint8 and result.shape == (height, width, *shape[2:])
        np.testing.assert_array_equal(result, reference_fit(array, width, height))


def test_fit_is_exact_in_size_where_the_reference_is_a_pixel_off() -> None:
    array = random_pixels(20, 31)
    assert reference_fit(array, 5, 4).shape != (4, 5)
    np.testing.assert_array_equal(fit(array, 5, 4), reference_fit(array, 5, 4)[:, :5])
    for width in range(1, 40):
        for height in (1, 7, 33):
            assert fit(array, width, height).shape == (height, width)


def test_fit_refuses_what_would_not_fit_into_memory() -> None:
    strip = np.zeros((16, 100_000), np.uint8)
    with pytest.raises(ImageError, match="too long and narrow"):
        fit(strip, 512, 640)
    with pytest.raises(ImageError, match="too long and narrow"):
        fit_alpha(strip.astype(np.float32), 512, 640)


def test_fit_alpha_is_fit_without_8_bit_steps() -> None:
    noise = random_pixels(37, 23)
    clipped = fit_alpha(noise.astype(np.float32) / 255, 40, 32)
    assert clipped.min() == 0.0 and clipped.max() == 1.0  # Lanczos overshoots on noise
    # tame enough not to overshoot, which 8 bits would clip between the two passes
    steps: NDArray[np.uint8] = noise // 3 + 80
    result = fit_alpha(steps.astype(np.float32) / 255, 40, 32)
    assert result.dtype == np.float32 and result.shape == (32, 40)
    np.testing.assert_allclose(result * 255, fit(steps, 40, 32), atol=1.01)
    fine = np.full((20, 20), 0.12345, np.float32)
    np.testing.assert_allclose(fit_alpha(fine, 33, 47), 0.12345, atol=1e-6)


def test_contain_puts_the_whole_picture_on_grey() -> None:
    array = random_pixels(16, 32, 3)
    result = contain(array, 16, 24)
    assert result.dtype == np.uint8 and result.shape == (24, 16, 3)
    assert contained((32, 16), 16, 24) == (0, 8, 16, 16)
    np.testing.assert_array_equal(result[8:16], Image.fromarray(array).resize((16, 8), Image.LANCZOS))
    assert (result[:8] == 127).all() and (result[16:] == 127).all()
    grey = contain(array[..., 0], 64, 16)
    assert contained((32, 16), 64, 16) == (16, 0, 48, 16)
    np.testing.assert_array_equal(grey[:, 16:48], array[..., 0])  # its own size: exact
    assert (grey[:, :16] == 127).all() and (grey[:, 48:] == 127).all()


def test_contain_leaves_alpha_0_around() -> None:
    result = contain(np.full((20, 10), 0.12345, np.float32), 40, 40)
    assert result.dtype == np.float32 and result.shape == (40, 40)
    np.testing.assert_allclose(result[:, 10:30], 0.12345, atol=1e-6)
    assert not result[:, :10].any() and not result[:, 30:].any()


@pytest.mark.parametrize("size", [(31, 20), (20, 31), (1, 5000), (5000, 1), (3000, 2001), (16, 16)])
def test_contained_lies_in_the_frame_touches_it_and_keeps_the_aspect(size: Any) -> None:
    for width, height in ((64, 64), (40, 72), (7, 3)):
        left, top, right, bottom = contained(size, width, height)
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
        assert (left, right) == (0, width) or (top, bottom) == (0, height)
        assert abs((right - left) - max(1, size[0] * min(width / size[0], height / size[1]))) <= 0.5
        assert abs(left - (width - right)) <= 1 and abs(top - (height - bottom)) <= 1


def test_to_vae_literal_values() -> None:
    result = to_vae(np.array([[[0, 127, 254], [255, 1, 128]]], np.uint8))
    assert result.dtype == np.float32
    assert result[0, 0, 1] == 0.0
    np.testing.assert_allclose(result, np.array([[[-1, 0, 1], [128 / 127, -126 / 127, 1 / 127]]]), atol=1e-7)


def test_srgb_transfer_function() -> None:
    encoded_values = np.array([0.0, 0.04045, 0.1, 0.5, 188 / 255, 1.0])
    # From the table of IEC 61966-2-1's curve as printed in colour science texts, to 6 digits.
    linear_values = np.array([0.0, 0.003131, 0.010023, 0.214041, 0.502886, 1.0])
    np.testing.assert_allclose(srgb_to_linear(encoded_values), linear_values, atol=1e-6)
    every = np.arange(256) / 255
    assert srgb_to_linear(every).dtype == linear_to_srgb(every).dtype == np.float32
    np.testing.assert_allclose(linear_to_srgb(srgb_to_linear(every)), every, atol=1e-6)
    assert linear_to_srgb(0.5) == pytest.approx(0.735357, abs=1e-6)


def test_content_key_tells_contents_apart() -> None:
    array = np.arange(12, dtype=np.uint8).reshape(3, 4)
    parts: list[tuple[Any, ...]] = [
        (array,), (array.reshape(4, 3),), (array.astype(np.int8),), (array.astype(">u2"),), (array + 1,),
        (array, array), (array.tobytes(),), (), (None,), ("",), (b"",), ("None",), ("1",), (1,), (1.0,),
        ("ab", "c"), ("a", "bc"), (1, 2), (2, 1), (12,), (array, 1), (array, 2)]
    keys = [content_key(*part) for part in parts]
    assert len(set(keys)) == len(parts)
    assert keys == [content_key(*part) for part in parts]
    assert content_key(np.asfortranarray(array)) == content_key(array)
    assert content_key(np.repeat(array, 2, axis=0)[::2]) == content_key(array)
    assert all(set(key) <= set("0123456789abcdef") for key in keys)
