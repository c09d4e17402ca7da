"""Each mistake is HTTP 422 with a sentence that names it, and no picture."""

from __future__ import annotations

import io
import os
import struct
import zlib
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from .client import Answer, Forge, base64_of, subject
from .reference import offsets_file

FC = {"enabled": True, "foreground": base64_of(subject())}


def check_refused(answer: Answer, error: str, *words: str) -> None:
    """HTTP 422 with our sentence, which names the error and holds all of `words`."""
    assert answer.status == 422, f"{answer.status} {answer.sentence} {len(answer.pictures)} pictures"
    assert answer.sentence.startswith(f"IC-Light: {error}: "), answer.sentence
    for word in words:
        assert word in answer.sentence, answer.sentence


def empty_png(width: int, height: int) -> str:
    """A grey PNG of any size in few bytes, as base64."""
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packer = zlib.compressobj(9)
    row = b"\0" * (width + 1)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    return b64encode(png).decode()


def at_the_left(width: int, height: int, columns: int) -> NDArray[Any]:
    """A picture whose subject fills its first `columns`: uint8 [height, width, 4]."""
    picture = subject(width, height)
    picture[..., 3] = 0
    picture[:, :columns, 3] = 255
    return picture


@pytest.mark.parametrize(("settings", "error", "words"), [
    ({**FC, "mode": "fbc"}, "ImageError", ("background", "light")),
    ({"enabled": True}, "ImageError", ("foreground",)),
    ({**FC, "foreground": base64_of(np.zeros((64, 64, 4), np.uint8))}, "ImageError", ("transparent",)),
    ({**FC, "foreground": "this is no picture!"}, "ImageError", ("foreground", "base64")),
    ({**FC, "foreground": "data:image/png;base64,AAAA"}, "ImageError", ("foreground",)),
    ({**FC, "mode": "fbc", "background": "garbage"}, "ImageError", ("background",)),
    ({**FC, "foregruond": "x"}, "SettingsError", ("foregruond", "foreground")),
    ({**FC, "light_denoise": "much"}, "SettingsError", ("light_denoise", "much")),
    ({**FC, "light_denoise": float("nan")}, "SettingsError", ("light_denoise",)),
    ({**FC, "light_denoise": 7}, "SettingsError", ("light_denoise", "7")),
    ({**FC, "foreground": 3}, "SettingsError", ("foreground",)),
    ({**FC, "enabled": "yes"}, "SettingsError", ("enabled",)),
    ({**FC, "mode": "xl"}, "SettingsError", ("mode", "fbc")),
    ({**FC, "light": "above"}, "LightError", ("above",)),
    ({**FC, "light": {"lights": [{"kind": "laser"}]}}, "LightError", ("laser",)),
    ({**FC, "outputs": "mask"}, "SettingsError", ("outputs",)),
    ({**FC, "start": "background"}, "SettingsError", ("background",)),
    ({"mode": "fc", "foreground": "x"}, "SettingsError", ("enabled",)),
    ({**FC, "foreground": base64_of(np.zeros((1, 1, 3), np.uint8))}, "ImageError", ("1 x 1", "small")),
    ({**FC, "foreground": empty_png(16000, 16000)}, "ImageError", ("large",)),
    ({**FC, "foreground": base64_of(at_the_left(900, 160, 100))}, "ImageError", ("outside the frame", "contain")),
    ({**FC, "fit": "stretch"}, "SettingsError", ("fit", "cover", "contain")),
    ({**FC, "harmonise": 0.5}, "SettingsError", ("harmonise", "background")),
    ({**FC, "weights": "missing.safetensors"}, "WeightsError", ("missing.safetensors",)),
    ({**FC, "weights": "../Lora/iclight-live-lora.safetensors"}, "SettingsError", ("path",)),
], ids=lambda value: "-".join(value)[:40] if isinstance(value, tuple) else "")
def test_settings_and_pictures(forge: Forge, settings: dict[str, Any], error: str, words: tuple[str, ...]) -> None:
    check_refused(forge.txt2img(settings), error, *words)


def test_img2img_says_the_same(forge: Forge) -> None:
    picture = base64_of(np.zeros((64, 64, 4), np.uint8))
    check_refused(forge.img2img({"enabled": True}, init_images=[picture]), "ImageError", "transparent")
    check_refused(forge.img2img({"enabled": True, "mode": "fbc"}, init_images=[FC["foreground"]]), "ImageError",
                  "background")


