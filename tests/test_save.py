"""Pictures out: whole, with the text that WebUIs read back, never over a picture that is read, and tried beforehand."""

from __future__ import annotations

import errno
import io
import os
import threading
from pathlib import Path

import numpy as np
import piexif
import piexif.helper
import pytest
from PIL import Image, PngImagePlugin

from lib_iclight.console import printable
from lib_iclight.errors import ImageError
from lib_iclight.imaging import WITH_ALPHA, Output, load_image, plan_outputs, read_text, save_picture
from lib_iclight.imaging import save as save_module
from lib_iclight.imaging.decode import can_write_avif

RGB = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
PICTURE = Image.fromarray(RGB)
ENDINGS = [".png", ".jpg", ".JPEG", ".webp", *([".avif"] if can_write_avif() else [])]
TEXTS = ["a cat\nNegative prompt: a dog\nSteps: 1, IC-Light light: \"{\\\"lights\\\": []}\"", "ein Kätzchen, 猫 and 🐈",
         "猫" * 3000, " a\n"]


def by_webui(path: Path) -> str:
    """A picture's infotext as A1111 1.10 and Forge read it: the text "parameters", else EXIF through piexif."""
    with Image.open(path) as image:
        info = dict(image.info)
    if "parameters" in info:
        return str(info["parameters"])
    comment = piexif.load(info["exif"]).get("Exif", {}).get(piexif.ExifIFD.UserComment, b"")
    return str(piexif.helper.UserComment.load(comment))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def elsewhere(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that is the temporary one."""
    folder = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


# --- what is written ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ENDINGS)
def test_every_format_carries_the_text_for_webuis_and_us(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{ending}"
    for text in TEXTS:
        save_picture(PICTURE, path, text)
        assert names(tmp_path) == [path.name]
        assert by_webui(path) == text
        assert read_text(path) == read_text(path.read_bytes()) == text
        with Image.open(path) as image:
            assert (image.format, image.size) == (save_module.WRITABLE[ending.lower()], PICTURE.size)


@pytest.mark.parametrize("ending", ENDINGS)
def test_bytes_that_are_no_text_are_written_as_escapes(ending: str, tmp_path: Path) -> None:
    save_picture(PICTURE, tmp_path / f"a{ending}", "a \udcff cat\ud800")
    assert by_webui(tmp_path / f"a{ending}") == read_text(tmp_path / f"a{ending}") == "a \\udcff cat\\ud800"


@pytest.mark.parametrize("ending", ENDINGS)
def test_without_a_text_there_is_none(ending: str, tmp_path: Path) -> None:
    save_picture(PICTURE, tmp_path / f"a{ending}")
    assert read_text(tmp_path / f"a{ending}") == ""


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_is_written_is_read(ending: str, tmp_path: Path) -> None:
    soft = Image.fromarray(np.kron(RGB[:4, :4], np.ones((8, 8, 1), np.uint8)))
    cutout = soft.copy()
    cutout.putalpha(Image.linear_gradient("L").resize(soft.size))
    for image in (soft, *([cutout] if ending in WITH_ALPHA else [])):
        save_picture(image, tmp_path / f"a{ending}", "text")
        result = load_image(tmp_path / f"a{ending}")
        assert (result.mode, result.size) == (image.mode, image.size)
        difference = np.abs(np.asarray(result).astype(int) - np.asarray(image))
        assert difference[np.asarray(image)[..., -1] > 0].mean() < 8  # WebP halves the colours' size


def test_a_png_is_exact_and_a_jpeg_keeps_its_colours_at_full_size(tmp_path: Path) -> None:
    save_picture(Image.fromarray(np.dstack([RGB, RGB[..., :1]])), tmp_path / "a.png", "x")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), np.dstack([RGB, RGB[..., :1]]))
    stripes = np.zeros((32, 32, 3), np.uint8)
    stripes[:, ::2] = (255, 0, 0)
    stripes[:, 1::2] = (0, 0, 255)
    save_picture(Image.fromarray(stripes), tmp_path / "a.jpg")
    assert np.abs(np.asarray(Image.open(tmp_path / "a.jpg")).astype(int) - stripes).mean() < 12


def test_texts_that_other_programs_write_are_read(tmp_path: Path) -> None:
    def with_comment(comment: bytes) -> bytes:
        buffer = io.BytesIO()
        PICTURE.save(buffer, "JPEG", exif=piexif.dump({"Exif": {piexif.ExifIFD.UserComment: comment}}))
        return buffer.getvalue()

    assert read_text(with_comment(piexif.helper.UserComment.dump("a 猫", "unicode"))) == "a 猫"
    assert read_text(with_comment(piexif.helper.UserComment.dump("a cat", "ascii"))) == "a cat"
    assert read_text(with_comment(b"UNICODE\0" + "a cat".encode("utf-16-le"))) == "a cat"
    assert read_text(with_comment(b"UNICODE\0\xff\xfe" + "猫猫".encode("utf-16-le"))) == "猫猫"
    assert read_text(with_comment(b"a cat, no head")) == "a cat, no head"
    buffer = io.BytesIO()
    PICTURE.save(buffer, "GIF", comment=b"a gif")
    assert read_text(buffer.getvalue()) == "a gif"
    buffer = io.BytesIO()
    info = PngImagePlugin.PngInfo()
    info.add(b"tEXt", b"parameters\0behind", after_idat=True)
    PICTURE.save(buffer, "PNG", pnginfo=info)
    assert read_text(buffer.getvalue()) == "behind"
    for nonsense in (b"", b"no picture"):
        with pytest.raises(ImageError, match="no picture format"):
            read_text(nonsense)


# --- whole or not at all ------------------------------------------------------------------------------------------


def test_a_name_as_long_as_names_can_be(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 251 + ".png")
    plan_outputs(path, [""])
    save_picture(PICTURE, path, "text")
    assert names(tmp_path) == [path.name]


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_while_writing_leaves_the_old_file_and_no_part(
        stop: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(b"old")

    def interrupted(*args: object) -> None:
        raise stop

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, interrupted)
            with pytest.raises(stop):
                save_picture(PICTURE, tmp_path / "a.png", "text")
        assert names(tmp_path) == ["a.png"] and (tmp_path / "a.png").read_bytes() == b"old"


def test_of_two_jobs_to_one_file_the_last_one_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    texts = [f"job {number}" for number in range(4)]
    started = threading.Barrier(len(texts))

    def job(text: str) -> None:
        started.wait()
        for _ in range(10):
            save_picture(PICTURE, path, text)
            assert read_text(path) in texts

    threads = [threading.Thread(target=job, args=(text,)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names(tmp_path) == ["a.png"] and read_text(path) in texts
    np.testing.assert_array_equal(np.asarray(Image.open(path)), RGB)


def test_what_cannot_be_written_is_saved_elsewhere_and_said_where(
        tmp_path: Path, elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone" / "a.jpg"
    with pytest.raises(ImageError, match="cannot be written") as caught:
        save_picture(PICTURE, gone, "text")
    (saved,) = elsewhere.glob("*/*")
    assert str(saved) in str(caught.value) and saved.name == "a.jpg" and read_text(saved) == "text"

    replace = os.replace

    def full(source: Path, target: Path) -> None:
        if Path(target).parent == tmp_path:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ImageError, match=r"No space left on device.*saved as"):
        save_picture(PICTURE, tmp_path / "a.png", "text")
    assert names(tmp_path) == []


def test_a_picture_that_its_format_does_not_take_is_saved_as_a_png(tmp_path: Path, elsewhere: Path) -> None:
    for number, (image, name, text) in enumerate((
            (Image.new("RGBA", (20, 20)), "a.jpg", "text"), (Image.new("RGB", (16400, 1)), "a.webp", "text"),
            (PICTURE, "b.jpg", "x" * 40000), (PICTURE, "b.bmp", "text")), start=1):
        with pytest.raises(ImageError, match=r"saved as .*picture\.png"):
            save_picture(image, tmp_path / name, text)
        assert len(list(elsewhere.glob("*/picture.png"))) == number
    assert names(tmp_path) == []


def test_where_nothing_can_be_written_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "none"))
    with pytest.raises(ImageError, match="could not be saved in the temporary folder either"):
        save_picture(PICTURE, tmp_path / "gone" / "a.png")


# --- planned beforehand -------------------------------------------------------------------------------------------


def test_the_plan_knows_every_path_and_writes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "out.png"
    outputs = plan_outputs(target, ["1", "2", "1-raw", Output("mask")])
    assert {name: path.name for name, path in outputs.paths.items()} == {
        "1": "out-1.png", "2": "out-2.png", "1-raw": "out-1-raw.png", "mask": "out-mask.png"}
    assert outputs.notes == () and names(tmp_path) == []
    assert outputs.save("mask", PICTURE, "text") == tmp_path / "out-mask.png"
    assert names(tmp_path) == ["out-mask.png"]


def test_transparency_goes_into_a_png_and_that_is_said(tmp_path: Path) -> None:
    outputs = plan_outputs(tmp_path / "out.jpg", ["", Output("cutout", alpha=True)])
    assert outputs.paths["cutout"].name == "out-cutout.png" and outputs.paths[""].name == "out.jpg"
    assert outputs.notes == ("out-cutout.png is written as a PNG: a JPEG has no transparency.",)
    assert plan_outputs(tmp_path / "out.webp", [Output("cutout", alpha=True)]).notes == ()


def read_files(folder: Path) -> dict[str, Path]:
    """A picture by several names."""
    PICTURE.save(folder / "photo.png")
    (folder / "linked.png").symlink_to("photo.png")
    os.link(folder / "photo.png", folder / "hard.png")
    (folder / "sub").mkdir()
    return {name: folder / name for name in ("photo.png", "linked.png", "hard.png", "sub/../photo.png")}


@pytest.mark.parametrize("read", ["photo.png", "linked.png", "hard.png", "sub/../photo.png"])
def test_no_picture_that_is_read_is_written_over(read: str, tmp_path: Path) -> None:
    files = read_files(tmp_path)
    for target in files.values():
        for overwrite in (True, False):
            with pytest.raises(ImageError, match="pictures to read"):
                plan_outputs(target, [""], [None, tmp_path / "nothing.png", files[read]], overwrite=overwrite)


@pytest.mark.parametrize("target, output, read", [
    ("out.png", "1", "out-1.png"), ("out.png", "mask", "out-mask.png"), ("lm.png", "", "lm.png"),
    ("out.jpg", "cutout", "out-cutout.png")])
def test_no_output_of_any_kind_goes_over_a_picture_that_is_read(
        target: str, output: str, read: str, tmp_path: Path) -> None:
    PICTURE.save(tmp_path / read)
    with pytest.raises(ImageError, match=f"{read} is one of the pictures to read"):
        plan_outputs(tmp_path / target, [Output(output, alpha=output == "cutout")], [tmp_path / read])


def test_disks_that_do_not_tell_case_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On them OUT.PNG is there when out.png is, and is the same file; here a stand-in for such a disk."""
    PICTURE.save(tmp_path / "photo.png")
    lstat, samefile = os.lstat, os.path.samefile

    def lower(path: object) -> Path:
        return Path(str(path)).with_name(Path(str(path)).name.lower())

    monkeypatch.setattr(os, "lstat", lambda path, **more: lstat(lower(path), **more))
    monkeypatch.setattr(os.path, "samefile", lambda a, b: samefile(lower(a), lower(b)))
    with pytest.raises(ImageError, match="pictures to read"):
        plan_outputs(tmp_path / "PHOTO.PNG", [""], [tmp_path / "photo.png"])


@pytest.mark.parametrize("pair", [("a", "a"), ("Mask", "mask"), ("é", "e\u0301"), ("straße", "STRASSE")])
def test_nothing_is_written_twice(pair: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="two pictures"):
        plan_outputs(tmp_path / "out.png", pair)


def test_existing_outputs_are_replaced_unless_told_otherwise(tmp_path: Path) -> None:
    (tmp_path / "out.png").write_bytes(b"old")
    outputs = plan_outputs(tmp_path / "out.png", [""])
    assert (tmp_path / "out.png").read_bytes() == b"old"
    outputs.save("", PICTURE)
    assert Image.open(tmp_path / "out.png").size == PICTURE.size
    with pytest.raises(ImageError, match="there already"):
        plan_outputs(tmp_path / "out.png", [""], overwrite=False)
    plan_outputs(tmp_path / "new.png", [""], overwrite=False)


def test_what_cannot_be_written_is_refused_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.png")
    refused: list[tuple[Path, Output | str, str]] = [
        (tmp_path / "a.bmp", "", "its ending"), (tmp_path / "a", "", "its ending"),
        (tmp_path / "gone" / "a.png", "", "no folder"), (tmp_path / "file" / "a.png", "", "no folder"),
        (tmp_path / ("x" * 252 + ".png"), "", "too long"), (tmp_path / ("x" * 245 + ".png"), "cutout", "too long"),
        (tmp_path / "a\0b.png", "", "null"), (tmp_path / "folder.png", "", "no file"),
        (tmp_path / "pipe.png", "", "no file"),
        (tmp_path / "a.webp", Output(size=(16384, 8)), "16383"), (tmp_path / "a.jpg", Output(size=(8, 65501)), "65500"),
        (tmp_path / "a.jpg", Output(text="x" * 32760), "settings"),
    ]
    for target, output, reason in refused:
        with pytest.raises(ImageError, match=reason):
            plan_outputs(target, [output])
    for name, output in (("a.webp", Output(size=(16383, 8))), ("a.png", Output(size=(8, 65501))),
                         ("a.png", Output(text="x" * 99999)), ("a.jpg", Output(text="\udcff"))):
        plan_outputs(tmp_path / name, [output])
    assert names(tmp_path) == ["file", "folder.png", "pipe.png"]

    monkeypatch.setattr(save_module, "can_write_avif", lambda: False)
    with pytest.raises(ImageError, match="pillow-avif-plugin"):
        plan_outputs(tmp_path / "a.avif", [""])


def test_a_folder_that_takes_no_file_is_refused_beforehand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def read_only(**options: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr("tempfile.TemporaryFile", read_only)
        with pytest.raises(ImageError, match="Read-only file system"):
            plan_outputs(tmp_path / "a.png", [""])
    (tmp_path / "a.png").write_bytes(b"kept")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(ImageError, match="write-protected"):
        plan_outputs(tmp_path / "a.png", [""])


def test_a_picture_at_the_limit_of_a_jpegs_text_is_written(tmp_path: Path) -> None:
    text = "x" * 32700
    plan_outputs(tmp_path / "a.jpg", [Output(text=text)]).save("", PICTURE, text)
    assert by_webui(tmp_path / "a.jpg") == text


# --- consoles -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding, text, printed", [
    ("cp1252", "bücher/猫.png", "bücher/\\u732b.png"), ("ascii", "ü", "\\xfc"), ("utf-8", "猫 ü", "猫 ü"),
    ("utf-8", "a\udcff.png", "a\\udcff.png"), ("cp1252", "\udcff🐈", "\\udcff\\U0001f408")])
def test_any_name_prints_on_any_console(encoding: str, text: str, printed: str) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding, errors="strict")
    assert printable(Path(text), stream) == printed
    print(printable(text, stream), file=stream, flush=True)
    assert printable(text, io.StringIO()) == text.encode("utf-8", "backslashreplace").decode()
