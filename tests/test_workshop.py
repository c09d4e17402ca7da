"""What the panel can tell before a job runs: weights, checkpoint, cut-out; and how it joins the host's widgets."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from lib_iclight.errors import ImageError
from lib_iclight.panel import texts
from lib_iclight.panel.panel import Panel
from lib_iclight.panel.wiring import HOST_WIDGETS
from lib_iclight.panel.workshop import Workshop
from lib_iclight.settings import Settings
from lib_iclight.studio.jobs import PocketWorkshop
from lib_iclight.studio.page import always_open

HALF = np.full((16, 32, 4), 255, np.uint8)
HALF[:, 16:, 3] = 0


def test_missing_weights_will_be_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert Workshop(tmp_path).outlook(Settings()) == (False, [])
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert Workshop(tmp_path).outlook(Settings()) == (False, [texts.CANNOT_DOWNLOAD])


def test_wrong_weights_are_told_at_once(tmp_path: Path) -> None:
    ready, [fault] = Workshop(tmp_path).outlook(Settings(weights="no such.safetensors"))
    assert not ready and "there are no weights 'no such.safetensors'" in fault


def test_a_checkpoint_that_is_none_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    file = tmp_path / "other.safetensors"
    header = b'{"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
    file.write_bytes(struct.pack("<Q", len(header)) + header + b"\0\0\0\0")
    _, [fault] = Workshop(tmp_path, checkpoint=lambda: file).outlook(Settings())
    assert fault.startswith("other.safetensors") and "SD 1.5 only" in fault
    # Of what is not told by a header, nothing is said.
    assert Workshop(tmp_path, checkpoint=lambda: tmp_path / "old.ckpt").outlook(Settings())[1] == []


def test_the_cut_out_is_the_jobs(tmp_path: Path) -> None:
    foreground = Image.fromarray(HALF, "RGBA")
    # A job with these settings would ask for a background; the cut-out needs none.
    subject = Workshop(tmp_path).cut_out(Settings(mode="fbc", foreground=foreground, keep_background=True))
    assert subject.alpha[0].tolist() == [1] * 16 + [0] * 16
    with pytest.raises(ImageError, match="no foreground"):
        Workshop(tmp_path).cut_out(Settings())


def panel_with(tmp_path: Path, host: dict[str, Any], tab: str = "txt2img") -> tuple[Panel, gr.Blocks]:
    with gr.Blocks() as page:
        widgets = {HOST_WIDGETS[name].format(tab=tab): widget() for name, widget in host.items()}
        panel = Panel(tab, Workshop(tmp_path), always_open)
        panel.connect(widgets)
    return panel, page


HOST = {"width": gr.Slider, "height": gr.Slider, "steps": gr.Slider, "cfg": gr.Slider,
        "sampler": gr.Dropdown, "scheduler": gr.Dropdown, "denoise": gr.Slider, "hires": gr.Checkbox}


@pytest.mark.parametrize("missing", [(), ("scheduler",), ("hires", "denoise"), ("width", "height"), tuple(HOST)])
def test_a_host_may_lack_any_widget(tmp_path: Path, missing: tuple[str, ...]) -> None:
    _, page = panel_with(tmp_path, {name: widget for name, widget in HOST.items() if name not in missing})
    assert page.config["dependencies"]


@pytest.mark.parametrize("tab", ["txt2img", "img2img", "studio"])
def test_ids_of_the_panel_are_unique(tmp_path: Path, tab: str) -> None:
    _, page = panel_with(tmp_path, HOST, tab)
    ids = [part["props"].get("elem_id") for part in page.config["components"] if part["props"].get("elem_id")]
    assert len(ids) == len(set(ids))


def test_what_the_pocket_model_lacks_is_told_at_once(tmp_path: Path) -> None:
    workshop = PocketWorkshop(tmp_path)
    assert workshop.outlook(Settings(mode="fbc")) == (True, [])
    assert workshop.offsets_for(Settings(), "diffusers") is workshop.offsets_for(Settings(light="left"), "diffusers")
    for settings, sentence in ((Settings(mode="fcon"), "no offsets for mode fcon"),
                               (Settings(weights="a.safetensors"), "do not fit the pocket model")):
        _, [fault] = workshop.outlook(settings)
        assert sentence in fault
