"""Stages on disk: written, read, gone on with, and every fault named."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from lib_iclight.errors import ICLightError, StageError
from lib_iclight.lights import Directional, LightSpec
from lib_iclight.stage import (
    EIGHT,
    FOUR,
    Direction,
    Lamp,
    StageWriter,
    files,
    from_pictures,
    load,
    mix,
    rig,
    save,
    store,
)

from .stages import (
    HEIGHT,
    WIDTH,
    alpha_of,
    decode,
    encode,
    pictures_of,
    random_codes,
    random_stage,
    read_png16,
    round_alpha,
    save_photos,
)


def listing(folder: Path, *pictures: object, **more: object) -> Path:
    """A stage.json by hand."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "stage.json").write_text(json.dumps({"version": 1, "alpha": None, "pictures": list(pictures), **more}))
    return folder


def entry(name: str, file: str | None = None, light: object = None) -> dict[str, object]:
    return {"name": name, "file": file or f"{name}.png", "light": light or {"direction": [0, 0.6, 0.8]}}


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("lamps", [FOUR, EIGHT, rig(["rim", ("lamp A/1", Direction(3, 0, 4)), "neon pair"]),
                                   rig([("Ä", LightSpec("#102030", (Directional(20),))), ("ä", "left")])])
def test_what_is_saved_is_loaded(tmp_path: Path, bits: int, lamps: tuple[Lamp, ...]) -> None:
    stage = random_stage(lamps, seed=bits)
    save(stage, tmp_path / "set", bits)
    back = load(tmp_path / "set")
    assert back.lamps == stage.lamps
    np.testing.assert_array_equal(alpha_of(back), alpha_of(stage))
    codes, again = (encode(pictures_of(one).astype(float)) * (2**bits - 1) for one in (stage, back))
    assert np.abs(again - np.rint(again)).max() < 0.05, "what is read are codes"
    assert np.abs(again - codes).max() < 0.55
    save(back, tmp_path / "again", bits)
    for file in sorted((tmp_path / "set").glob("*")):
        assert file.read_bytes() == (tmp_path / "again" / file.name).read_bytes()


def test_sixteen_bit_colour_is_written_and_read_exactly(tmp_path: Path) -> None:
    codes = random_codes(1, np.uint16)
    files.write_png(tmp_path / "a.png", codes)
    np.testing.assert_array_equal(read_png16(tmp_path / "a.png"), codes)
    back, alpha = files.read(tmp_path / "a.png")
    assert alpha is None
    np.testing.assert_array_equal(back, codes)
    files.write_png(tmp_path / "grey.png", codes[..., 0])
    np.testing.assert_array_equal(read_png16(tmp_path / "grey.png"), codes[..., 0])
    np.testing.assert_array_equal(files.read(tmp_path / "grey.png")[0], np.repeat(codes[..., :1], 3, 2))


@pytest.mark.parametrize("order", ["<", ">"])
def test_sixteen_bit_tiffs_of_either_byte_order(tmp_path: Path, order: str) -> None:
    codes = random_codes(2, np.uint16)
    tags = [(256, 4, WIDTH), (257, 4, HEIGHT), (258, 3, (16, 16, 16)), (259, 3, 1), (262, 3, 2), (273, 4, 200),
            (277, 3, 3), (278, 4, HEIGHT), (279, 4, codes.nbytes)]
    blob = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8) + struct.pack(order + "H", len(tags))
    for tag, kind, value in tags:
        if isinstance(value, tuple):
            blob += struct.pack(order + "HHII", tag, kind, 3, 190)
        else:
            blob += struct.pack(order + "HHI", tag, kind, 1) + (
                struct.pack(order + "I", value) if kind == 4 else struct.pack(order + "HH", value, 0))
    blob = blob.ljust(190, b"\0") + struct.pack(order + "HHH", 16, 16, 16)
    (tmp_path / "a.tif").write_bytes(blob.ljust(200, b"\0") + codes.astype(order + "u2").tobytes())
    np.testing.assert_array_equal(files.read(tmp_path / "a.tif")[0], codes)
    assert files.size_of(tmp_path / "a.tif") == (WIDTH, HEIGHT)


def test_alpha_in_a_sixteen_bit_picture_is_read(tmp_path: Path) -> None:
    codes = random_codes(3, np.uint16, width=2 * WIDTH)
    rgba = np.dstack([codes[:, ::2], codes[:, 1::2, :1]])
    header = struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, 6, 0, 0, 0)
    import zlib

    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rgba)
    chunks = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d))
                      for k, d in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
    back, alpha = files.read(tmp_path / "a.png")
    np.testing.assert_array_equal(back, rgba[..., :3])
    assert alpha is not None
    np.testing.assert_allclose(alpha, rgba[..., 3] / 65535, atol=1e-6)


