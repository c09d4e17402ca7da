"""The accordion: one widget for each field of the settings table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr
from modules.ui_components import InputAccordion, ToolButton

from ..matting import MODELS
from ..settings import FIELD, FIELDS, Field, from_infotext
from .workshop import Workshop

MODE_LABELS = {
    "fc": "New background from the prompt (fc)",
    "fcon": "New background, deeper darks (fcon)",
    "fbc": "Place on my background (fbc)",
}
IMAGE_HEIGHT = 240


class Panel:
    """The widgets of one tab. `inputs` are in the order of the settings table."""

    def __init__(self, is_img2img: bool, workshop: Workshop) -> None:
        self._tab = "img2img" if is_img2img else "txt2img"
        self._widgets: dict[str, Any] = {}
        with InputAccordion(False, label="IC-Light", elem_id=self._id("enabled")) as enabled:
            self._widgets["enabled"] = enabled
            self._add("mode", gr.Radio, choices=[(MODE_LABELS[mode], mode) for mode in FIELD["mode"].choices])
            with gr.Row():
                with gr.Column(min_width=240):
                    own = " (empty: the img2img picture)" if is_img2img else ""
                    self._add_image("foreground", f"Foreground{own}")
                with gr.Column(min_width=240):
                    self._add_image("background", "Background (for \"place on my background\")")
                    self._add("background_flip", gr.Checkbox)
            with gr.Row():
                self._add("light", gr.Dropdown, choices=list(FIELD["light"].choices), allow_custom_value=True)
                self._add_slider("light_denoise", visible=not is_img2img)
                self._add("matting", gr.Dropdown, choices=["auto", "none", *MODELS], allow_custom_value=True)
            with gr.Accordion("Preserve", open=False, elem_id=self._id("preserve")):
                with gr.Row():
                    self._add_slider("preserve_color")
                    self._add_slider("preserve_detail")
                    self._add_slider("detail_radius")
                self._add("keep_background", gr.Checkbox)
            with gr.Accordion("Advanced", open=False, elem_id=self._id("advanced")):
                with gr.Row():
                    self._add("start", gr.Dropdown, choices=list(FIELD["start"].choices))
                    names = ["auto", *workshop.weights_names()]
                    weights = self._add("weights", gr.Dropdown, choices=names, allow_custom_value=True)
                    refresh = ToolButton("\U0001f504", elem_id=self._id("weights_refresh"),
                                         tooltip="Look for IC-Light weights in the model folders")
                    refresh.click(lambda: gr.update(choices=["auto", *(file.name for file in workshop.find_weights())]),
                                  inputs=[], outputs=[weights], show_progress=False)
                self._add("outputs", gr.CheckboxGroup, choices=list(FIELD["outputs"].choices))
        self.inputs = [self._widgets[field.name] for field in FIELDS]
        self.infotext_fields = [(self._widgets[field.name], _reader(field))
                                for field in FIELDS if field.kind != "image"]
        self.paste_field_names = [field.infotext for field in FIELDS if field.infotext]

    def _id(self, name: str) -> str:
        return f"iclight_{self._tab}_{name}"

    def _add(self, name: str, widget: Callable[..., Any], **options: Any) -> Any:
        field = FIELD[name]
        value = list(field.default) if isinstance(field.default, tuple) else field.default
        # The everyday widgets speak for themselves; the rarer ones say what they do.
        info = field.help if field.group == "advanced" else None
        self._widgets[name] = widget(label=field.label, value=value, elem_id=self._id(name), info=info, **options)
        return self._widgets[name]

    def _add_slider(self, name: str, **options: Any) -> Any:
        field = FIELD[name]
        return self._add(name, gr.Slider, minimum=field.minimum, maximum=field.maximum, step=field.step, **options)

    def _add_image(self, name: str, label: str) -> None:
        # Gradio 3 has one source; its upload takes the clipboard's pictures too.
        source: dict[str, Any] = {"source": "upload"} if gr.__version__.startswith("3.") \
            else {"sources": ["upload", "clipboard"]}
        self._widgets[name] = gr.Image(label=label, type="pil", image_mode="RGBA", height=IMAGE_HEIGHT,
                                       elem_id=self._id(name), **source)


def _reader(field: Field) -> Callable[[dict[str, Any]], Any]:
    """What a pasted infotext makes of a widget; None leaves it as it is."""
    def read(params: dict[str, Any]) -> Any:
        value = from_infotext(params).get(field.name)
        return gr.update(value=value) if isinstance(value, list) else value

    return read
