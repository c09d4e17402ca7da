"""Cut-outs: each model is shown what it was trained on, files are found, mistakes are named, colours are recovered."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import os
import runpy
import subprocess
import sys
import threading
import types
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from tiny_onnx import FLOAT16, UINT8, endless, pixelwise

from lib_iclight.errors import DownloadError, MattingError
from lib_iclight.matting import (
    DEFAULT,
    MODELS,
    Cutter,
    Refinement,
    foreground,
    foreground_color,
    model_names,
    obstacle,
    refine,
    registry,
    runner,
    trial,
)
from lib_iclight.matting.foreground import blur_fusion, box_sum

HALF = ((0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
WANTED = {  # side, (mean, std), sigmoid, stretch: as each model's own code or its ONNX export has it
    "isnet-general-use": (1024, HALF, False, True),
    "birefnet-general": (1024, IMAGENET, True, False),
    "birefnet-general-lite": (1024, IMAGENET, True, False),
    "birefnet-portrait": (1024, IMAGENET, True, False),
    "u2net": (320, IMAGENET, False, True),
    "u2net_human_seg": (320, IMAGENET, False, True),
    "isnet-anime": (1024, ((0.485, 0.456, 0.406), (1.0, 1.0, 1.0)), False, True),
    "silueta": (320, IMAGENET, False, True),
    "bria-rmbg": (1024, IMAGENET, False, True),
}
CONDITIONAL = ["bria-rmbg"]
"""those whose licence forbids some uses, which the panel asks about"""
COLOR = (204, 51, 102)


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, and nobody's model folder."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("U2NET_HOME", str(tmp_path / "rembg"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "matting"
    made.mkdir()
    return made


def flat(color: tuple[int, int, int] = COLOR, height: int = 20, width: int = 30) -> NDArray[Any]:
    return np.full((height, width, 3), color, np.uint8)


def ramp(height: int = 24, width: int = 48) -> NDArray[Any]:
    """Red from 0 to 235 to the right, green from 0 to 230 downwards."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[..., 0] = np.arange(width) * 5
    rgb[..., 1] = (np.arange(height) * 10)[:, None]
    return rgb


def session(folder: Path, model: bytes) -> object:
    path = folder / "made.onnx"
    path.write_bytes(model)
    return runner._load(path)


def test_every_model_is_wanted_as_it_is() -> None:
    assert list(MODELS) == list(WANTED), "WANTED has a row for each model of registry._ALL, in the same order"
    for model in MODELS.values():
        assert model.url is not None and model.url.startswith("https://github.com/danielgatis/rembg/releases/"), (
            f"{model.name}: the manual says that models come from rembg's releases")
        assert len(model.md5 or "") == 32 or len(model.sha256 or "") == 64
    assert [name for name, model in MODELS.items() if model.notice] == CONDITIONAL


@pytest.mark.parametrize("name", WANTED)
@pytest.mark.parametrize("channel", [0, 1, 2])
def test_each_model_sees_its_own_normalisation(name: str, channel: int, folder: Path) -> None:
    side, (mean, std), sigmoid, stretch = WANTED[name]
    model = MODELS[name]
    assert (model.side, model.sigmoid, model.stretch) == (side, sigmoid, stretch)
    weights = [0.1 if i == channel else 0.0 for i in range(3)]
    as_it_is = dataclasses.replace(model, sigmoid=False, stretch=False, side=32)
    alpha = runner.predict(session(folder, pixelwise(weights, 0.5)), as_it_is, flat())
    expected = 0.5 + 0.1 * (COLOR[channel] / 255 - mean[channel]) / std[channel]
    np.testing.assert_allclose(alpha, np.full((20, 30), expected), atol=1e-5)