def test_a_list_by_hand_with_photographs_is_as_good(tmp_path: Path) -> None:
    save_photos(tmp_path, ("one.jpg", "two.png", "sub.webp"), quality=95)
    (tmp_path / "in").mkdir()
    (tmp_path / "sub.webp").rename(tmp_path / "in" / "three.webp")
    listing(tmp_path, entry("a", "one.jpg"), {**entry("left", "two.png"), "light": "left", "by": "me"},
            entry("c", "in/three.webp", {"ambient": "#333333"}), photographer="somebody")
    stage = load(tmp_path)
    assert stage.names == ("a", "left", "c")
    assert [lamp.true for lamp in stage.lamps] == [True, False, False]
    assert stage.lamps[2].ambient
    np.testing.assert_allclose(stage.directions[:2], np.array([[0, 0.6, 0.8], [-1, 0, 0]]), atol=1e-12)
    np.testing.assert_allclose(pictures_of(stage)[1], decode(random_codes(1) / 255), atol=1e-6)
    assert load(tmp_path / "stage.json").names == stage.names


def test_photographs_are_turned_upright_and_their_profile_counts(tmp_path: Path) -> None:
    turned = Image.fromarray(random_codes(0))
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "a.png", exif=exif)
    Image.fromarray(random_codes(1, height=WIDTH, width=HEIGHT)).save(tmp_path / "b.png")
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    Image.fromarray(random_codes(2, height=WIDTH, width=HEIGHT)).save(tmp_path / "c.png", icc_profile=lab)
    stage = load(listing(tmp_path, entry("a"), entry("b"), entry("c")))
    assert (stage.width, stage.height) == (HEIGHT, WIDTH)
    np.testing.assert_allclose(pictures_of(stage)[0], decode(np.rot90(random_codes(0), -1) / 255), atol=1e-6)


def test_a_large_set_is_read_in_bands_and_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = random_stage(EIGHT, seed=4, height=150, width=40)
    save(stage, tmp_path, 16)
    held = load(tmp_path)
    monkeypatch.setattr(store, "IN_MEMORY", 0)
    monkeypatch.setattr(store, "CHUNK", 9 * 40 * 3 * 2 * 70)
    banded = load(tmp_path)
    assert banded.pictures is None
    assert held.pictures is not None
    rows = list(banded.bands())
    assert len(rows) > 2
    assert all(pictures.shape[1] <= store.BAND for _, pictures in rows)
    np.testing.assert_array_equal(np.concatenate([pictures for _, pictures in rows], 1), held.pictures)
    np.testing.assert_array_equal(np.concatenate([p for _, p in banded.bands([3, 0])], 1), held.pictures[[3, 0]])
    np.testing.assert_array_equal(banded.sample, held.sample)
    weights = np.random.default_rng(0).random((9, 3))
    np.testing.assert_allclose(mix(banded, weights), mix(held, weights), atol=1e-5)
    small = banded.reduced(30)
    assert small.pictures is not None
    assert small.pictures.shape == (9, 30, 8, 3)
    np.testing.assert_allclose(small.pictures.mean((1, 2)), held.pictures.mean((1, 2)), atol=1e-4)


def test_clipped_pixels_of_the_subject_are_counted(tmp_path: Path) -> None:
    pictures = np.full((2, HEIGHT, WIDTH, 3), 0.5, np.float32)
    alpha = np.zeros((HEIGHT, WIDTH), np.float32)
    alpha[:4, :5] = 1
    pictures[0, :2, :5, 1] = 1.2  # half of the subject
    pictures[1, 10:] = 1.0  # none of it
    stage = from_pictures(rig(["left", "right"]), pictures, alpha)
    assert stage.clipped == (0.5, 0.0)
    save(stage, tmp_path)
    listed = json.loads((tmp_path / "stage.json").read_text())
    assert [one["clipped"] for one in listed["pictures"]] == [0.5, 0.0]
    assert load(tmp_path).clipped == (0.5, 0.0)


# --- made bit by bit ----------------------------------------------------------------------------------------------


