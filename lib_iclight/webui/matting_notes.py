"""The lines under the choice of the cut-out: what stands in its way, and what to accept before it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from ..matting import DEFAULT, MODELS
from .gradio_host import on_any, on_server
from .workshop import Workshop

NO_MODEL_NEEDED = "Transparent pictures and masks need no model."
USE_WHOLE = "Use the picture as it is"
ACCEPT = "I accept: use it"


def add_matting_notes(workshop: Workshop, matting: Any, opened: Any, elem_id: Callable[[str], str]) -> None:
    """Put the lines here, hidden while there is nothing to say.

    matting: the widget of the choice. opened: one that changes when the panel is opened. elem_id: names an element.
    """
    text, stands = status(matting.value, workshop)
    with gr.Column(visible=bool(text), elem_id=elem_id("matting_status"), elem_classes=["iclight-note"]) as note:
        sentence = gr.Markdown(text)
        whole = gr.Button(USE_WHOLE, size="sm", visible=stands, elem_id=elem_id("matting_whole"))
    with gr.Column(visible=False, elem_id=elem_id("matting_question"), elem_classes=["iclight-note"]) as question:
        notice = gr.Markdown()
        accept = gr.Button(ACCEPT, size="sm", elem_id=elem_id("matting_accept"))
    waiting = gr.State("")

    def show(choice: str) -> tuple[Any, Any, Any]:
        text, stands = status(choice, workshop)
        return gr.update(visible=bool(text)), gr.update(value=text), gr.update(visible=stands)

    on_any([matting.change, opened.change], show, [matting], [note, sentence, whole])
    on_server(whole.click, lambda: "none", [], [matting])
    on_server(matting.input, ask, [matting], [matting, question, notice, waiting])
    on_server(accept.click, lambda model: (model, gr.update(visible=False)), [waiting], [matting, question])


def status(choice: str, workshop: Workshop) -> tuple[str, bool]:
    """What to know about the chosen cut-out, on one line or empty, and whether it stands in the way of one."""
    problem = "" if choice == "none" else workshop.matting_obstacle(DEFAULT if choice == "auto" else choice)
    if problem:
        return f"{problem} {NO_MODEL_NEEDED}", True
    return MODELS[choice].notice if choice in MODELS else "", False


def ask(choice: str) -> tuple[Any, Any, Any, str]:
    """Put a model that comes with conditions off until they are accepted.

    Updates of the choice, of the question and of its text, and the model that waits.
    """
    notice = MODELS[choice].notice if choice in MODELS else ""
    if not notice:
        return gr.update(), gr.update(visible=False), gr.update(), ""
    return gr.update(value="auto"), gr.update(visible=True), gr.update(value=f"**{choice}:** {notice}"), choice
