"""Folders: the img2img tab's own batch with the panel, and `batch --webui` through the running host."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lib_iclight import cli
from lib_iclight.batch.report import read_report
from lib_iclight.imaging import read_text
from lib_iclight.stage import load

from .client import SIZE, Answer, Forge, subject
from .conftest import check_equal, check_relit
from .reference import Reference, fitted, on_grey

SIZES = [(160, 200), (128, 128), (300, 90), (64, 240), (257, 131), (512, 384), (96, 97), (200, 160), (130, 400)]
ON = {"enabled": True, "light": "left"}
JOB = {"prompt": "a cat", "negative_prompt": "bad", "steps": 1, "width": SIZE, "height": SIZE, "cfg_scale": 2.0,
       "seed": 1, "sampler_name": "Euler", "denoising_strength": 0.9, "do_not_save_grid": True}
# Of one step k-diffusion's DPM++ 2M SDE makes nothing: it fails (A1111 1.10.1).
FLAGS = ["--light", "left", "--prompt", "a cat", "--width", str(SIZE), "--height", str(SIZE), "--steps", "2"]


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Ten files: nine pictures of different sizes, and one that is none."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, size in enumerate(SIZES):
        Image.fromarray(subject(*size, seed=number)).save(folder / f"photo-{number}.png")
    (folder / "photo-4a.png").write_bytes(b"this is no picture")
    return folder


def test_the_tabs_own_batch(forge: Forge, reference: Reference, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    forge.arm()
    status, answer = forge.call("/probe/batch", {"source": str(photos), "out": str(out), "iclight": ON, "job": JOB})
    assert (status, answer["error"]) == (200, "")
    assert len(answer["infotexts"]) == len(SIZES)
    passes = check_relit(_answered(status), forge.seen(), "fc", len(SIZES))
    for number, (size, one) in enumerate(zip(SIZES, passes, strict=True)):
        stretched = Image.fromarray(on_grey(subject(*size, seed=number))).resize((SIZE, SIZE),
                                                                               Image.Resampling.LANCZOS)
        check_equal(one.concat, reference.latent(np.asarray(stretched)))
    assert len(list(out.rglob("*.png"))) == len(SIZES)


def test_a_mistake_in_the_tabs_own_batch_is_told(forge: Forge, photos: Path, tmp_path: Path) -> None:
    _, answer = forge.call("/probe/batch", {"source": str(photos), "out": str(tmp_path), "iclight": {
        **ON, "mode": "fbc", "light": "none"}, "job": JOB})
    assert "mode fbc places the foreground on a background" in answer["error"]
    _, answer = forge.call("/probe/batch", {"source": str(photos), "out": str(tmp_path), "iclight": ON, "job": JOB})
    assert answer["error"] == "", "nothing of it is left"


def last(out: Path) -> dict[str, dict[str, Any]]:
    return {row["input"]: row for row in read_report(out / "report.jsonl")}


def test_a_folder_through_the_host(forge: Forge, reference: Reference, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    forge.arm()
    words = ["batch", str(photos), "-o", str(out), "--webui", os.environ["ICLIGHT_LIVE_URL"], *FLAGS]
    assert cli.main(words) == 3
    rows = last(out)
    passes = check_relit(_answered(200), forge.seen(), "fc", len(SIZES))
    foregrounds = {number: reference.latent(fitted(on_grey(subject(*size, seed=number)), SIZE, SIZE))
                   for number, size in enumerate(SIZES)}
    for one in passes:  # two requests are on their way at once, so the order is nearly the folder's
        assert any(_close(one.concat, latent) for latent in foregrounds.values())
    assert [name for name, row in rows.items() if row["state"] == "failed"] == ["photo-4a.png"]
    made = [row for row in rows.values() if row["state"] == "made"]
    assert len({row["output"] for row in made}) == len(SIZES)
    for row in made:
        text = read_text(out / row["output"])
        assert "IC-Light mode: fc" in text and row["key"] in text
    before = {row["output"]: (out / row["output"]).stat().st_mtime_ns for row in made}
    assert cli.main(words) == 3
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before, "nothing was made again"


def test_a_refusal_of_the_host_is_in_the_report(forge: Forge, photos: Path, tmp_path: Path) -> None:
    for path in photos.glob("photo-[1-9]*"):
        path.unlink()
    Image.new("RGBA", (SIZE, SIZE)).save(photos / "nothing.png")
    out = tmp_path / "out"
    assert cli.main(["batch", str(photos), "-o", str(out), "--webui", forge.url, *FLAGS]) == 3
    assert "fully transparent" in last(out)["nothing.png"]["sentence"]
    assert last(out)["photo-0.png"]["state"] == "made"


def test_a_stage_through_the_host(forge: Forge, photos: Path, tmp_path: Path) -> None:
    for path in photos.glob("photo-[1-9]*"):
        path.unlink()
    out = tmp_path / "out"
    flags = [*FLAGS[2:], "--mode", "fbc", "--stage", "4"]
    assert cli.main(["batch", str(photos), "-o", str(out), "--webui", forge.url, *flags]) == 0
    stage = load(out / last(out)["photo-0.png"]["output"])
    assert stage.names == ("left", "right", "bottom", "top", "ambient")
    assert stage.alpha is not None and 0 < stage.alpha.mean() < 1
    assert len({stage.picture(number).tobytes() for number in range(5)}) == 5


def _answered(status: int) -> Answer:
    """As an `Answer` that went well, for `check_relit`."""
    return Answer(status, [], [], "")


def _close(actual: Any, expected: Any) -> bool:
    return float((actual - expected).abs().max() / expected.abs().max()) < 1e-5