@pytest.mark.parametrize("name", WANTED)
def test_each_models_output_becomes_alpha(name: str, folder: Path) -> None:
    side, (mean, std), sigmoid, stretch = WANTED[name]
    rgb = np.zeros((side // 8, side // 8, 3), np.uint8)
    rgb[:, side // 16:, 0] = 255
    (folder / f"{name}.onnx").write_bytes(pixelwise([0.2, 0, 0], 0.5))
    alpha = Cutter([folder]).cut(rgb, name).alpha
    left, right = (0.5 + 0.2 * (v - mean[0]) / std[0] for v in (0.0, 1.0))
    if sigmoid:
        left, right = 1 / (1 + np.exp(-left)), 1 / (1 + np.exp(-right))
    if stretch:  # the Lanczos scaling rings at the edge, inside 0..255, so least and greatest are those of the halves
        left, right = 0.0, 1.0
    assert alpha[3, 3] == pytest.approx(left, abs=1e-4) and alpha[3, -3] == pytest.approx(right, abs=1e-4)


def test_the_picture_is_stretched_to_the_models_size_and_alpha_back(folder: Path) -> None:
    model = registry.Model(name="made", mean=(0, 0, 0), std=(1, 1, 1), stretch=False)
    rgb = ramp()
    for shape in ((1, 3, 64, 64), (1, 3, 96, 48), ("n", 3, "h", "w")):
        right = runner.predict(session(folder, pixelwise([1, 0, 0], 0, shape)), model, rgb)
        down = runner.predict(session(folder, pixelwise([0, 1, 0], 0, shape)), model, rgb)
        assert right.dtype == np.float32 and right.shape == (24, 48)
        np.testing.assert_allclose(right[3:-3, 3:-3], rgb[3:-3, 3:-3, 0] / 255, atol=0.01)
        np.testing.assert_allclose(down[3:-3, 3:-3], rgb[3:-3, 3:-3, 1] / 255, atol=0.01)


def test_alpha_is_scaled_smoothly_not_in_steps(folder: Path) -> None:
    rgb = np.zeros((256, 256, 3), np.uint8)
    rgb[:, 128:] = 255
    model = registry.Model(name="made", mean=(0, 0, 0), std=(1, 1, 1))
    row = runner.predict(session(folder, pixelwise([1, 0, 0], 0, (1, 3, 16, 16))), model, rgb)[128]
    rise = row[112:144]
    assert (np.diff(rise) >= 0).all() and np.diff(rise).max() < 0.1
    assert row.min() == 0 and row.max() == 1


def test_a_persons_own_model_goes_by_its_stem_and_may_take_half_floats(folder: Path) -> None:
    (folder / "my cutter.onnx").write_bytes(pixelwise([1, 0, 0], 3, (1, 3, 32, 32), dtype=FLOAT16))
    (folder / "BiRefNet-portrait-epoch_150.onnx").write_bytes(b"a known model under its released name")
    (folder / "a folder.onnx").mkdir()
    assert model_names([folder, folder / "missing"]) == [*WANTED, "my cutter"]
    alpha = Cutter([folder]).cut(ramp(), "my cutter").alpha
    np.testing.assert_allclose(alpha[:, 24], 24 / 47, atol=0.02)


def test_auto_is_isnet_and_files_are_found_in_order(folder: Path, tmp_path: Path) -> None:
    second, rembg = tmp_path / "second", tmp_path / "rembg"
    for place in (rembg, second, folder):
        place.mkdir(exist_ok=True)
        (place / "isnet-general-use.onnx").write_bytes(b"")
        assert registry.obtain("isnet-general-use", [folder, second])[1] == place / "isnet-general-use.onnx"
    (second / "BiRefNet-general-epoch_244.onnx").write_bytes(b"")
    assert registry.obtain("birefnet-general", [folder, second])[1].parent == second
    (folder / "isnet-general-use.onnx").write_bytes(pixelwise([1, 0, 0], 1))
    assert Cutter([folder, second]).cut(ramp()).alpha.shape == (24, 48)


def test_a_missing_model_is_downloaded_into_the_first_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def fetch(url: str, target: Path, *, sha256: str | None, md5: str | None, limit: int,
              progress: object) -> None:
        asked.append((url, target, sha256, md5))
        target.write_bytes(pixelwise([1, 0, 0], 1))

    monkeypatch.setattr(registry, "download", fetch)
    cutter = Cutter([folder / "new", folder])
    (folder / "new").mkdir()
    cutter.cut(ramp(), "silueta")
    cutter.cut(ramp(), "silueta")
    assert asked == [(MODELS["silueta"].url, folder / "new" / "silueta.onnx", None, MODELS["silueta"].md5)]


def test_offline_the_message_names_file_folder_and_way_out(folder: Path) -> None:
    with pytest.raises(MattingError) as caught:
        Cutter([folder]).cut(ramp())
    place = f"{folder.parent.name}/matting"
    url = MODELS["isnet-general-use"].url
    assert url is not None
    for part in ("isnet-general-use.onnx", place, url, "--matting) to none"):
        assert part in str(caught.value)
    assert isinstance(caught.value.__cause__, DownloadError)
    assert not list(folder.iterdir())


def test_an_unknown_model_is_refused_with_the_known_names(folder: Path) -> None:
    (folder / "mine.onnx").write_bytes(b"")
    for name in ("isnet", "none", "../mine"):
        with pytest.raises(MattingError, match="isnet-general-use, .*bria-rmbg, mine"):
            Cutter([folder]).cut(ramp(), name)


def test_without_onnxruntime_the_message_says_how_to_get_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "mine.onnx").write_bytes(pixelwise([1, 0, 0], 1))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MattingError, match=r'pip install "onnxruntime<1.27".*--matting\) to none'):
        Cutter([folder]).cut(ramp(), "mine")


def test_a_download_with_the_wrong_hash_is_named_and_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802
            model = pixelwise([1, 0, 0], 1)
            self.send_response(200)
            self.send_header("Content-Length", str(len(model)))
            self.end_headers()
            self.wfile.write(model)

        def log_message(self, *args: object) -> None:
            pass

    monkeypatch.delenv("HF_HUB_OFFLINE")
    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        other = dataclasses.replace(MODELS["silueta"], url=f"http://127.0.0.1:{server.server_port}/silueta.onnx")
        monkeypatch.setattr(registry, "MODELS", {"silueta": other})
        with pytest.raises(MattingError, match=r"silueta cannot be had.*(checksum|hash|MD5|md5).*--matting\) to none"):
            Cutter([folder]).cut(ramp(), "silueta")
        server.shutdown()
    assert not list(folder.glob("*.onnx"))


@pytest.mark.parametrize("content", [b"", b"this is a text file\n", pixelwise([1, 0, 0], 1)[:-40]],
                         ids=["empty", "text", "truncated"])
def test_a_damaged_file_is_named(content: bytes, folder: Path) -> None:
    (folder / "mine.onnx").write_bytes(content)
    with pytest.raises(MattingError, match="mine.onnx is not an ONNX model that can be used"):
        Cutter([folder]).cut(ramp(), "mine")


@pytest.mark.parametrize("model", [
    pixelwise([1, 0, 0, 0], 1, (1, 4, "h", "w")),
    pixelwise([1, 0, 0], 1, maps=2),
    pixelwise([1, 0, 0], float("nan")),
    pixelwise([1, 0, 0], 1, dtype=UINT8),
], ids=["four channels", "two maps", "not a number", "bytes"])
def test_a_model_of_another_kind_is_named(model: bytes, folder: Path) -> None:
    (folder / "mine.onnx").write_bytes(model)
    with pytest.raises(MattingError, match=r"mine.* cannot be used as a cut-out model.*--matting\) to none"):
        Cutter([folder]).cut(ramp(), "mine")


@pytest.mark.parametrize("name, bias", [("isnet-general-use", 0.01), ("birefnet-general", -9.0)])
def test_an_empty_cut_out_is_an_error_even_where_it_could_be_stretched(name: str, bias: float, folder: Path) -> None:
    (folder / f"{name}.onnx").write_bytes(pixelwise([0.001, 0, 0], bias))
    with pytest.raises(MattingError, match=rf"{name} found no foreground.*--matting\) to none"):
        Cutter([folder]).cut(ramp(), name)


def test_all_foreground_stays_all_foreground(folder: Path) -> None:
    (folder / "mine.onnx").write_bytes(pixelwise([0, 0, 0], 1, (1, 3, 16, 16)))
    assert (Cutter([folder]).cut(ramp(), "mine").alpha == 1).all()


def test_a_cut_out_is_made_once_for_the_same_pixels_and_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, weights in (("a", [1, 0, 0]), ("b", [0, 1, 0])):
        (folder / f"{name}.onnx").write_bytes(pixelwise(weights, 3, (1, 3, 16, 16)))
    cuts: Any = []
    loads: Any = []
    reports: list[Any] = []
    predict, load = runner.predict, runner._load
    monkeypatch.setattr(runner, "predict", lambda s, m, rgb: cuts.append(m.name) or predict(s, m, rgb))
    monkeypatch.setattr(runner, "_load", lambda path, gpu: loads.append(path.stem) or load(path, gpu))
    cutter = Cutter([folder])

    first = cutter.cut(ramp(), "a", lambda *report: reports.append(report))
    assert cutter.cut(ramp().copy(), "a") is first and cuts == ["a"]
    assert [report[1:] for report in reports] == [(0, 1), (1, 1)]
    for array in (first.alpha, first.color):
        with pytest.raises(ValueError):
            array[0, 0] = 0.5
    cutter.cut(flat(), "a")
    cutter.cut(ramp(), "b")
    cutter.cut(ramp(), "a")
    assert cuts == ["a", "a", "b"] and loads == ["a", "b"]

    (folder / "a.onnx").write_bytes(pixelwise([0, 1, 0], 3, (1, 3, 16, 16)))
    assert not np.array_equal(cutter.cut(ramp(), "a").alpha, first.alpha), "another model"

    loads.clear()
    for name in ("b", "a", "b"):
        cutter.cut(flat((255, 0, cuts.count(name))), name)
    assert loads == [], "a and b hold the same model now"


def test_models_and_cut_outs_are_let_go_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, weights in (("a", [1, 0, 0]), ("b", [0, 1, 0])):
        (folder / f"{name}.onnx").write_bytes(pixelwise(weights, 3, (1, 3, 16, 16)))
    cuts: Any = []
    loads: Any = []
    predict, load = runner.predict, runner._load
    monkeypatch.setattr(runner, "predict", lambda s, m, rgb: cuts.append(m.name) or predict(s, m, rgb))
    monkeypatch.setattr(runner, "_load", lambda path, gpu: loads.append(path.stem) or load(path, gpu))
    one = ramp().shape[0] * ramp().shape[1] * (4 + 3)  # bytes of a cut-out
    cutter = Cutter([folder], capacity=1, memory=one)
    for name in ("a", "b", "a"):
        cutter.cut(ramp(), name)
    assert cuts == loads == ["a", "b", "a"]
    cutter = Cutter([folder], capacity=2, memory=3 * one)
    for name in ("a", "b", "a"):
        cutter.cut(ramp(), name)
    assert cuts == loads == ["a", "b", "a", "a", "b"]


def test_refining_again_runs_no_model_and_the_same_again_runs_nothing(folder: Path,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "a.onnx").write_bytes(pixelwise([1, 0, 0], 3, (1, 3, 16, 16)))
    did: Any = []
    for name in ("predict", "refine", "foreground_color"):
        real = getattr(runner, name)
        monkeypatch.setattr(runner, name, lambda *args, real=real, name=name: did.append(name) or real(*args))
    cutter = Cutter([folder])
    cutter.cut(ramp(), "a")
    assert did == ["predict", "refine", "foreground_color"]
    refined = cutter.cut(ramp(), "a", refinement=Refinement(grow=-5, contrast=0.5))
    assert did[3:] == ["refine", "foreground_color"]
    assert cutter.cut(ramp(), "a", refinement=Refinement(grow=-5, contrast=0.5)) is refined
    cutter.cut(ramp(), "a")
    mask = np.full((24, 48), 0.7, np.float32)
    assert cutter.cut(ramp(), mask=mask) is cutter.cut(ramp(), mask=mask.copy())
    assert did[5:] == ["refine", "foreground_color"]


def test_the_foregrounds_colour_is_that_of_the_refined_alpha(folder: Path) -> None:
    (folder / "a.onnx").write_bytes(pixelwise([1, 0, 0], 3, (1, 3, 16, 16)))
    plain, refined = (Cutter([folder]).cut(ramp(), "a", refinement=how) for how in
                      (Refinement(), Refinement(contrast=0.8, grow=40)))
    np.testing.assert_array_equal(refined.alpha, refine(plain.alpha, Refinement(contrast=0.8, grow=40)))
    np.testing.assert_array_equal(refined.color, foreground_color(ramp(), refined.alpha))
    assert not np.array_equal(plain.color, refined.color)
    assert plain.key != refined.key


def test_own_transparency_counts_for_auto_and_under_models_and_masks(folder: Path) -> None:
    (folder / "a.onnx").write_bytes(pixelwise([1, 0, 0], 3, (1, 3, 16, 16)))
    own = np.zeros((24, 48), np.float32)
    own[:, 24:] = 0.5
    mask = np.full((24, 48), 0.8, np.float32)
    cutter = Cutter([folder])
    auto = cutter.cut(ramp(), own=own)  # needs no model: the default one is not here
    assert auto.alpha is own
    np.testing.assert_array_equal(auto.color, ramp())
    np.testing.assert_allclose(cutter.cut(ramp(), own=own, mask=mask).alpha, own * 0.8)
    np.testing.assert_array_equal(cutter.cut(ramp(), mask=mask).alpha, mask)
    model = cutter.cut(ramp(), "a")
    np.testing.assert_array_equal(cutter.cut(ramp(), "a", own=own).alpha, model.alpha * own)
    assert mask.flags.writeable


def test_a_cut_out_that_grows_takes_its_own_colour_along() -> None:
    alpha = np.zeros((512, 512), np.float32)
    alpha[200:300, 200:300] = 1
    rgb = np.where(alpha[..., None] > 0, np.uint8(200), np.uint8(0))  # nothing but black under the transparency
    rgb = np.broadcast_to(rgb, (512, 512, 3)).copy()
    grown = Cutter([]).cut(rgb, own=alpha, refinement=Refinement(grow=20, feather=5))
    assert (grown.alpha[250] > 0).sum() > 140
    assert (grown.color[grown.alpha > 0] == 200).all()
    shrunk = Cutter([]).cut(rgb, own=alpha, refinement=Refinement(grow=-20))
    np.testing.assert_array_equal(shrunk.color, rgb)
    turned = Cutter([]).cut(rgb, own=alpha, refinement=Refinement(invert=True))
    np.testing.assert_array_equal(turned.color, rgb)  # what was hidden is the subject now


# --- models that nobody knows --------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [0, 1, 5000, 30_000, 2**31])
def test_a_side_that_no_model_has_is_refused_before_a_picture_is_made(side: int, folder: Path) -> None:
    (folder / "mine.onnx").write_bytes(pixelwise([1, 0, 0], 1, (1, 3, side, 32)))
    with pytest.raises(MattingError, match=r"mine\.onnx (cannot be used|is not an ONNX model).*--matting\) to none"):
        Cutter([folder]).cut(flat(), "mine")


@pytest.mark.parametrize(("program", "message"), [
    ("import os; os.abort()", "made onnxruntime end its process"),
    ("import os; os._exit(0)", "made onnxruntime end its process"),
    ("import time; time.sleep(60)", "took more than 1 seconds"),
    ("while True: pass", "took more than 1 seconds"),
    ("print('\"std::bad_alloc\"')", "asks for more memory than there is"),
    ("print('chatter')", "made onnxruntime end its process"),
])
def test_what_a_model_does_to_its_process_is_an_error_and_no_more(
        program: str, message: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "_PROGRAM", program)
    monkeypatch.setattr(trial, "TIME_LIMIT", 1.0)
    (folder / "mine.onnx").write_bytes(pixelwise([1, 0, 0], 1))
    with pytest.raises(MattingError, match=rf"mine\.onnx {message}.*--matting\) to none") as caught:
        Cutter([folder]).cut(flat(), "mine")
    assert str(folder) not in str(caught.value)


def test_a_model_that_loops_for_ever_is_left(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "TIME_LIMIT", 5.0)
    (folder / "mine.onnx").write_bytes(endless())
    with pytest.raises(MattingError, match=r"mine\.onnx took more than 5 seconds"):
        Cutter([folder]).cut(flat(), "mine")


def test_a_model_is_tried_once_and_a_known_one_never(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = pixelwise([1, 0, 0], 3, (1, 3, 16, 16))
    (folder / "mine.onnx").write_bytes(model)
    (folder / "silueta.onnx").write_bytes(model)
    tried: list[str] = []
    monkeypatch.setattr(runner, "try_out", lambda path, side: tried.append(path.name))
    cutter = Cutter([folder])
    for name in ("mine", "silueta", "mine"):
        cutter.cut(flat(), name)
    assert tried == ["mine.onnx"], "the second has the same content"
    known = dataclasses.replace(MODELS["silueta"], md5=hashlib.md5(model).hexdigest())
    monkeypatch.setattr(registry, "MODELS", {"silueta": known})
    Cutter([folder]).cut(flat(), "silueta")
    assert tried == ["mine.onnx"], "its hash is the known one"
    (folder / "silueta.onnx").write_bytes(pixelwise([0, 1, 0], 3, (1, 3, 16, 16)))
    Cutter([folder]).cut(flat(), "silueta")
    assert tried == ["mine.onnx", "silueta.onnx"], "its name alone vouches for nothing"


def test_a_file_that_vanishes_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "obtain", lambda *_: (registry.Model(name="mine"), folder / "mine.onnx"))
    with pytest.raises(MattingError, match="mine.onnx cannot be read") as caught:
        Cutter([folder]).cut(flat(), "mine")
    assert str(folder) not in str(caught.value)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_model_whose_name_is_no_text_can_be_chosen(folder: Path) -> None:
    (folder / os.fsdecode(b"\xff.onnx")).write_bytes(pixelwise([1, 0, 0], 3, (1, 3, 16, 16)))
    name = model_names([folder])[-1]
    assert name == "%ff"
    assert Cutter([folder]).cut(flat(), name).alpha.shape == (20, 30)


# --- the GPU -------------------------------------------------------------------------------------------------------


class OnnxruntimeWithGpu(types.ModuleType):
    """The real onnxruntime, which says that it has CUDA; what then goes wrong is up to `breaks`."""

    def __init__(self, breaks: str) -> None:
        super().__init__("onnxruntime")
        self.breaks = breaks
        self.loaded: list[list[str]] = []

    SessionOptions = onnxruntime.SessionOptions

    def get_available_providers(self) -> list[str]:
        return ["CPUExecutionProvider"] if self.breaks == "no GPU" else [
            "TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]

    def InferenceSession(self, path: str, options: object, providers: list[str], **rest: int) -> object:  # noqa: N802
        self.loaded.append(list(providers))
        on_gpu = providers[0] != "CPUExecutionProvider"
        if on_gpu and self.breaks == "loading":
            raise RuntimeError("CUDA out of memory")
        real = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])

        def run(*args: object) -> object:
            if on_gpu and self.breaks == "running":
                raise RuntimeError("CUDA error")
            return real.run(*args)

        got = ["CPUExecutionProvider"] if self.breaks == "starting" else providers
        return types.SimpleNamespace(get_inputs=real.get_inputs, get_outputs=real.get_outputs, run=run,
                                     get_providers=lambda: got)


