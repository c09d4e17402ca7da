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

from .. import imaging
from ..errors import ICLightError
from ..fields import Bool, Choice, Kind, Light, List, Name, Number, Picture
from ..generation import comfortable_size
from ..lights import PRESETS
from ..matting import model_names
from ..settings import FIELD, FIELDS, PICTURES, Field, Settings, from_infotext
from . import helpers, hints, texts
from .gradio_host import image, in_browser, on_any, on_server
from .helpers import Seen
from .matting_notes import MattingNotes, status
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
SETTABLE = ("width", "height", "steps", "cfg", "sampler", "scheduler", "denoise")


class TabPicture(NamedTuple):
    """The img2img tab's picture as the browser handed it over."""

    picture: Image.Image
    """scaled down: enough for a preview"""
    width: int
    """of the whole picture"""
    height: int


class Told(NamedTuple):
    """What the status line is made of."""

    seen: Seen | None
    has_background: bool
    has_light_map: bool
    values: Mapping[str, Any]
    """of `STATUS_FIELDS`, and of those of the host's widgets that there are"""

    def changed(self, values: Mapping[str, Any]) -> Told:
        """The same with other values."""
        return self._replace(values={**self.values, **values})


Accordion = Callable[..., AbstractContextManager[Any]]
"""(open, label=, elem_id=) -> a context for the panel's widgets; entered, it gives the `enabled` widget."""


