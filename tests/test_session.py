"""What the panel can tell before a job runs: weights, checkpoint, cut-out; and how it joins the host's widgets."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest
from miniature import Miniature
from PIL import Image

from lib_iclight.errors import CheckpointError, ICLightError
from lib_iclight.folders import Folders
from lib_iclight.generation import Generation
from lib_iclight.hosts.standalone.checkpoint import Checkpoint, open_checkpoint
from lib_iclight.hosts.standalone.host import Standalone
from lib_iclight.panel.panel import Panel
from lib_iclight.panel.wiring import HOST_WIDGETS
from lib_iclight.session import CANNOT_DOWNLOAD, Session
from lib_iclight.settings import Settings
from lib_iclight.studio.page import always_open

HALF = np.full((16, 32, 4), 255, np.uint8)
HALF[:, 16:, 3] = 0


def under(models: Path, checkpoint: Callable[[], Checkpoint | None] = lambda: None) -> Session:
    """A session with its folders in `models`, as a WebUI has it: without a checkpoint to load."""
    return Session(checkpoint, folders=Folders.under(models))


def test_missing_weights_will_be_downloaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    assert under(tmp_path).outlook(Settings()) == (False, [])
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert under(tmp_path).outlook(Settings()) == (False, [CANNOT_DOWNLOAD])


def test_wrong_weights_are_told_at_once(tmp_path: Path) -> None:
    ready, [fault] = under(tmp_path).outlook(Settings(weights="no such.safetensors"))
    assert not ready and "there are no weights 'no such.safetensors'" in fault


def test_a_checkpoint_that_is_none_is_told_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    file = tmp_path / "other.safetensors"
    header = b'{"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
    file.write_bytes(struct.pack("<Q", len(header)) + header + b"\0\0\0\0")
    _, [fault] = under(tmp_path, lambda: open_checkpoint(file)).outlook(Settings())
    assert fault.startswith("other.safetensors") and "SD 1.5 only" in fault
    monkeypatch.setattr(Session, "offsets", lambda *args, **options: None)
    with pytest.raises(CheckpointError, match="no checkpoint to relight with"):
        under(tmp_path).relight(Settings(foreground=HALF, light="left"), Generation())


def test_the_cut_out_is_the_jobs(tmp_path: Path) -> None:
    foreground = Image.fromarray(HALF, "RGBA")
    # A job with these settings would ask for a background; the cut-out needs none.
    subject = under(tmp_path).subject(Settings(mode="fbc", foreground=foreground, keep_background=True))
    assert subject.alpha[0].tolist() == [1] * 16 + [0] * 16
    with pytest.raises(ICLightError, match="no foreground"):
        under(tmp_path).subject(Settings())


def panel_with(tmp_path: Path, host: dict[str, Any], tab: str = "txt2img") -> tuple[Panel, gr.Blocks]:
    with gr.Blocks() as page:
        widgets = {HOST_WIDGETS[name].format(tab=tab): widget() for name, widget in host.items()}
        panel = Panel(tab, under(tmp_path), always_open)
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


def test_what_does_not_fit_the_pocket_model_is_told_at_once(tmp_path: Path) -> None:
    session = Session.open(models=tmp_path)
    assert session.outlook(Settings(mode="fbc")) == (True, [])
    assert session.offsets(Settings()).name == session.offsets(Settings(light="left")).name
    assert session.outlook(Settings(mode="fcon")) == (True, [])
    _, [fault] = session.outlook(Settings(weights="a.safetensors"))
    assert "do not fit the pocket model" in fault


# --- several checkpoints ------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("one_thread")
def test_one_checkpoint_is_loaded_at_a_time_and_the_rest_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(lambda: Miniature(0), folders=Folders((), ()), device="cpu")
    other = session.on(lambda: Miniature(1))
    loaded: list[int] = []
    load = Miniature.load

    def listening(self: Miniature, *args: Any) -> Any:
        loaded.append(self.seed)
        return load(self, *args)

    monkeypatch.setattr(Miniature, "load", listening)
    settings = Settings(foreground=np.full((64, 64, 3), 90, np.uint8), matting="none")
    generation = Generation(width=64, height=64, steps=1)
    pictures = [one.relight(settings, generation).pictures[0].tobytes() for one in (session, session, other, session)]
    assert loaded == [0, 1, 0]
    assert pictures[0] == pictures[1] == pictures[3] != pictures[2]
    assert session._turn is other._turn and session.latents is other.latents and len(session._hosts) == 1


@pytest.mark.usefixtures("one_thread")
def test_a_checkpoint_that_was_replaced_is_loaded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    session = Session(lambda: Miniature(0), folders=Folders((), ()), device="cpu")
    first = session._loaded(lambda *report: None)
    assert session._loaded(lambda *report: None) is first
    monkeypatch.setattr(Standalone, "is_current", False)
    assert session._loaded(lambda *report: None) is not first