@pytest.fixture
def bad_weights(folder: Path) -> Iterator[Path]:
    """Where a case puts its file; removed afterwards."""
    path = folder / "models" / "ic-light" / "iclight-live-bad.safetensors"
    yield path
    path.unlink(missing_ok=True)


def lora(path: Path, folder: Path) -> None:
    path.write_bytes((folder / "models" / "Lora" / "iclight-live-lora.safetensors").read_bytes())


def checkpoint(path: Path, folder: Path) -> None:
    link = os.link if os.name == "nt" else os.symlink  # it is 2 GB
    link((folder / "models" / "Stable-diffusion" / "iclight-live-sd15.safetensors").resolve(), path)


def truncated(path: Path, folder: Path) -> None:
    with offsets_file(folder, "fc").open("rb") as file:
        path.write_bytes(file.read(1 << 20))


def pickled(path: Path, folder: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"conv_in.weight": torch.zeros(320, 8, 3, 3)}, buffer)
    path.write_bytes(buffer.getvalue())


@pytest.mark.parametrize("make", [lora, checkpoint, truncated, pickled], ids=lambda make: make.__name__)
def test_weights(forge: Forge, folder: Path, bad_weights: Path, make: Any) -> None:
    make(bad_weights, folder)
    check_refused(forge.txt2img({**FC, "weights": bad_weights.name}), "WeightsError", bad_weights.name)
    # Others are not disturbed by it.
    assert forge.txt2img(FC).status == 200


def test_weights_of_another_mode(forge: Forge, folder: Path) -> None:
    check_refused(forge.txt2img({**FC, "weights": offsets_file(folder, "fbc").name}), "WeightsError", "fbc")


def test_no_weights_and_no_network(forge: Forge, folder: Path) -> None:
    """The live Forge runs with HF_HUB_OFFLINE=1."""
    there = offsets_file(folder, "fcon")
    away = there.with_suffix(".away")
    there.rename(away)
    try:
        answer = forge.txt2img({**FC, "mode": "fcon"})
    finally:
        away.rename(there)
    check_refused(answer, "DownloadError", "iclight_sd15_fcon.safetensors", str(there.parent))


CHECKPOINTS = [("inpaint", "inpainting"), ("sd2", "SD 2"), ("sdxl", "SDXL")]


@pytest.mark.parametrize(("name", "words"), CHECKPOINTS)
def test_checkpoints(forge: Forge, name: str, words: str) -> None:
    if name == "sdxl" and not os.environ.get("ICLIGHT_LIVE_SDXL"):
        pytest.skip("needs --sdxl")
    try:
        answer = forge.txt2img(FC, override_settings={"sd_model_checkpoint": f"iclight-live-{name}"})
    finally:
        assert forge.txt2img(override_settings={"sd_model_checkpoint": "iclight-live-sd15"}).status == 200
    check_refused(answer, "CheckpointError", f"iclight-live-{name}", words)


def test_the_panel_knows_beforehand(forge: Forge) -> None:
    """What the status line says of the chosen checkpoint and weights."""
    assert forge.call("/probe/outlook", {}) == (200, {"ready": True, "faults": []})
    try:
        assert forge.call("/sdapi/v1/options", {"sd_model_checkpoint": "iclight-live-inpaint"})[0] == 200
        _, inpainting = forge.call("/probe/outlook", {})
        (fault,) = inpainting["faults"]
        assert "inpainting" in fault and "iclight-live-inpaint" in fault
    finally:
        forge.call("/sdapi/v1/options", {"sd_model_checkpoint": "iclight-live-sd15"})
    _, missing = forge.call("/probe/outlook", {"weights": "missing.safetensors"})
    assert not missing["ready"] and "missing.safetensors" in missing["faults"][0]


def test_a_refiner(forge: Forge) -> None:
    check_refused(forge.txt2img(FC, refiner_checkpoint="iclight-live-inpaint", refiner_switch_at=0.5),
                  "CheckpointError", "refiner")


def test_after_all_these_a_relight_works(forge: Forge) -> None:
    assert forge.txt2img(FC).status == 200