@pytest.mark.parametrize("breaks", ["", "loading", "running", "starting", "no GPU"])
def test_a_gpu_is_used_when_asked_for_and_the_cpu_takes_over_with_one_warning(
        breaks: str, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "a.onnx").write_bytes(pixelwise([1, 0, 0], 3, (1, 3, 16, 16)))
    fake, device = OnnxruntimeWithGpu(breaks), ["cpu"]
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    cutter = Cutter([folder], lambda: device[0])
    cutter.cut(flat(), "a")
    assert fake.loaded == [["CPUExecutionProvider"]], "only when asked for"
    device[0] = "gpu"
    with caplog.at_level("WARNING", "iclight"):
        np.testing.assert_array_equal(cutter.cut(ramp(), "a").alpha, Cutter([folder]).cut(ramp(), "a").alpha)
        cutter.cut(flat((250, 0, 0)), "a")
    gpu = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    assert (gpu in fake.loaded) == (breaks != "no GPU")
    assert fake.loaded.count(gpu) <= 1
    assert [record.getMessage().count("CPU until the next start") for record in caplog.records] == [1] * bool(breaks)


def test_a_bad_model_is_not_the_gpus_fault(folder: Path, monkeypatch: pytest.MonkeyPatch,
                                           caplog: pytest.LogCaptureFixture) -> None:
    (folder / "a.onnx").write_bytes(b"no model")
    (folder / "b.onnx").write_bytes(pixelwise([1, 0, 0], 3, (1, 3, 16, 16)))
    fake = OnnxruntimeWithGpu("")
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    cutter = Cutter([folder], lambda: "gpu")
    with pytest.raises(MattingError, match="a.onnx is not an ONNX model"):
        cutter.cut(ramp(), "a")
    cutter.cut(ramp(), "b")
    assert fake.loaded[-1][0] == "CUDAExecutionProvider"
    assert caplog.records == []


