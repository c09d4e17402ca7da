"""The doctor: right where all is right, and a line that says so for everything that is broken."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from fastapi import FastAPI
from fastapi.routing import APIRoute
from miniature import Miniature
from PIL import Image
from test_weights import iclight, write
from tiny_onnx import pixelwise

from lib_iclight import preserve
from lib_iclight.cli import main
from lib_iclight.doctor import Line, Report, checks, examine
from lib_iclight.doctor.equations import compare
from lib_iclight.doctor.examination import _noise
from lib_iclight.folders import Folders
from lib_iclight.hosts.standalone.pocket import Pocket
from lib_iclight.hosts.standalone.unet import FIRST, RelitUNet
from lib_iclight.lights import light_map
from lib_iclight.session import Session
from lib_iclight.settings import MODES
from lib_iclight.webui.api import add_routes

pytestmark = pytest.mark.usefixtures("one_thread", "offline")


def session_in(folder: Path) -> Session:
    return Session(folders=Folders.under(folder / "models"))


def lines(report: Report, name: str) -> list[Line]:
    return [line for line in report.lines if line.name.startswith(name)]


@pytest.fixture(scope="module")
def healthy(tmp_path_factory: pytest.TempPathFactory) -> Report:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("U2NET_HOME", str(tmp_path_factory.mktemp("none")))
        return examine(session_in(tmp_path_factory.mktemp("home")), host="command line", checkpoint=Pocket,
                       device="cpu")


def test_the_pocket_model_is_found_right(healthy: Report) -> None:
    assert healthy.right, str(healthy)
    sampled = [f"{what} {mode}" for what in ("offsets", "merge", "noise") for mode in MODES]
    for name in (*sampled, "light map", "transparency", "preserve", "background"):
        assert [line.right for line in lines(healthy, name)][:1] == [True], name
    assert "no model here yet" in str(healthy)


def test_a_mode_without_weights_is_not_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Miniature, "offsets", lambda self, kind: None)
    [line] = _noise(session_in(tmp_path), Miniature(), "fcon", "cpu")
    assert (line.name, line.right) == ("noise fcon", None)
    assert line.told == "not tried: no weights of this kind are here"


def test_each_check_tells_its_figure(healthy: Report) -> None:
    for line in healthy.lines:
        if line.right is not None:
            assert re.search(r"\d", line.told), line
    [noise] = lines(healthy, "noise fc")[:1]
    error = float(re.search(r"relative error ([\d.e+-]+)", noise.told)[1])  # type: ignore[index]
    assert 0 < error < 1e-4, "two ways of reckoning agree to rounding, and are two"
    untried = sum("not tried" in line.told for line in healthy.lines)
    assert untried >= 1 and str(healthy).endswith(f"checks, all right; {untried} not tried")


def compared(kind: str = "fc") -> list[Line]:
    """The lines on one mode's merge and noise, of a random miniature."""
    return list(compare(Miniature(), Miniature().offsets(kind), torch.device("cpu")))


def spoilt(monkeypatch: pytest.MonkeyPatch, how: Any) -> list[Line]:
    """Those of an installation whose merge is wrong."""
    write_truly = RelitUNet._write

    def write(self: RelitUNet, offsets: Mapping[str, torch.Tensor], *rest: Any) -> None:
        write_truly(self, how(dict(offsets)) if offsets else offsets, *rest)

    monkeypatch.setattr(RelitUNet, "_write", write)
    return compared()


def scaled(offsets: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key: tensor * 1.01 for key, tensor in offsets.items()}


