"""The lines under the choice of the cut-out: what stands in its way, and what to accept before it is used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

from ..matting import DEFAULT, MODELS
from ..session import Session
from . import markup
from .gradio_host import on_server

NO_MODEL_NEEDED = "Transparent pictures and masks need no model."
USE_WHOLE = "Use the picture as it is"
ACCEPT = "I accept: use "


class MattingNotes:
    """The lines, put here, hidden while there is nothing to say.

    matting: the widget of the choice. elem_id: names an element. `shown` are the widgets that `show` updates.
    """

    def __init__(self, session: Session, matting: Any, elem_id: Callable[[str], str]) -> None:
        self._session = session
        text, stands = status(matting.value, session)
        note = gr.HTML(markup.note(text), visible=bool(text), elem_id=elem_id("matting_status"))
        whole = gr.Button(USE_WHOLE, size="sm", visible=stands, elem_id=elem_id("matting_whole"))
        question = gr.HTML(visible=False, elem_id=elem_id("matting_question"))
        accept = gr.Button(ACCEPT, size="sm", visible=False, elem_id=elem_id("matting_accept"))
        self.shown = [note, whole]
        on_server(whole.click, lambda: "none", [], [matting])
        on_server(matting.input, ask, [matting], [matting, question, accept])
        on_server(accept.click, accepted, [accept], [matting, question, accept])

    def show(self, choice: str) -> tuple[Any, Any]:
        """Updates of `shown` for what is chosen."""
        text, stands = status(choice, self._session)
        return gr.update(value=markup.note(text), visible=bool(text)), gr.update(visible=stands)


def status(choice: str, session: Session) -> tuple[str, bool]:
    """What to know about the chosen cut-out, on one line or empty, and whether it stands in the way of one."""
    problem = "" if choice == "none" else session.matting_obstacle(DEFAULT if choice == "auto" else choice)
    if problem:
        return f"{problem} {NO_MODEL_NEEDED}", True
    return MODELS[choice].notice if choice in MODELS else "", False


def ask(choice: str) -> tuple[Any, Any, Any]:
    """Put a model that comes with conditions off until they are accepted.

    Updates of the choice, of the question, and of the button, whose label says which model waits.
    """
    notice = MODELS[choice].notice if choice in MODELS else ""
    if not notice:
        return gr.update(), gr.update(visible=False), gr.update(visible=False)
    return gr.update(value="auto"), gr.update(value=markup.note(notice), visible=True), gr.update(
        value=ACCEPT + choice, visible=True)


def accepted(label: str) -> tuple[str, Any, Any]:
    """The model that waited, and the question put away."""
    return label.removeprefix(ACCEPT), gr.update(visible=False), gr.update(visible=False)