# --- what stands in the way ----------------------------------------------------------------------------------------


def test_obstacles_are_told_without_importing_or_asking_the_network(folder: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    assert "isnet-general-use is missing" in obstacle("isnet-general-use", [folder])
    (folder / "isnet-general-use.onnx").write_bytes(b"anything: not read")
    assert obstacle("isnet-general-use", [folder]) == ""
    assert obstacle("my own", [folder]) == ""
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert obstacle("silueta", [folder]) == "", "it can be downloaded"
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert 'pip install "onnxruntime<1.27"' in obstacle("isnet-general-use", [folder])


def test_auto_never_takes_a_model_with_conditions() -> None:
    assert MODELS[DEFAULT].notice == ""


def test_what_pip_is_asked_for_is_what_the_messages_say() -> None:
    install = runpy.run_path(str(Path(__file__).parents[1] / "install.py"))
    assert install["REQUIREMENT"] == registry.RUNTIME


def test_nothing_heavy_is_imported_with_the_package() -> None:
    code = ("import sys, lib_iclight.matting, lib_iclight.preserve; "
            "print(sorted({'onnxruntime', 'requests', 'torch', 'scipy', 'cv2'} & set(sys.modules)))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).parents[1], env={**os.environ, "PYTHONPATH": ""})
    assert done.stdout.strip() == "[]"


def soft_disc(contrast: float, side: int = 160) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """A disc with a soft rim on a background, neither quite plain: F [H, W, 3], alpha, the composite.

    `contrast` is that of six wedges of two hues in the disc.
    """
    y, x = np.mgrid[:side, :side] / side
    alpha = np.clip((0.36 - np.hypot(y - 0.5, x - 0.5)) / 0.12 + 0.5, 0, 1).astype(np.float32)
    wedge = np.sign(np.sin(3 * np.arctan2(y - 0.5, x - 0.5)))
    fore = np.stack([180 - contrast + contrast * wedge - 40 * y, 40 + 30 * x, 60 - contrast / 3 * wedge + 20 * y], -1)
    back = np.stack([30 + 30 * x, 200 + 20 * y, 80 - 30 * x], -1)
    mixed = np.rint(alpha[..., None] * fore + (1 - alpha[..., None]) * back).astype(np.uint8)
    return fore, alpha, mixed


def one_pass(rgb: NDArray[Any], alpha: NDArray[Any]) -> NDArray[Any]:
    """The first equation of the paper with a window of 90, written out anew; floats 0..1."""
    image, a = rgb / 255, alpha[..., None].astype(np.float64)

    def blur(values: NDArray[Any]) -> NDArray[Any]:
        return box_sum(values.transpose(2, 0, 1).astype(np.float32), 90).transpose(1, 2, 0) / 90**2

    fore, back = blur(image * a) / (blur(a) + 1e-5), blur(image * (1 - a)) / (blur(1 - a) + 1e-5)
    return np.asarray(fore + a * (image - a * fore - (1 - a) * back))


def test_the_foregrounds_own_colour_is_found_at_soft_edges() -> None:
    fore, alpha, mixed = soft_disc(contrast=0)
    found = foreground_color(mixed, alpha)
    soft = (alpha > 0.1) & (alpha < 0.9)
    assert soft.sum() > 1000
    before, after = (np.abs(picture[soft] - fore[soft]).mean() for picture in (mixed, found))
    assert after < before / 4
    np.testing.assert_array_equal(found[alpha == 1], mixed[alpha == 1])
    assert found.dtype == np.uint8 and found.flags.c_contiguous


def test_the_second_pass_finds_local_colours() -> None:
    fore, alpha, mixed = soft_disc(contrast=50)
    soft = (alpha > 0.1) & (alpha < 0.9)
    once, twice = (np.abs(picture[soft] - fore[soft]).mean()
                   for picture in (255 * one_pass(mixed, alpha), foreground_color(mixed, alpha)))
    assert twice < 0.9 * once


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_foreground_colour_of_all_or_nothing(value: float) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (33, 47, 3), np.uint8)
    found = foreground_color(rgb, np.full((33, 47), value, np.float32))
    np.testing.assert_array_equal(found, rgb if value else np.zeros_like(rgb))


def test_blur_fusion_is_linear() -> None:
    rng = np.random.default_rng(0)
    a, b, alpha = rng.random((2, 30, 40)), rng.random((2, 30, 40)), rng.random((30, 40)).astype(np.float32)
    one, two, both = (blur_fusion(planes.astype(np.float32), alpha) for planes in (a, b, 2 * a - b))
    np.testing.assert_allclose(both, 2 * one - two, atol=1e-4)


@pytest.mark.parametrize("side", [1, 2, 3, 6, 7, 20, 90])
def test_box_sums_equal_sums_written_out(side: int) -> None:
    planes = np.random.default_rng(0).random((2, 13, 17)).astype(np.float32)
    before = side // 2
    padded = np.pad(planes.astype(np.float64), ((0, 0), (before, side), (before, side)))
    expected = [[padded[:, y:y + side, x:x + side].sum((1, 2)) for x in range(17)] for y in range(13)]
    np.testing.assert_allclose(box_sum(planes, side), np.moveaxis(np.array(expected), 2, 0), rtol=1e-5)


def test_the_coarse_grid_of_larger_pictures_changes_no_more_than_a_code(monkeypatch: pytest.MonkeyPatch) -> None:
    y, x = np.array(np.meshgrid(np.linspace(-1, 1, 1030), np.linspace(-1, 1, 1040), indexing="ij"), np.float32)
    alpha = np.clip((0.6 - np.hypot(x, y)) * 8, 0, 1)
    rgb = np.stack([128 + 100 * np.sin(9 * x), 90 + 60 * y, np.where(alpha > 0.5, 200, 20)], -1).astype(np.uint8)
    coarse = foreground.foreground_color(rgb, alpha).astype(int)
    monkeypatch.setattr(foreground, "_STEP", 1)
    exact = foreground.foreground_color(rgb, alpha).astype(int)
    soft = (alpha > 0.05) & (alpha < 1)
    assert np.abs(coarse - exact)[soft].max() <= 2
    np.testing.assert_array_equal(coarse[alpha == 1], rgb[alpha == 1])