def test_an_interrupted_stage_claims_what_is_there_and_is_gone_on_with(tmp_path: Path) -> None:
    settings, alpha = {"mode": "fbc", "steps": 20}, round_alpha()
    writer = StageWriter(tmp_path, FOUR, alpha, settings, 7)
    assert not (tmp_path / "stage.json").exists()
    for number, name in enumerate(("top", "left", "ambient")):
        writer.add(name, random_codes(number))
        listed = json.loads((tmp_path / "stage.json").read_text())
        assert len(listed["pictures"]) == number + 1
        assert all((tmp_path / one["file"]).is_file() for one in listed["pictures"])
    assert writer.stage().names == ("left", "top", "ambient"), "in the rig's order"
    writer.close()
    again = StageWriter(tmp_path, FOUR, alpha, settings, 7)
    assert [lamp.name for lamp in again.missing] == ["right", "bottom"]
    again.add("right", random_codes(3))
    again.add("bottom", random_codes(4))
    assert again.missing == ()
    stage = load(tmp_path)
    assert stage.names == tuple(lamp.name for lamp in FOUR)
    assert (stage.settings, stage.seed) == (settings, 7)
    np.testing.assert_allclose(pictures_of(stage)[3], decode(random_codes(0) / 255), atol=1e-6)
    assert not list(tmp_path.glob("*.part"))


def test_a_picture_that_was_lost_or_damaged_is_made_again(tmp_path: Path) -> None:
    writer = StageWriter(tmp_path, FOUR)
    for number, lamp in enumerate(FOUR):
        writer.add(lamp.name, random_codes(number))
    (tmp_path / "left.png").unlink()
    whole = (tmp_path / "top.png").read_bytes()
    (tmp_path / "top.png").write_bytes(whole[:len(whole) // 2])
    assert [lamp.name for lamp in StageWriter(tmp_path, FOUR).missing] == ["left", "top"]


@pytest.mark.parametrize("change", [{"seed": 8}, {"settings": {"steps": 21}}, {"lamps": FOUR[1:]}, {"alpha": None},
                                    {"alpha": 1 - round_alpha()}])
def test_another_stage_is_not_mixed_into_one(tmp_path: Path, change: dict[str, Any]) -> None:
    given: dict[str, Any] = {"lamps": FOUR, "alpha": round_alpha(), "settings": {"steps": 20}, "seed": 7}
    StageWriter(tmp_path, **given).add("left", random_codes(0))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(StageError, match="another stage"):
        StageWriter(tmp_path, **{**given, **change})
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_what_cannot_be_added_is_refused_and_leaves_no_trace(tmp_path: Path) -> None:
    writer = StageWriter(tmp_path, FOUR, round_alpha())
    for name, picture in (("sideways", random_codes(0)), ("left", random_codes(0, height=HEIGHT + 1)),
                          ("left", np.full((HEIGHT, WIDTH, 3), np.nan)), ("left", random_codes(0)[..., 0]),
                          ("left", random_codes(0).astype(np.int64))):
        with pytest.raises(StageError):
            writer.add(name, picture)
    writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["alpha.png"]
    with pytest.raises(StageError, match="settings"):
        StageWriter(tmp_path / "b", FOUR, settings={"x": float("nan")})
    with pytest.raises(StageError, match="bits"):
        StageWriter(tmp_path / "b", FOUR, bits=12)


def test_a_disk_that_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StageError, match="cannot be made"):
        StageWriter(tmp_path / "file" / "set", FOUR)
    writer = StageWriter(tmp_path / "set", FOUR)
    (tmp_path / "set" / "left.png").mkdir()
    with pytest.raises(StageError, match=r"left\.png cannot be written"):
        writer.add("left", random_codes(0))


# --- faults -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "words"), [
    (None, "no stage.json"),
    ("{", "not valid JSON"),
    ("[" * 100_000, "not valid JSON"),
    ("[]", "version"),
    ('{"version": 2, "pictures": []}', "version 2"),
    ('{"version": 1}', "no list"),
    ('{"version": 1, "pictures": []}', "no pictures"),
    ('{"version": 1, "pictures": ["left.png"]}', "picture 1 needs"),
    ('{"version": 1, "pictures": [{"name": "left"}]}', "picture 1 needs"),
    ('{"version": 1, "pictures": [{"name": " ", "file": "left.png", "light": "left"}]}', "no name"),
    ('{"version": 1, "alpha": 3, "pictures": [{"name": "left", "file": "left.png"}]}', "alpha"),
])
def test_a_list_that_is_none(tmp_path: Path, text: str | None, words: str) -> None:
    save_photos(tmp_path, ("left.png",))
    if text is not None:
        (tmp_path / "stage.json").write_text(text)
    with pytest.raises(StageError, match=words):
        load(tmp_path)


