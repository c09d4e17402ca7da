"""A field of the settings table as a Gradio widget: one maker for each kind of field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gradio as gr

from ..fields import Bool, Choice, Kind, Light, List, Name, Number, Picture
from ..settings import Field
from .gradio_host import image

IMAGE_HEIGHT = 240
FEW = 3
"""so many choices stand side by side; more are a list to open"""


def widget_of(field: Field, elem_id: str, **options: Any) -> Any:
    """The widget of a field at its default. options: Gradio's, ahead of what the field would have."""
    options = {"label": field.label, "elem_id": elem_id, **options}
    # The everyday widgets speak for themselves; the rarer ones say what they do.
    if field.group in ("advanced", "matting") and not isinstance(field.kind, Picture):
        options["info"] = field.help
    return _MAKERS[type(field.kind)](field.kind, field.kind.to_json(field.default), options)


def _choice(kind: Kind, value: Any, options: dict[str, Any]) -> Any:
    widget = gr.Radio if len(kind.choices) <= FEW else gr.Dropdown
    return widget(**{"choices": list(kind.choices), "value": value, **options})


def _offered(kind: Kind, value: Any, options: dict[str, Any]) -> Any:
    """Choices, or any text."""
    return gr.Dropdown(**{"choices": list(kind.choices), "value": value, "allow_custom_value": True, **options})


def _number(kind: Number, value: Any, options: dict[str, Any]) -> Any:
    return gr.Slider(kind.minimum, kind.maximum, step=kind.step, value=value, **options)


_MAKERS: Mapping[type[Kind], Callable[[Any, Any, dict[str, Any]], Any]] = {
    Bool: lambda kind, value, options: gr.Checkbox(value=value, **options),
    Choice: _choice, Name: _offered, Number: _number, Light: _offered,
    Picture: lambda kind, value, options: image(height=IMAGE_HEIGHT, **options),
    List: lambda kind, value, options: gr.CheckboxGroup(choices=list(kind.choices), value=value, **options)}
"""kind -> (kind, value, Gradio's options) -> the widget"""
