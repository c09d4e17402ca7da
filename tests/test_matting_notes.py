"""The lines under the choice of the cut-out, and the Settings page's option, in a double of the WebUI."""

from __future__ import annotations

import html
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fake_webui as fake
import gradio as gr
import pytest

from lib_iclight.matting import MODELS


@pytest.fixture
def webui(offline: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Its notes and options modules, and a session over an empty models folder, offline."""
    fake.install(monkeypatch, tmp_path)
    from lib_iclight.folders import Folders
    from lib_iclight.panel import matting_notes
    from lib_iclight.session import Session
    from lib_iclight.webui import options

    session = Session(folders=Folders.under(tmp_path))
    return SimpleNamespace(notes=matting_notes, options=options, session=session, models=tmp_path)


def rows(webui: Any, choice: str) -> dict[str, Any]:
    """The lines' elements by name, as the page is built for a choice."""
    with gr.Blocks() as page:
        matting = gr.Dropdown([choice], value=choice)
        webui.notes.MattingNotes(webui.session, matting, lambda name: name)
    return {block.elem_id: block for block in page.blocks.values() if getattr(block, "elem_id", None)}


def test_a_missing_model_is_told_when_the_page_is_built(webui: Any) -> None:
    made = rows(webui, "auto")
    assert made["matting_status"].visible
    assert not made["matting_question"].visible
    said, stands = webui.notes.status("auto", webui.session)
    assert stands
    for part in ("isnet-general-use is missing", "HF_HUB_OFFLINE", "masks need no model"):
        assert part in said
    assert not rows(webui, "none")["matting_status"].visible


def test_with_the_model_there_is_nothing_to_say(webui: Any) -> None:
    (webui.models / "u2net").mkdir()
    (webui.models / "u2net" / "isnet-general-use.onnx").write_bytes(b"")
    assert webui.notes.status("auto", webui.session) == ("", False)
    assert not rows(webui, "auto")["matting_status"].visible
    assert "birefnet-portrait" in webui.notes.status("birefnet-portrait", webui.session)[0]


def test_the_conditions_of_a_model_in_use_stay_in_sight(webui: Any) -> None:
    (webui.models / "matting").mkdir()
    (webui.models / "matting" / "bria-rmbg.onnx").write_bytes(b"")
    assert webui.notes.status("bria-rmbg", webui.session) == (MODELS["bria-rmbg"].notice, False)
    made = rows(webui, "bria-rmbg")
    assert made["matting_status"].visible
    assert not made["matting_whole"].visible


def test_a_missing_onnxruntime_is_told(webui: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    said, stands = webui.notes.status("auto", webui.session)
    assert "need onnxruntime" in said
    assert stands
    assert webui.notes.status("none", webui.session) == ("", False)


def test_choosing_a_model_with_conditions_asks_first(webui: Any) -> None:
    conditional = [name for name, model in MODELS.items() if model.notice]
    assert "bria-rmbg" in conditional and "non-commercial" in webui.notes.ask("bria-rmbg")[1]["value"]
    for name in conditional:
        choice, question, accept = webui.notes.ask(name)
        assert (choice["value"], question["visible"], accept["visible"]) == ("auto", True, True)
        assert html.escape(MODELS[name].notice) in question["value"] and name in accept["value"]
        choice, *rest = webui.notes.accepted(accept["value"])
        assert choice == name and not any(update["visible"] for update in rest)
    for other in ["auto", "none", "my own", *(name for name in MODELS if name not in conditional)]:
        choice, question, accept = webui.notes.ask(other)
        assert ("value" in choice, question["visible"], accept["visible"]) == (False, False, False)


def test_the_device_is_an_option_of_the_settings_page(webui: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shared = sys.modules["modules.shared"]
    added: dict[str, Any] = {}

    class OptionInfo:
        def __init__(self, default: Any, label: str, component: Any, args: Any, section: Any) -> None:
            self.default, self.args, self.section = default, args, section

        def info(self, text: str) -> OptionInfo:
            return self

    monkeypatch.setattr(shared, "OptionInfo", OptionInfo, raising=False)
    monkeypatch.setattr(shared, "opts", SimpleNamespace(add_option=added.__setitem__))
    assert webui.options.matting_device() == "cpu"
    webui.options.add_options()
    [(name, option)] = added.items()
    assert (option.default, option.args) == ("cpu", {"choices": ["cpu", "gpu"]})
    assert option.section == ("iclight", "IC-Light")
    monkeypatch.setattr(shared.opts, name, "gpu", raising=False)
    assert webui.options.matting_device() == "gpu"
