"""Checkpoints, LoRAs and ControlNets on the studio's page: names in, models out, and never a path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from miniature import Miniature
from test_prompts import write_lora
from test_standalone import sd15_header, write_header
from test_studio_jobs import values

from lib_iclight.errors import SettingsError
from lib_iclight.folders import Folders
from lib_iclight.hosts.standalone.tags import read_tags
from lib_iclight.panel import texts
from lib_iclight.session import Session
from lib_iclight.studio.jobs import Studio
from lib_iclight.studio.models import UNUSED_CONTROL, Models, with_lora

NET = {"control_model.zero_convs.0.0.weight": (320, 320, 1, 1)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for place in ("Stable-diffusion/below", "ControlNet", "Lora"):
        (tmp_path / place).mkdir(parents=True)
    write_header(tmp_path / "Stable-diffusion" / "below" / "dream.safetensors", sd15_header())
    write_header(tmp_path / "Stable-diffusion" / "other.safetensors", {"a": (1,)})
    (tmp_path / "Stable-diffusion" / "old.ckpt").write_bytes(b"\x80\x02}q\x00.")
    write_header(tmp_path / "ControlNet" / "edges.safetensors", NET)
    write_lora(tmp_path / "Lora" / "my style.safetensors")
    return tmp_path


def session(folder: Path) -> Session:
    return Session(lambda: Miniature(), folders=Folders.under(folder), device="cpu")


def test_what_is_there_is_offered_by_name(folder: Path) -> None:
    models = Models(session(folder))
    assert models.checkpoints == ["miniature", "dream"]
    assert models.loras == ["my style"]
    assert models.controlnets == [texts.NO_CONTROLNET, "edges"]
    assert models.checkpoint(None) == Miniature()
    dream = models.checkpoint("dream")
    assert dream is not None and dream != Miniature() and dream.name == "dream"
    bare = Models(Session(folders=Folders.under(folder / "nowhere")))
    assert (bare.checkpoints, bare.loras, bare.controlnets) == ([], [], [texts.NO_CONTROLNET])
    assert bare.checkpoint(None) is None


@pytest.mark.parametrize("name", ["nothing", "../dream", "Stable-diffusion/below/dream", 5, ["dream"], {}])
def test_other_names_are_refused(folder: Path, name: Any) -> None:
    models = Models(session(folder))
    with pytest.raises(SettingsError, match="there is no checkpoint"):
        models.checkpoint(name)
    with pytest.raises(SettingsError, match="there is no ControlNet"):
        models.controls(name, None, 1.0)


@pytest.mark.parametrize("strength", [-0.1, 2.1, float("nan"), "1", None, True])
def test_strengths_beyond_the_slider_are_refused(folder: Path, strength: Any) -> None:
    with pytest.raises(SettingsError, match="from 0 to 2"):
        Models(session(folder)).controls("edges", np.zeros((32, 32, 3), np.uint8), strength)


def test_a_control_is_its_file_picture_and_strength(folder: Path) -> None:
    models, picture = Models(session(folder)), np.zeros((32, 32, 3), np.uint8)
    [control], told = models.controls("edges", picture, 1)
    assert (control.path, control.strength, told) == (folder / "ControlNet" / "edges.safetensors", 1.0, [])
    assert models.controls(texts.NO_CONTROLNET, None, 1) == ([], [])
    assert models.controls(texts.NO_CONTROLNET, picture, 1) == ([], [UNUSED_CONTROL])


def test_a_chosen_lora_is_a_tag_that_is_read(folder: Path) -> None:
    prompt = with_lora("a cat ", "my style")
    text, [lora] = read_tags(prompt, [folder / "Lora"])
    assert text.strip() == "a cat" and lora.strength == 1
    assert with_lora("", "my style") == "<lora:my style:1>"


def test_a_job_has_the_checkpoint_of_its_own_page(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class Asked(Session):
        def relight(self, *arguments: Any, **options: Any) -> Any:
            assert self.checkpoint is not None
            asked.append((self.checkpoint.name, [control.name for control in options["controls"]]))
            raise SettingsError("enough")

    studio = Studio(Asked(lambda: Miniature(), folders=Folders.under(folder), device="cpu"))
    picture = np.zeros((32, 32, 3), np.uint8)
    for name, net in (("dream", "edges"), (None, texts.NO_CONTROLNET), ("miniature", texts.NO_CONTROLNET)):
        studio.generate(*values(checkpoint=name, controlnet=net, control_picture=picture if net == "edges" else None))
    assert asked == [("dream", ["edges"]), ("miniature", []), ("miniature", [])]
    assert "there is no checkpoint" in studio.generate(*values(checkpoint="x"))[2]
    assert studio.session.checkpoint == Miniature()
    chosen = studio.choose("dream", "fbc")
    assert (chosen.width, chosen.height, chosen.sampler, chosen.steps, chosen.cfg) == (
        512, 640, "DPM++ 2M SDE Karras", 20, 7.0)
    assert studio.session.checkpoint is not None and studio.session.checkpoint.name == "dream"
