"""The differences between Gradio 4 (Forge) and Gradio 3.41 (reForge, Classic, A1111), behind a few functions."""

from __future__ import annotations

from abc import ABCMeta
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from ..errors import ImageError

GRADIO_4 = int(gr.__version__.split(".")[0]) >= 4

Script = str
"""A JavaScript function expression; the inputs' values are its arguments, what it returns goes to the outputs."""


class _WithoutStub(type(gr.Image)):  # type: ignore[misc]
    """The metaclass of Gradio's components, without what Gradio 4's does beside: write a .pyi file next to the source.

    (Forge stops that for the whole program; a page of our own has to do it here.)
    """

    def __new__(cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any]) -> Any:
        return ABCMeta.__new__(cls, name, bases, namespace)


class PictureFile(gr.Image, metaclass=_WithoutStub):  # type: ignore[misc, unused-ignore]
    """A picture widget whose value is the file itself, not what Gradio makes of it.

    Gradio 3.41 and 4.40 turn every picture to one mode first, with type="filepath" too: 16-bit grey becomes white, CMYK
    and wide colours lose their profile, a JPEG is compressed once more. A function gets a `Path` in Gradio 4; in
    Gradio 3, where the browser sends the file as a data URI, that str. None without a picture. A WebUI's API hands its
    values past the widgets, so no `Path` can come from there.
    """

    def preprocess(self, value: Any) -> Path | str | None:
        """The value as the browser sends it -> what functions get."""
        if value is None or isinstance(value, str):
            return value
        try:
            return uploaded(value.path, self.GRADIO_CACHE)
        except ImageError as error:
            raise gr.Error(error.sentence) from error

    def get_block_name(self) -> str:
        """What the page's own scripts know the widget by: it looks and behaves as any other."""
        return "image"


def uploaded(path: str, folder: str) -> Path:
    """The file of a picture that somebody uploaded to this page.

    path: as the browser names it; a made-up one could name any file of this machine. folder: Gradio's own, with all
    that was uploaded. Raises ImageError for a file elsewhere, and for one that is gone.
    """
    file = Path(path).resolve()
    if not file.is_relative_to(Path(folder).resolve()):
        raise ImageError("a picture is none that was uploaded to this page. Drop its file into the panel.")
    if not file.is_file():
        raise ImageError("a picture is no longer on the server. Drop its file into the panel again.")
    return file


def image(label: str, elem_id: str, height: int, visible: bool = True) -> Any:
    """A picture widget for upload and paste; what it gives see at `PictureFile`, it takes PIL images and files."""
    # Gradio 4 keeps a picture that a function gives it as a file, by itself as a lossy one.
    options: dict[str, Any] = ({"sources": ["upload", "clipboard"], "format": "png"} if GRADIO_4
                               else {"source": "upload"})
    return PictureFile(label=label, type="filepath", image_mode="RGBA", height=height, elem_id=elem_id,
                       visible=visible, **options)


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
