"""The differences between Gradio 4 (Forge) and Gradio 3.41 (reForge, Classic, A1111), behind a few functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

GRADIO_4 = int(gr.__version__.split(".")[0]) >= 4

Script = str
"""A JavaScript function expression; the inputs' values are its arguments, what it returns goes to the outputs."""


def image(label: str, elem_id: str, height: int, visible: bool = True) -> Any:
    """A picture widget for upload and paste, whose value is an RGBA PIL image or None."""
    source: dict[str, Any] = {"sources": ["upload", "clipboard"]} if GRADIO_4 else {"source": "upload"}
    return gr.Image(label=label, type="pil", image_mode="RGBA", height=height, elem_id=elem_id, visible=visible,
                    **source)


def in_browser(event: Callable[..., Any], script: Script, inputs: Sequence[Any] = (),
               outputs: Sequence[Any] = ()) -> None:
    """Let `event` (as `button.click`) run `script` in the browser, without a call to the server."""
    event(fn=None, inputs=list(inputs), outputs=list(outputs), **{"js" if GRADIO_4 else "_js": script})


def on_server(event: Callable[..., Any], function: Callable[..., Any], inputs: Sequence[Any], outputs: Sequence[Any],
              *, quick: bool = True, script: Script | None = None) -> Any:
    """Let `event` call `function`; the result's `then` is the event of it being done.

    quick: it takes no time worth showing, and needs no turn in the queue.
    script: run in the browser first; it gets the inputs' values and returns those that the function is to have.
    """
    options: dict[str, Any] = {"show_progress": "hidden", "queue": False} if quick else {"show_progress": "minimal"}
    if script is not None:
        options["js" if GRADIO_4 else "_js"] = script
    if GRADIO_4:
        options["show_api"] = False
    return event(fn=function, inputs=list(inputs), outputs=list(outputs), **options)


def on_any(events: Sequence[Callable[..., Any]], function: Callable[..., Any], inputs: Sequence[Any],
           outputs: Sequence[Any], *, quick: bool = True) -> list[Any]:
    """Let each of the widgets' own `events` call `function`; results as those of `on_server`.

    One result for all in Gradio 4, where every event that a page has makes it slower to open. Gradio 3 cannot do that.
    """
    if not GRADIO_4:
        return [on_server(event, function, inputs, outputs, quick=quick) for event in events]
    # Of events during a call the last one counts; left to itself, Gradio would drop it.
    any_of = partial(gr.on, list(events), trigger_mode="always_last")
    return [on_server(any_of, function, inputs, outputs, quick=quick)]


def page_script(files: Sequence[Path]) -> Script:
    """The classic scripts of a page of our own, in order, for its load event. (A WebUI loads them itself.)"""
    return "() => {\n" + "\n".join(file.read_text(encoding="utf-8") for file in files) + "\n}"