def one_left_out(offsets: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    key = next(key for key in offsets if key.endswith("to_q.weight"))
    return {**offsets, key: torch.zeros_like(offsets[key])}


def blind(offsets: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The concat conditioning is not looked at."""
    first = offsets[FIRST].clone()
    first[:, 4:] = 0
    return {**offsets, FIRST: first}


def one_value(offsets: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    key = list(offsets)[-1]
    bent = offsets[key].clone()
    bent.view(-1)[-1] += 1
    return {**offsets, key: bent}


@pytest.mark.parametrize("how", [scaled, one_left_out, blind, one_value])
def test_a_wrong_merge_is_found(monkeypatch: pytest.MonkeyPatch, how: Any) -> None:
    merge, _ = spoilt(monkeypatch, how)
    assert merge.right is False and "not checkpoint + offsets" in merge.told


@pytest.mark.parametrize("how", [scaled, blind])
def test_a_wrong_merge_shows_in_the_prediction(monkeypatch: pytest.MonkeyPatch, how: Any) -> None:
    assert spoilt(monkeypatch, how)[1].right is False


@pytest.mark.parametrize("kind", ["fc", "fbc"])
def test_a_right_merge_of_any_checkpoint_is_right(kind: str) -> None:
    assert [line.right for line in compared(kind)] == [True, True]


def test_a_wrong_guidance_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from lib_iclight.hosts.standalone.host import Standalone

    truly = Standalone.predict
    monkeypatch.setattr(Standalone, "predict", lambda self, latent, timestep, contexts, concat, cfg:
                        truly(self, latent, timestep, contexts[::-1], concat, cfg))
    assert [line.right for line in compared()] == [True, False]


def damage(models: Path) -> None:
    """One file of every kind that can be broken, and of every way."""
    whole = iclight(models / "ic-light" / "iclight_sd15_fc.safetensors", 8)
    os.truncate(whole, 3_000_000)
    (models / "ic-light" / "iclight_sd15_fbc.safetensors").write_bytes(b"\x10\0\0\0\0\0\0\0{not json        ")
    (models / "ic-light" / "empty.safetensors").write_bytes(b"")
    (models / "ic-light" / "old.ckpt").write_bytes(b"PK\x03\x04")
    write(models / "ic-light" / "lora.safetensors", {"lora_unet_down.alpha": (1,)})
    (models / "unet").mkdir()
    (models / "unet" / "other.safetensors").write_bytes(b"no model")
    (models / "matting").mkdir()
    (models / "matting" / "isnet-general-use.onnx").write_bytes(b"cut short")
    (models / "matting" / "mine.onnx").write_bytes(b"\x08\x08garbage")


def test_damaged_files_are_lines_and_never_tracebacks(tmp_path: Path) -> None:
    damage(tmp_path / "models")
    report = examine(session_in(tmp_path), checkpoint=Pocket, device="cpu")
    assert not report.right
    weights = lines(report, "weights")
    assert [line.right for line in weights if "other.safetensors" not in line.told].count(False) == 5
    assert any("models/unet: 1 files of other models passed over" in line.told for line in weights)
    cuts = lines(report, "cut-out")
    assert sum(line.right is False for line in cuts) == 3, "not as released, and both fail"
    assert all(line.right for line in lines(report, "merge")), "and the rest is checked all the same"
    assert "Traceback" not in str(report) and str(tmp_path) not in str(report)
    wrong = sum(line.right is False for line in report.lines)
    assert wrong >= 8 and report.verdict.endswith(f"{wrong} wrong")
    assert Report((*report.lines, Line("noise", "not tried here"))).verdict == f"{report.verdict}; 1 not tried"


def test_a_whole_file_of_nothing_is_no_weights(tmp_path: Path) -> None:
    """A download with holes: the header is true, and every number is zero."""
    from lib_iclight.doctor.equations import sound
    from lib_iclight.weights import Offsets

    offsets = Miniature().offsets("fc")
    assert sound(offsets).right
    empty = Offsets("empty", "fc", {key: torch.zeros_like(tensor) for key, tensor in offsets.tensors.items()})
    assert sound(empty).right is False and "nothing but zeros" in sound(empty).told
    bad = Offsets("bad", "fc", {**offsets.tensors, "conv_out.bias": torch.tensor([float("nan")] * 4)})
    assert sound(bad).right is False and "conv_out.bias" in sound(bad).told


@pytest.mark.parametrize("checkpoint", ["gone", "broken.safetensors", "folder"])
def test_a_checkpoint_that_cannot_be_used_is_a_line(tmp_path: Path, checkpoint: str,
                                                    capsys: pytest.CaptureFixture[str],
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.safetensors").write_bytes(b"no header at all")
    (tmp_path / "folder").mkdir()
    assert main(["doctor", "--checkpoint", checkpoint, "--device", "cpu"]) == 1
    told = capsys.readouterr().out
    assert re.search(r"^wrong  checkpoint", told, re.MULTILINE) and "right  light map" in told


def test_the_command_ends_with_0_where_all_is_right(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["doctor", "--device", "cpu"]) == 0
    told = capsys.readouterr().out
    assert "host           command line, adapter standalone" in told
    *before, verdict = told.splitlines()
    untried = sum("not tried" in line for line in before)
    assert untried and verdict.endswith(f"checks, all right; {untried} not tried")


@pytest.mark.parametrize("flags", [["--matting-device", "tpu"], ["--photo", "gone.png"], ["--lora", "a.safetensors"]])
def test_flags_that_cannot_be_meant_are_refused(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", *flags]) == 2
    assert capsys.readouterr().out == ""


def test_a_device_that_is_not_here_is_a_line(tmp_path: Path) -> None:
    report = examine(session_in(tmp_path), checkpoint=Miniature, device="cuda:99")
    assert lines(report, "device")[0].right is False and not report.right


def model_that_finds(weights: list[float], bias: float, folder: Path, name: str = "mine") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.onnx").write_bytes(pixelwise(weights, bias, (1, 3, 64, 64)))


def test_a_cut_out_model_is_run(tmp_path: Path) -> None:
    model_that_finds([1.0, 1.0, 1.0], 0.0, tmp_path / "models" / "matting")
    photo = Image.fromarray(np.repeat(np.linspace(0, 255, 64).astype(np.uint8)[None, :, None], 64, 0).repeat(3, 2))
    found = lines(examine(session_in(tmp_path), photo=photo), "cut-out")
    assert [line.right for line in found] == [None, True, True]
    assert "a model of your own" in found[0].told and "your picture" in found[2].told


def test_a_cut_out_model_that_finds_the_surroundings_is_wrong(tmp_path: Path) -> None:
    model_that_finds([-1.0, -1.0, -1.0], 3.0, tmp_path / "models" / "matting")
    assert [line.right for line in lines(examine(session_in(tmp_path)), "cut-out")] == [None, False]


def test_a_wrong_light_map_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def even(light: str, width: int, height: int, form: Literal["fc", "fbc"] = "fc") -> Any:
        drawn = light_map(light, width, height, form)
        return None if drawn is None else drawn // 2 * 2

    monkeypatch.setattr(checks, "light_map", even)
    assert checks.light_maps().right is False


def test_a_preservation_that_does_nothing_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preserve, "preserve", lambda result, original, alpha, **rest: result)
    monkeypatch.setattr(preserve, "restore_background", lambda result, original, alpha, **rest: result)
    assert [line.right for line in checks.preservation()] == [True, False, False]


def test_the_route_tells_the_same_and_no_path(tmp_path: Path) -> None:
    damage(tmp_path / "models")
    app = FastAPI()

    class Host:
        name, adapter = "Forge 2.0.1", "forge"

    add_routes(app, session_in(tmp_path), Host())  # type: ignore[arg-type]
    [route] = [route for route in app.routes if isinstance(route, APIRoute) and route.path == "/iclight/v1/doctor"]
    answer = route.endpoint()
    assert answer["right"] is False and "Forge 2.0.1, adapter forge" in answer["text"]
    assert "iclight doctor --checkpoint" in answer["text"], "no model is loaded there"
    assert str(tmp_path) not in answer["text"] and "models/ic-light" in answer["text"]
