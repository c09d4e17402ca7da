"""The accordion: one widget for each field of the settings table, the light editor, and the helpers around them.

The widgets hold the settings and nothing else does: the editor, the tiles and "What I want" read and write them.
`elem_id`s are `iclight_{tab}_{field}`; those of what is no field are in `Panel.__init__`.
"""

from __future__ import annotations

import base64
import html
import io
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

import gradio as gr
from PIL import Image

from .. import hints, imaging
from ..errors import ICLightError
from ..lights import PRESETS
from ..matting import model_names
from ..settings import FIELD, FIELDS, Field, Settings, from_infotext
from . import helpers, texts
from .gradio_host import image, in_browser, on_any, on_server
from .helpers import Seen
from .matting_notes import add_matting_notes, status
from .workshop import Workshop

IMAGE_HEIGHT = 240
PREVIEW_SIDE = 320

HOST_WIDGETS: Mapping[str, str] = {
    "width": "{tab}_width", "height": "{tab}_height", "steps": "{tab}_steps",
    "cfg": "{tab}_cfg_scale", "sampler": "{tab}_sampling", "scheduler": "{tab}_scheduler",
    "denoise": "{tab}_denoising_strength", "hires": "{tab}_hr-checkbox", "hires_scale": "{tab}_hr_scale"}
"""The host's widgets that the helpers read and set, and their `elem_id`s; a host may lack any of them."""

REFERENCE_BLUR = 0.15
"""Light map blur that leaves of a photo only where its light is."""

STATUS_FIELDS = ("mode", "background_flip", "light", "light_map_blur", "light_denoise", "matting", "preserve_detail",
                 "keep_background", "weights")
SLIDERS = ("cfg", "denoise", "width", "height", "hires_scale")
WATCHED = (*SLIDERS, "hires")
SETTABLE = ("width", "height", "steps", "cfg", "sampler", "scheduler", "denoise")


class TabPicture(NamedTuple):
    """The img2img tab's picture as the browser handed it over."""

    picture: Image.Image
    """scaled down: enough for a preview"""
    width: int
    """of the whole picture"""
    height: int


Accordion = Callable[..., AbstractContextManager[Any]]
"""(open, label=, elem_id=) -> a context for the panel's widgets; entered, it gives the `enabled` widget."""


