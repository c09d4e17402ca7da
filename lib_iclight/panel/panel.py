"""The accordion: one widget for each field of the settings table, the light editor, and the helpers around them.

The widgets hold the settings and nothing else does: the editor, the tiles and "What I want" read and write them.
`elem_id`s are `iclight_{tab}_{field}`; those of what is no field are where it is made. What happens between the widgets
is in `wiring`.
"""

from __future__ import annotations

import html
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import gradio as gr

from ..assets import assets, later_scripts
from ..fields import FROM_BACKGROUND
from ..lights import PRESETS
from ..session import Session
from ..settings import FIELD, FIELDS, PICTURES, Field, from_infotext
from . import helpers, texts, wiring
from .gradio_host import on_server
from .matting_notes import MattingNotes, status
from .widgets import widget_of

REFERENCE_BLUR = 0.15
"""Light map blur that leaves of a photo only where its light is."""

Accordion = Callable[..., AbstractContextManager[Any]]
"""(open, label=, elem_id=) -> a context for the panel's widgets; entered, it gives the `enabled` widget."""


class Panel:
    """The widgets of one tab. `inputs` are in the order of the settings table.

    accordion: how the page makes one that switches the panel on (a WebUI has its own). Once the tab's other widgets are
    known, `connect` joins the panel's to them. compares: the panel ends with the comparison of before and after; a page
    that has a better place for it calls `comparison` there.
    `fields` are the widgets of the settings by name; the other attributes are for `wiring`.
    """

    def __init__(self, tab: str, session: Session, accordion: Accordion, *, compares: bool = True) -> None:
        self.tab = tab
        self.session = session
        self._compares = compares
        self.fields: dict[str, Any] = {}
        self.foreground_info = gr.State(None)
        with accordion(False, label="IC-Light", elem_id=self._id("enabled")) as enabled:
            self.fields["enabled"] = enabled
            self.status = gr.HTML(elem_id=self._id("status"))
            self._wants()
            self._pictures()
            self._helpers()
            self._light()
            self._matting()
            self._preserve()
            self._advanced()
            self.light_bridge = self._bridge("light_bridge")
            if tab == "img2img":
                self.tab_picture = gr.State(None)
                self.tab_bridge = self._bridge("tab_bridge")
        self.inputs = [self.fields[field.name] for field in FIELDS]
        self.infotext_fields = [(self.fields[field.name], _reader(field))
                                for field in FIELDS if field.name not in PICTURES]
        self.paste_field_names = [field.infotext for field in FIELDS if field.infotext]
        wiring.join(self)

    def comparison(self) -> None:
        """Put before and after here, with a slider between them, once there is a result."""
        gr.HTML(self._comparison(), elem_id=self._id("compare"))

    def connect(self, tab_widgets: Mapping[str, Any], opened: Sequence[Callable[..., Any]] = ()) -> None:
        """Join the panel to the tab's other widgets; `tab_widgets` has them by `elem_id`.

        opened: events beside the panel's own upon which the status line is to be there, such as a page's load.
        """
        wiring.connect(self, tab_widgets, opened)

    def _comparison(self) -> str:
        return f'<div class="iclight-compare" data-tab="{self.tab}"></div>'

    def _bridge(self, name: str) -> Any:
        """What javascript/ presses to hand something over."""
        return gr.Button(elem_id=self._id(name), elem_classes=["iclight-bridge"])

    def _id(self, name: str) -> str:
        return f"iclight_{self.tab}_{name}"

    def _add(self, name: str, **options: Any) -> Any:
        self.fields[name] = widget_of(FIELD[name], self._id(name), **options)
        return self.fields[name]

    # Widgets that follow each other share a form of their own accord, and style.css lays it out: a page opens the
    # slower the more elements it has, rows and columns too.

    def _wants(self) -> None:
        self.want = gr.Radio(label=texts.WANT, choices=list(helpers.WANTS), value=helpers.WANTS[0],
                              elem_id=self._id("want"))
        if self.tab == "img2img":
            self.another = gr.Checkbox(False, label=texts.ANOTHER_FOREGROUND, elem_id=self._id("another"))
        self._add("background_flip", visible=False)

    def _pictures(self) -> None:
        with gr.Row(elem_classes=["iclight-pictures"]):
            self._add("foreground", visible=self.tab != "img2img")
            self.cutout = gr.HTML(elem_id=self._id("cutout_preview"))
            self._add("background", label=texts.BACKGROUND_FOR, visible=False)

    def _helpers(self) -> None:
        def button(name: str, label: str) -> Any:
            return gr.Button(label, size="sm", min_width=100, elem_id=self._id(name))

        with gr.Row(elem_classes=["iclight-buttons"]):
            self.use_size = button("use_size", texts.USE_SIZE)
            if self.tab == "txt2img":
                self.copy = button("copy", texts.COPY_FROM_IMG2IMG)
            self.recommended = button("recommended", texts.RECOMMENDED)
            self.reset = button("reset", texts.RESET)
        self.note = gr.HTML(elem_id=self._id("note"))

    def _light(self) -> None:
        data = {"tab": self.tab, "presets": {name: spec.to_dict() for name, spec in PRESETS.items()},
                "labels": dict(texts.PRESET_LABELS), "texts": dict(texts.EDITOR), "referenceBlur": REFERENCE_BLUR,
                "fromBackground": FROM_BACKGROUND, "scripts": later_scripts(assets()),
                "prompts": {"lighting": texts.LIGHTING_PROMPTS, "subject": texts.SUBJECT_PROMPTS}}
        gr.HTML(f'<div class="iclight-editor" data-iclight="{html.escape(json.dumps(data))}"></div>'
                + (self._comparison() if self._compares else ""), elem_id=self._id("editor"))
        self._add("light")
        self._add("light_denoise", visible=self.tab != "img2img")
        self._add("size", choices=[(texts.SIZE_LABELS[size], size) for size in FIELD["size"].kind.choices])
        with gr.Accordion(texts.LIGHT_MAP_GROUP, open=False, elem_id=self._id("light_map_group")):
            self._add("light_map")
            self._add("light_map_blur", info=FIELD["light_map_blur"].help)

    def _matting(self) -> None:
        _, stands = status(FIELD["matting"].default, self.session)
        with gr.Accordion(FIELD["matting"].label, open=stands, elem_id=self._id("cutout")):  # to be seen
            self._add("matting", choices=["auto", "none", *self.session.matting_models()])
            self.matting_notes = MattingNotes(self.session, self.fields["matting"], self._id)
            for field in FIELDS:
                if field.group == "matting":
                    self._add(field.name)

    def _preserve(self) -> None:
        with gr.Accordion(texts.PRESERVE, open=False, elem_id=self._id("preserve")):
            for name in ("preserve_color", "preserve_detail", "detail_radius", "detail_mode", "keep_background",
                         "background_tint", "harmonise"):
                self._add(name)

    def _advanced(self) -> None:
        with gr.Accordion(texts.ADVANCED, open=False, elem_id=self._id("advanced")):
            self._add("mode", choices=[(texts.MODE_LABELS[mode], mode) for mode in FIELD["mode"].kind.choices])
            self._add("start")
            self._add("start_amount")
            self._add("fit")
            self._add("stage")
            self._add("outputs")
            weights = self._add("weights", choices=["auto", *self.session.weights_names()])
            refresh = gr.Button(texts.REFRESH_WEIGHTS, size="sm", elem_id=self._id("weights_refresh"))
            on_server(refresh.click, self._find_weights, [], [weights])

    def _find_weights(self) -> Any:
        return gr.update(choices=["auto", *(file.name for file in self.session.find_weights())])


def _reader(field: Field) -> Callable[[dict[str, Any]], Any]:
    """What a pasted infotext makes of a widget; None leaves it as it is."""
    def read(params: dict[str, Any]) -> Any:
        # The bare value, lists too: over the API Forge takes an update of Gradio 4 for the value itself.
        return from_infotext(params).get(field.name)

    return read