class Panel:
    """The widgets of one tab. `inputs` are in the order of the settings table.

    accordion: how the page makes one that switches the panel on (a WebUI has its own). Once the tab's other widgets are
    known, `connect` joins the panel's to them. compares: the panel ends with the comparison of before and after; a page
    that has a better place for it calls `comparison` there.
    """

    def __init__(self, tab: str, workshop: Workshop, accordion: Accordion, *, compares: bool = True) -> None:
        self.tab = tab
        self._workshop = workshop
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
                                for field in FIELDS if field.name not in PICTURES]
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
        """Join the panel to the tab's other widgets; `met` has them by `elem_id`.

        opened: events beside the panel's own upon which the status line is to be there, such as a page's load.
        """
        w = self._widgets
        host = {name: met[elem_id.format(tab=self.tab)] for name, elem_id in HOST_WIDGETS.items()
                if elem_id.format(tab=self.tab) in met}
        names = (*STATUS_FIELDS, *host)
        widgets = [self._seen, w["background"], w["light_map"], *(w[name] for name in STATUS_FIELDS), *host.values()]

        def told_by(seen: Seen | None, background: Any, light_map: Any, *values: Any) -> Told:
            return Told(seen, background is not None, light_map is not None, dict(zip(names, values, strict=True)))

        # What changes the page says in the same answer what the status then is.
        settable = [name for name in SETTABLE if name in host]

        def recommend(*values: Any) -> list[Any]:
            told = told_by(*values)
            size = told.seen and (told.seen.width, told.seen.height)
            after = helpers.recommended(told.values["mode"], self.tab, size, settable, self._workshop.native)
            note = helpers.changes(told.values, after) or texts.NOTHING_TO_CHANGE
            return [_note(note), self._describe(told.changed(after)), *(after[name] for name in settable)]

        on_server(self._recommended.click, recommend, widgets,
                  [self._note, self._status, *(host[name] for name in settable)])

        def use_size(*values: Any) -> list[Any]:
            told = told_by(*values)
            if told.seen is None:
                return [_note(texts.NO_FOREGROUND_TO_MEASURE), *[gr.update()] * 3]
            width, height = comfortable_size(told.seen.width, told.seen.height, self._workshop.native)
            status = self._describe(told.changed({"width": width, "height": height}))
            return [_note(f"{width} × {height}"), status, width, height]

        if {"width", "height"} <= set(host):
            on_server(self._use_size.click, use_size, widgets,
                      [self._note, self._status, host["width"], host["height"]])

        def look(*values: Any) -> list[Any]:
            told = told_by(*values)
            return [self._describe(told), *self._notes.show(told.values["matting"])]

        def measure(seen: Seen | None, *values: Any) -> list[Any]:
            return [seen, self._describe(told_by(seen, *values))]

        shown = [self._status, *self._notes.shown]
        events = [w[name].change for name in ("enabled", "background", "light_map", *STATUS_FIELDS)]
        events += [host[name].release for name in SLIDERS if name in host]
        events += [host["hires"].change] if "hires" in host else []
        on_any(events, look, widgets, shown)
        for event in (*opened, *(cut.then for cut in self._join_pictures(measure, widgets[1:]))):
            on_server(event, look, widgets, shown)

    def _join_pictures(self, measure: Callable[..., list[Any]], widgets: Sequence[Any]) -> list[Any]:
        """Let a new foreground be measured and cut out; the results of the events that cut out.

        measure: of what is seen of it and the values of `widgets`, values for `_seen` and the status line.
        """
        w = self._widgets
        matting = [w["matting"], *(w[field.name] for field in FIELDS if field.group == "matting")]
        pictures = [w["foreground"], *([self._tab_picture] if self.tab == "img2img" else [])]
        cut = self._look, [*matting, *pictures], [self._cutout, self._seen]

        def dropped(*values: Any) -> list[Any]:
            return measure(_measure(*values[:len(pictures)]), *values[len(pictures):])

        on_server(w["foreground"].change, dropped, [*pictures, *widgets], [self._seen, self._status])
        cuts = on_any([widget.change for widget in (w["foreground"], *matting)], *cut, quick=False)
        if self.tab == "img2img":
            def handed_over(text: str, foreground: Image.Image | None, *values: Any) -> list[Any]:
                picture = _handed_over(text)
                return [picture, *measure(_measure(foreground, picture), *values)]

            # What the browser hands over comes in the place of the note's text: any widget with a text would do.
            # Gradio gives a script the outputs' values too, after the inputs'.
            handed = on_server(self._tab_bridge.click, handed_over, [self._note, w["foreground"], *widgets],
                               [self._tab_picture, self._seen, self._status],
                               script="(note, ...values) => [window.iclight.editor.tabPicture(), "
                                      f"...values.slice(0, {1 + len(widgets)})]")
            cuts.append(on_server(handed.then, *cut, quick=False))
        return cuts

    def _id(self, name: str) -> str:
        return f"iclight_{self.tab}_{name}"

    def _add(self, name: str, **options: Any) -> Any:
        """The widget of a field, by the field's kind."""
        field = FIELD[name]
        options = {"label": field.label, "elem_id": self._id(name), **options}
        # The everyday widgets speak for themselves; the rarer ones say what they do.
        if field.group in ("advanced", "matting") and not isinstance(field.kind, Picture):
            options["info"] = field.help
        self._widgets[name] = _MAKERS[type(field.kind)](field.kind, field.kind.to_json(field.default), options)
        return self._widgets[name]

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
                "labels": dict(texts.PRESET_LABELS), "texts": dict(texts.EDITOR), "referenceBlur": REFERENCE_BLUR,
                "prompts": {"lighting": texts.LIGHTING_PROMPTS, "subject": texts.SUBJECT_PROMPTS}}
        gr.HTML(f'<div class="iclight-editor" data-iclight="{html.escape(json.dumps(data))}"></div>'
                + (self._comparison() if self._compares else ""), elem_id=self._id("editor"))
        self._add("light")
        self._add("light_denoise", visible=self.tab != "img2img")
        with gr.Accordion(texts.LIGHT_MAP_GROUP, open=False, elem_id=self._id("light_map_group")):
            self._add("light_map")
            self._add("light_map_blur", info=FIELD["light_map_blur"].help)

    def _matting(self) -> None:
        _, stands = status(FIELD["matting"].default, self._workshop)
        with gr.Accordion(FIELD["matting"].label, open=stands, elem_id=self._id("cutout")):  # to be seen
            self._add("matting", choices=["auto", "none", *model_names(self._workshop.matting_folders)])
            self._notes = MattingNotes(self._workshop, self._widgets["matting"], self._id)
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
            self._add("outputs")
            weights = self._add("weights", choices=["auto", *self._workshop.weights_names()])
            refresh = gr.Button(texts.REFRESH_WEIGHTS, size="sm", elem_id=self._id("weights_refresh"))
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

        if self.tab == "img2img":
            on_server(self._another.change, _another, [self._another, w["foreground"]], [w["foreground"]])
        if self.tab == "txt2img":
            # What the browser hands over comes in the place of the note's text: any widget with a text would do.
            on_server(self._copy.click, _copied, [self._note], [w["foreground"]],
                      script="() => window.iclight.editor.img2imgPicture()")
        others = [field for field in FIELDS if field.name != "enabled"]
        shown = [self._another] if self.tab == "img2img" else []
        on_server(self._reset.click, lambda: ["", *(_update(field) for field in others), *(False for _ in shown)], [],
                  [self._note, *(w[field.name] for field in others), *shown])

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

    def _describe(self, told: Told) -> str:
        """The status line, as HTML."""
        seen, values = told.seen, told.values
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
        return helpers.describe(settings, tab=self.tab, seen=seen, has_background=told.has_background,
                                has_light_map=told.has_light_map, weights_ready=ready, faults=faults,
                                cfg=values.get("cfg"), hires_denoise=hires, head=head).html()


def _choice(kind: Kind, value: Any, options: dict[str, Any]) -> Any:
    """All choices side by side while they are few."""
    return (gr.Radio if len(kind.choices) <= 3 else gr.Dropdown)(**{"choices": list(kind.choices), "value": value,
                                                                    **options})


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
"""kind of setting -> (kind, value, Gradio's options) -> its widget"""


def _reader(field: Field) -> Callable[[dict[str, Any]], Any]:
    """What a pasted infotext makes of a widget; None leaves it as it is."""
    def read(params: dict[str, Any]) -> Any:
        # The bare value, lists too: over the API Forge takes an update of Gradio 4 for the value itself.
        return from_infotext(params).get(field.name)

    return read


def _update(field: Field) -> Any:
    """A field's widget back at its default."""
    return gr.update(value=field.kind.to_json(field.default))


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