class Panel:
    """The widgets of one tab. `inputs` are in the order of the settings table.

    accordion, tool_button: how the page makes those two (a WebUI has its own). Once the tab's other widgets are known,
    `connect` joins the helpers to them. compares: the panel ends with the comparison of before and after; a page that
    has a better place for it calls `comparison` there.
    """

    def __init__(self, tab: str, workshop: Workshop, accordion: Accordion, tool_button: Callable[..., Any], *,
                 compares: bool = True) -> None:
        self.tab = tab
        self._workshop = workshop
        self._tool_button = tool_button
        self._compares = compares
        self._widgets: dict[str, Any] = {}
        self._seen = gr.State(None)
        with accordion(False, label="IC-Light", elem_id=self._id("enabled")) as enabled:
            self._widgets["enabled"] = enabled
            self._status = gr.HTML(elem_id=self._id("status"))
            self._wants()
            self._pictures()
            self._helpers()
            self._light()
            self._matting()
            self._preserve()
            self._advanced()
            self._light_bridge = self._bridge("light_bridge")
            if tab == "img2img":
                self._tab_picture = gr.State(None)
                self._tab_bridge = self._bridge("tab_bridge")
        self.inputs = [self._widgets[field.name] for field in FIELDS]
        self.infotext_fields = [(self._widgets[field.name], _reader(field))
                                for field in FIELDS if field.kind != "image"]
        self.paste_field_names = [field.infotext for field in FIELDS if field.infotext]
        self._join()

    def comparison(self) -> None:
        """Put before and after here, with a slider between them, once there is a result."""
        gr.HTML(self._comparison(), elem_id=self._id("compare"))

    def _comparison(self) -> str:
        return f'<div class="iclight-compare" data-tab="{self.tab}"></div>'

    def _bridge(self, name: str) -> Any:
        """What javascript/ presses to hand something over."""
        return gr.Button(elem_id=self._id(name), elem_classes=["iclight-bridge"])

    def connect(self, met: Mapping[str, Any], opened: Sequence[Callable[..., Any]] = ()) -> None:
        """Join the helpers to the tab's other widgets; `met` has them by `elem_id`.

        opened: events beside the panel's own upon which the status line is to be there, such as a page's load.
        """
        host = {name: met[elem_id.format(tab=self.tab)] for name, elem_id in HOST_WIDGETS.items()
                if elem_id.format(tab=self.tab) in met}
        if {"width", "height"} <= set(host):
            on_server(self._use_size.click, self._size_of, [self._seen], [self._note, host["width"], host["height"]])
        names = [name for name in SETTABLE if name in host]
        widgets = [host[name] for name in names]

        def recommend(seen: Seen | None, mode: str, *values: Any) -> list[Any]:
            before = dict(zip(names, values, strict=True))
            after = helpers.recommended(mode, self.tab, seen and (seen.width, seen.height), names,
                                        self._workshop.native)
            note = helpers.changes(before, after) or texts.NOTHING_TO_CHANGE
            return [_note(note), *(after[name] for name in names)]

        recommending = on_server(self._recommended.click, recommend, [self._seen, self._widgets["mode"], *widgets],
                                 [self._note, *widgets])
        watched = [name for name in WATCHED if name in host]

        def look(seen: Seen | None, background: Any, light_map: Any, *values: Any) -> str:
            named = dict(zip((*STATUS_FIELDS, *watched), values, strict=True))
            return self._describe(seen, background is not None, light_map is not None, named)

        pictures = ("background", "light_map")
        inputs = [self._seen, *(self._widgets[name] for name in (*pictures, *STATUS_FIELDS)),
                  *(host[name] for name in watched)]
        events = [self._widgets[name].change for name in ("enabled", *pictures, *STATUS_FIELDS)]
        events += [host[name].release for name in SLIDERS if name in host]
        on_any(events, look, inputs, [self._status])
        for event in (*opened, recommending.then, *(done.then for done in (*self._measured, *self._cuts))):
            on_server(event, look, inputs, [self._status])

    def _id(self, name: str) -> str:
        return f"iclight_{self.tab}_{name}"

    def _add(self, name: str, **options: Any) -> Any:
        """The widget of a field, by the field's kind."""
        field = FIELD[name]
        value = list(field.default) if isinstance(field.default, tuple) else field.default
        options = {"label": field.label, "elem_id": self._id(name), **options}
        if field.kind == "image":
            widget = image(height=IMAGE_HEIGHT, **options)
        else:
            # The everyday widgets speak for themselves; the rarer ones say what they do.
            options["value"] = value
            if field.group in ("advanced", "matting"):
                options["info"] = field.help
            if field.kind == "number":
                options |= {"minimum": field.minimum, "maximum": field.maximum, "step": field.step}
            elif field.kind != "bool":
                options.setdefault("choices", list(field.choices))
            if field.kind in ("light", "name"):
                options["allow_custom_value"] = True
            many = field.kind == "choice" and len(field.choices) > 3
            widget = (gr.Dropdown if many else _KINDS[field.kind])(**options)
        self._widgets[name] = widget
        return widget

    # Widgets that follow each other share a form of their own accord, and style.css lays it out: a page opens the
    # slower the more elements it has, rows and columns too.

    def _wants(self) -> None:
        self._want = gr.Radio(label=texts.WANT, choices=list(helpers.WANTS), value=helpers.WANTS[0],
                              elem_id=self._id("want"))
        if self.tab == "img2img":
            self._another = gr.Checkbox(False, label=texts.ANOTHER_FOREGROUND, elem_id=self._id("another"))
        self._add("background_flip", visible=False)

    def _pictures(self) -> None:
        with gr.Row(elem_classes=["iclight-pictures"]):
            self._add("foreground", visible=self.tab != "img2img")
            self._cutout = gr.HTML(elem_id=self._id("cutout_preview"))
            self._add("background", label=texts.BACKGROUND_FOR, visible=False)

    def _helpers(self) -> None:
        def button(name: str, label: str) -> Any:
            return gr.Button(label, size="sm", min_width=100, elem_id=self._id(name))

        with gr.Row(elem_classes=["iclight-buttons"]):
            self._use_size = button("use_size", texts.USE_SIZE)
            if self.tab == "txt2img":
                self._copy = button("copy", texts.COPY_FROM_IMG2IMG)
            self._recommended = button("recommended", texts.RECOMMENDED)
            self._reset = button("reset", texts.RESET)
        self._note = gr.HTML(elem_id=self._id("note"))

    def _light(self) -> None:
        data = {"tab": self.tab, "presets": {name: spec.to_dict() for name, spec in PRESETS.items()},
                "labels": dict(texts.PRESET_LABELS), "texts": dict(texts.EDITOR),
                "prompts": {"lighting": texts.LIGHTING_PROMPTS, "subject": texts.SUBJECT_PROMPTS}}
        gr.HTML(f'<div class="iclight-editor" data-iclight="{html.escape(json.dumps(data))}"></div>'
                + (self._comparison() if self._compares else ""), elem_id=self._id("editor"))
        self._add("light")
        self._add("light_denoise", visible=self.tab != "img2img")
        group = gr.Accordion(texts.LIGHT_MAP_GROUP, open=False, elem_id=self._id("light_map_group"))
        with group, gr.Row(elem_classes=["iclight-pictures"]):
            self._add("light_map")
            self._add("light_map_blur", info=FIELD["light_map_blur"].help)
            self._take_light = gr.Button(texts.TAKE_LIGHT, size="sm", elem_id=self._id("take_light"))

    def _matting(self) -> None:
        _, stands = status(FIELD["matting"].default, self._workshop)
        with gr.Accordion(FIELD["matting"].label, open=stands, elem_id=self._id("cutout")):  # to be seen
            self._add("matting", choices=["auto", "none", *model_names(self._workshop.matting_folders)])
            add_matting_notes(self._workshop, self._widgets["matting"], self._widgets["enabled"], self._id)
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
            self._add("mode", choices=[(texts.MODE_LABELS[mode], mode) for mode in FIELD["mode"].choices])
            self._add("start")
            self._add("start_amount")
            self._add("outputs")
            with gr.Row():
                weights = self._add("weights", choices=["auto", *self._workshop.weights_names()])
                refresh = self._tool_button("\U0001f504", elem_id=self._id("weights_refresh"),
                                            tooltip=texts.REFRESH_WEIGHTS)
            on_server(refresh.click, self._find_weights, [], [weights])

    def _find_weights(self) -> Any:
        return gr.update(choices=["auto", *(file.name for file in self._workshop.find_weights())])

    def _join(self) -> None:
        """What happens between the panel's own widgets."""
        w = self._widgets
        kept = [w[name] for name in ("mode", "keep_background", "preserve_color", "preserve_detail")]

        def want(chosen: str, mode: str, keep: bool, color: float, detail: float) -> list[Any]:
            return list(helpers.settings_for(chosen, mode, color, detail).values())

        on_server(self._want.input, want, [self._want, *kept], kept)
        on_any([w[name].change for name in ("mode", "keep_background", "start")], _follow,
               [w["mode"], w["keep_background"], w["start"]], [self._want, w["background"], w["background_flip"]])

        # The editor's light comes in through a hidden button, and changes from elsewhere are told to the editor.
        in_browser(self._light_bridge.click, f"() => window.iclight.editor.take('{self.tab}')", outputs=[w["light"]])
        in_browser(w["light"].change, f"(light) => {{ window.iclight?.editor.show('{self.tab}', light); }}",
                   inputs=[w["light"]])

        on_server(self._take_light.click, lambda: REFERENCE_BLUR, [], [w["light_map_blur"]])

        # What the browser hands over comes in the place of the note's text: any widget with a text would do.
        pictures, arriving = [w["foreground"]], []
        if self.tab == "img2img":
            handed = on_server(self._tab_bridge.click, _handed_over, [self._note], [self._tab_picture],
                               script="() => window.iclight.editor.tabPicture()")
            arriving.append(handed.then)
            pictures.append(self._tab_picture)
            on_server(self._another.change, _another, [self._another, w["foreground"]], [w["foreground"]])
        matting = [w["matting"], *(w[field.name] for field in FIELDS if field.group == "matting")]
        self._measured = [on_server(event, _measure, pictures, [self._seen])
                          for event in (w["foreground"].change, *arriving)]
        changes = [widget.change for widget in (w["foreground"], *matting)]
        cut = self._look, [*matting, *pictures], [self._cutout, self._seen]
        self._cuts = on_any(changes, *cut, quick=False)
        self._cuts += [on_server(event, *cut, quick=False) for event in arriving]

        others = [field for field in FIELDS if field.name != "enabled"]
        shown = [self._another] if self.tab == "img2img" else []
        on_server(self._reset.click, lambda: ["", *(_update(field) for field in others), *(False for _ in shown)], [],
                  [self._note, *(w[field.name] for field in others), *shown])
        if self.tab == "txt2img":
            on_server(self._copy.click, _copied, [self._note], [w["foreground"]],
                      script="() => window.iclight.editor.img2imgPicture()")

    def _size_of(self, seen: Seen | None) -> tuple[Any, Any, Any]:
        """Note, width and height for a foreground."""
        if seen is None:
            return _note(texts.NO_FOREGROUND_TO_MEASURE), gr.update(), gr.update()
        width, height = helpers.comfortable_size(seen.width, seen.height, self._workshop.native)
        return _note(f"{width} × {height}"), width, height

    def _look(self, *values: Any) -> tuple[str, Seen | None]:
        """The foreground's cut-out as the preview shows it, as HTML, and what is then known of the foreground.

        values: the matting settings, the panel's foreground, and in img2img the tab's picture.
        """
        names = ["matting", *(field.name for field in FIELDS if field.group == "matting")]
        chosen, pictures = values[:len(names)], values[len(names):]
        seen = _measure(*pictures)
        if seen is None:
            return "", None
        foreground = pictures[1].picture if seen.of_tab else pictures[0]
        try:
            settings = Settings(foreground=foreground, **dict(zip(names, chosen, strict=True)))
            subject = self._workshop.cut_out(settings)
        except ICLightError as error:
            return f'<p class="iclight-fault" role="alert">{html.escape(str(error))}</p>', seen
        figures = "".join(
            f'<figure class="iclight-{kind}"><img src="{_data_uri(picture)}" alt="{label}">'
            f"<figcaption>{label}</figcaption></figure>"
            for kind, label, picture in (("cutout", texts.CUTOUT_PREVIEW, subject.cutout()),
                                         ("mask", texts.MASK_PREVIEW, subject.mask())))
        seen = seen._replace(standing=hints.standing_height(subject.alpha))
        return f'<div class="iclight-preview">{figures}</div>', seen

    def _describe(self, seen: Seen | None, has_background: bool, has_light_map: bool,
                  values: Mapping[str, Any]) -> str:
        """The status line for these values of `STATUS_FIELDS` and of the host's widgets, as HTML."""
        try:
            settings = Settings(**{name: values[name] for name in STATUS_FIELDS})
        except ICLightError as error:
            return helpers.Status((), (str(error),)).html()
        ready, faults = self._workshop.outlook(settings)
        scale = values.get("hires_scale", 1.0) if values.get("hires", True) else 1.0
        hires = values.get("denoise") if self.tab != "img2img" and (scale > 1 or values.get("hires")) else None
        head = None
        if seen is not None and seen.standing is not None and {"width", "height"} <= set(values):
            job = values["width"], values["height"]
            head = hints.head_height(seen.standing, (seen.width, seen.height), job, scale)
        return helpers.describe(settings, tab=self.tab, seen=seen, has_background=has_background,
                                has_light_map=has_light_map, weights_ready=ready, faults=faults,
                                cfg=values.get("cfg"), hires_denoise=hires, head=head).html()