@pytest.mark.parametrize(("light", "words"), [
    ("lefft", "left"), ("none", "none"), ({"direction": [0, 0, 0]}, "0, 0, 0"), ({"direction": [1, 2]}, "three"),
    ({"direction": "up"}, "three"), ({"direction": [1, None, 2]}, "finite"), ({"direction": [1e999, 0, 0]}, "finite"),
    ({"direction": [10**400, 0, 0]}, "finite"),
    ({"lights": [{"kind": "laser"}]}, "kind"), (7, "preset")])
def test_a_light_that_is_none(tmp_path: Path, light: object, words: str) -> None:
    save_photos(tmp_path, ("a.png",))
    with pytest.raises(StageError, match=words) as caught:
        load(listing(tmp_path, entry("a", light=light)))
    assert "picture 1" in str(caught.value)


def test_faults_of_pictures_are_named(tmp_path: Path) -> None:
    save_photos(tmp_path, ("a.png", "b.png"))
    Image.fromarray(random_codes(0, width=WIDTH + 1)).save(tmp_path / "wide.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "short.png").write_bytes(whole[:len(whole) // 2])
    (tmp_path / "text.png").write_text("no picture")
    Image.fromarray(random_codes(0, height=4, width=4)).save(tmp_path / "tiny.png")
    files.write_png(tmp_path / "deep.png", random_codes(0, np.uint16))
    deep = (tmp_path / "deep.png").read_bytes()
    (tmp_path / "deep.png").write_bytes(deep[:len(deep) // 2])
    (tmp_path / "folder.png").mkdir()
    for pictures, words in ((("a", "gone"), r"gone\.png is missing"), (("a", "folder"), r"folder\.png is missing"),
                            (("a", "wide"), r"wide\.png is 25 x 18 pixels, .* 24 x 18"),
                            (("short", ), r"short\.png is damaged"),
                            (("text", ), r"text\.png is in no picture format"), (("tiny", ), r"tiny\.png is 4 x 4"),
                            (("deep", ), r"deep\.png is damaged"), (("a", "b", "a"), "two pictures .* 'a'")):
        with pytest.raises(StageError, match=words) as caught:
            load(listing(tmp_path, *(entry(name) for name in pictures)))
        assert str(tmp_path) not in str(caught.value)
    with pytest.raises(StageError, match=r"wide\.png is 25"):
        load(listing(tmp_path, entry("a"), alpha="wide.png"))
    with pytest.raises(StageError, match=r"gone\.png is missing"):
        load(listing(tmp_path, entry("a"), alpha="gone.png"))


@pytest.mark.parametrize("file", ["/etc/passwd", "../a.png", "sub/../../a.png", "C:\\a.png", "", "a\0.png"])
def test_no_file_outside_the_folder_is_read(tmp_path: Path, file: str) -> None:
    save_photos(tmp_path, ("a.png",))
    with pytest.raises(StageError, match=r"not the name of a file|picture 1 needs"):
        load(listing(tmp_path / "set", {"name": "a", "file": file, "light": "left"}))


def test_pictures_in_memory_are_checked() -> None:
    good = np.zeros((5, HEIGHT, WIDTH, 3), np.float32)
    for pictures, alpha in ((good[:4], None), (good[..., 0], None), (good, np.zeros((3, 3), np.float32)),
                            (np.where(good == 0, np.nan, good), None)):
        with pytest.raises(StageError):
            from_pictures(FOUR, pictures, alpha)
    with pytest.raises(StageError, match="two pictures"):
        rig(["left", "left"])
    with pytest.raises(StageError, match="no light called"):
        from_pictures(FOUR, good).index("lfet")
    with pytest.raises(StageError):
        from_pictures(FOUR, good).reduced(0)
    assert issubclass(StageError, ICLightError)


def test_a_mask_is_a_pictures_alpha_or_its_grey(tmp_path: Path) -> None:
    save_photos(tmp_path, ("a.png",))
    alpha = np.rint(round_alpha() * 255).astype(np.uint8)
    Image.fromarray(alpha).save(tmp_path / "grey.png")
    Image.fromarray(np.dstack([random_codes(5), alpha])).save(tmp_path / "rgba.webp", lossless=True)
    files.write_png(tmp_path / "deep.png", alpha.astype(np.uint16) * 257)
    for mask in ("grey.png", "rgba.webp", "deep.png"):
        np.testing.assert_allclose(alpha_of(load(listing(tmp_path, entry("a"), alpha=mask))), alpha / 255, atol=1e-6)


def test_files_are_written_whole(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.fromarray(random_codes(0)).save(buffer, "PNG")
    files.write_png(tmp_path / "a.png", random_codes(0))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a.png")), np.asarray(Image.open(buffer)))
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