_KINDS: Mapping[str, Callable[..., Any]] = {
    "bool": gr.Checkbox, "choice": gr.Radio, "name": gr.Dropdown, "number": gr.Slider, "light": gr.Dropdown,
    "list": gr.CheckboxGroup}


def _reader(field: Field) -> Callable[[dict[str, Any]], Any]:
    """What a pasted infotext makes of a widget; None leaves it as it is."""
    def read(params: dict[str, Any]) -> Any:
        # The bare value, lists too: over the API Forge takes an update of Gradio 4 for the value itself.
        return from_infotext(params).get(field.name)

    return read


def _update(field: Field) -> Any:
    """A field's widget back at its default."""
    return gr.update(value=list(field.default) if isinstance(field.default, tuple) else field.default)


def _measure(foreground: Image.Image | None, tab_picture: TabPicture | None = None) -> Seen | None:
    if foreground is not None:
        width, height = foreground.size
        return Seen(width, height, _is_transparent(foreground))
    if tab_picture is not None:
        return Seen(tab_picture.width, tab_picture.height, _is_transparent(tab_picture.picture), of_tab=True)
    return None


def _is_transparent(picture: Image.Image) -> bool:
    return imaging.split_alpha(picture)[1] is not None


def _another(wanted: bool, foreground: Image.Image | None) -> Any:
    """Show where to drop another foreground than the tab's picture; put away, it is forgotten."""
    if wanted or foreground is None:
        return gr.update(visible=wanted)
    return gr.update(visible=False, value=None)


def _follow(mode: str, keep_background: bool, start: str) -> tuple[str, Any, Any]:
    """What they want, and whether a background and its flip are to be seen."""
    needed = mode == "fbc" or start == "background"
    return helpers.want_of(mode, keep_background), gr.update(visible=needed), gr.update(visible=needed)


def _handed_over(text: str) -> TabPicture | None:
    """What javascript/ says of the tab's picture, as JSON; empty for none."""
    if not text:
        return None
    given = json.loads(text)
    return TabPicture(imaging.load_image(given["picture"], "img2img picture"), given["width"], given["height"])


def _copied(data_uri: str) -> Image.Image | None:
    return imaging.load_image(data_uri, "img2img picture") if data_uri else None


def _note(text: str) -> str:
    return f'<p class="iclight-note" role="status">{html.escape(text)}</p>'


def _data_uri(picture: Image.Image) -> str:
    small = picture.copy()
    small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
