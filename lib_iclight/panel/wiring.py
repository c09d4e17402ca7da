"""What happens between the panel's widgets, and between them and the rest of the tab."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import gradio as gr
from PIL import Image

from .. import imaging
from ..errors import ICLightError
from ..fields import FROM_BACKGROUND
from ..generation import comfortable_size
from ..settings import FIELDS, Field, Settings
from ..subject import HALF_TRANSPARENT
from . import helpers, hints, markup, texts
from .gradio_host import in_browser, on_any, on_server
from .pictures import Backgrounds, ForegroundInfo, PictureValue, cutout_preview, handed_over, measure
from .status import STATUS_FIELDS, PanelState, status_of

if TYPE_CHECKING:
    from .panel import Panel

HOST_WIDGETS: Mapping[str, str] = {
    "width": "{tab}_width", "height": "{tab}_height", "steps": "{tab}_steps",
    "cfg": "{tab}_cfg_scale", "sampler": "{tab}_sampling", "scheduler": "{tab}_scheduler",
    "denoise": "{tab}_denoising_strength", "hires": "{tab}_hr-checkbox", "hires_scale": "{tab}_hr_scale"}
"""The host's widgets that the helpers read and set, and their `elem_id`s; a host may lack any of them."""

SLIDERS = ("cfg", "denoise", "width", "height", "hires_scale")
SETTABLE = ("width", "height", "steps", "cfg", "sampler", "scheduler", "denoise")
FOLLOWED = ("mode", "keep_background", "start", "light", "stage")
"""the settings that tell what is wanted, and whether a background is needed for it"""
CUT_FIELDS = ("matting", *(field.name for field in FIELDS if field.group == "matting"))
"""the settings that the cut-out is made by"""


def join(panel: Panel) -> None:
    """Join the panel's own widgets to each other."""
    fields = panel.fields
    kept = [fields[name] for name in ("mode", "keep_background", "preserve_color", "preserve_detail", "stage")]

    def want(chosen: str, mode: str, keep: bool, color: float, detail: float, stage: str) -> list[Any]:
        return list(helpers.settings_for(chosen, mode, color, detail, stage).values())

    on_server(panel.want.input, want, [panel.want, *kept], kept)
    on_any([fields[name].change for name in FOLLOWED], _follow, [fields[name] for name in FOLLOWED],
           [panel.want, fields["background"], fields["background_flip"]])

    # The editor's light comes in through a hidden button, and changes from elsewhere are told to the editor.
    in_browser(panel.light_bridge.click, f"() => window.iclight.editor.take('{panel.tab}')", outputs=[fields["light"]])
    in_browser(fields["light"].change, f"(light) => {{ window.iclight?.editor?.show('{panel.tab}', light); }}",
               inputs=[fields["light"]])

    if panel.tab == "img2img":
        on_server(panel.another.change, _another, [panel.another, fields["foreground"]], [fields["foreground"]])
    if panel.tab == "txt2img":
        # What the browser hands over comes in the place of the note's text: any widget with a text would do.
        on_server(panel.copy.click, _copied, [panel.note], [fields["foreground"]],
                  script="() => window.iclight.page.img2imgPicture()")
    others = [field for field in FIELDS if field.name != "enabled"]
    shown = [panel.another] if panel.tab == "img2img" else []
    on_server(panel.reset.click, lambda: ["", *(_default(field) for field in others), *(False for _ in shown)], [],
              [panel.note, *(fields[field.name] for field in others), *shown])


def connect(panel: Panel, tab_widgets: Mapping[str, Any], opened: Sequence[Callable[..., Any]]) -> None:
    """Join the panel to the tab's other widgets; see `Panel.connect`."""
    fields, session = panel.fields, panel.session
    host = {name: tab_widgets[elem_id.format(tab=panel.tab)] for name, elem_id in HOST_WIDGETS.items()
            if elem_id.format(tab=panel.tab) in tab_widgets}
    names = (*STATUS_FIELDS, *host)
    widgets = [panel.foreground_info, fields["background"], fields["light_map"], fields["mask"],
               *(fields[name] for name in STATUS_FIELDS), *host.values()]

    backgrounds = Backgrounds()

    def state_of(foreground: ForegroundInfo | None, background: PictureValue, light_map: Any, mask: Any,
                 *values: Any) -> PanelState:
        named = dict(zip(names, values, strict=True))
        return PanelState(foreground, background is not None, light_map is not None, mask is not None, named,
                          backgrounds.light(background, named["background_flip"])
                          if background is not None and named["light"] == FROM_BACKGROUND else None)

    def status(state: PanelState) -> str:
        return status_of(state, panel.tab, session).html()

    # What changes the page says in the same answer what the status then is.
    settable = [name for name in SETTABLE if name in host]

    def recommend(*values: Any) -> list[Any]:
        state = state_of(*values)
        mode = state.values["mode"]
        after = helpers.recommended(mode, panel.tab, state.size, settable, session.native, session.best(mode))
        note = helpers.changes(state.values, after) or texts.NOTHING_TO_CHANGE
        return [markup.note(note), status(state.changed(after)), *(after[name] for name in settable)]

    on_server(panel.recommended.click, recommend, widgets,
              [panel.note, panel.status, *(host[name] for name in settable)])

    def use_size(*values: Any) -> list[Any]:
        state = state_of(*values)
        if state.size is None:
            return [markup.note(texts.NO_FOREGROUND_TO_MEASURE), *[gr.update()] * 3]
        width, height = comfortable_size(*state.size, session.native)
        return [markup.note(f"{width} × {height}"), status(state.changed({"width": width, "height": height})),
                width, height]

    if {"width", "height"} <= set(host):
        on_server(panel.use_size.click, use_size, widgets,
                  [panel.note, panel.status, host["width"], host["height"]])

    def look(*values: Any) -> list[Any]:
        state = state_of(*values)
        return [status(state), *panel.matting_notes.show(state.values["matting"])]

    def measured(foreground: ForegroundInfo | None, *values: Any) -> list[Any]:
        return [foreground, status(state_of(foreground, *values))]

    shown = [panel.status, *panel.matting_notes.shown]
    events = [fields[name].change for name in ("enabled", "background", "light_map", "mask", *STATUS_FIELDS)]
    events += [host[name].release for name in SLIDERS if name in host]
    events += [host["hires"].change] if "hires" in host else []
    on_any(events, look, widgets, shown)
    for event in (*opened, *(cut.then for cut in _join_pictures(panel, measured, widgets[1:]))):
        on_server(event, look, widgets, shown)


def _join_pictures(panel: Panel, measured: Callable[..., list[Any]], widgets: Sequence[Any]) -> list[Any]:
    """Let a new foreground be measured and cut out; the results of the events that cut out.

    measured: of what is known of it and the values of `widgets`, values for `foreground_info` and the status line.
    """
    fields, session = panel.fields, panel.session
    matting = [fields[name] for name in CUT_FIELDS]
    pictures = [fields["foreground"], *([panel.tab_picture] if panel.tab == "img2img" else [])]

    def cut_out(*values: Any) -> tuple[str, ForegroundInfo | None]:
        chosen = dict(zip(CUT_FIELDS, values, strict=False))
        foreground, *of_tab = values[len(CUT_FIELDS):]
        info = measure(foreground, *of_tab)
        if info is None or info.fault:
            return "", info
        try:
            settings = Settings(foreground=of_tab[0].picture if info.of_tab else foreground, **chosen)
            subject = session.subject(settings, whole=False)
            standing = hints.standing_height(subject.alpha)
        except ICLightError as error:
            return markup.fault(str(error)), info
        shown = cutout_preview(subject.cutout(), subject.mask(), (info.width, info.height))
        if subject.is_hazy:
            shown += markup.warning(HALF_TRANSPARENT)
        return shown, info._replace(standing=standing)

    cut = cut_out, [*matting, *pictures], [panel.cutout, panel.foreground_info]

    def dropped(*values: Any) -> list[Any]:
        return measured(measure(*values[:len(pictures)]), *values[len(pictures):])

    on_server(fields["foreground"].change, dropped, [*pictures, *widgets], [panel.foreground_info, panel.status])
    cuts = on_any([widget.change for widget in (fields["foreground"], *matting)], *cut, quick=False)
    if panel.tab == "img2img":
        def taken_over(text: str, foreground: PictureValue, *values: Any) -> list[Any]:
            picture = handed_over(text)
            return [picture, *measured(measure(foreground, picture), *values)]

        # What the browser hands over comes in the place of the note's text: any widget with a text would do.
        # Gradio gives a script the outputs' values too, after the inputs'.
        handed = on_server(panel.tab_bridge.click, taken_over, [panel.note, fields["foreground"], *widgets],
                           [panel.tab_picture, panel.foreground_info, panel.status],
                           script="(note, ...values) => [window.iclight.page.tabPicture(), "
                                  f"...values.slice(0, {1 + len(widgets)})]")
        cuts.append(on_server(handed.then, *cut, quick=False))
    return cuts


def _default(field: Field) -> Any:
    """A field's widget back at its default."""
    return gr.update(value=field.kind.to_json(field.default))


def _another(wanted: bool, foreground: PictureValue) -> Any:
    """Show where to drop another foreground than the tab's picture; put away, it is forgotten."""
    if wanted or foreground is None:
        return gr.update(visible=wanted)
    return gr.update(visible=False, value=None)


def _follow(mode: str, keep_background: bool, start: str, light: Any, stage: str) -> tuple[str, Any, Any]:
    """What they want, and whether a background and its flip are to be seen."""
    needed = mode == "fbc" or start == "background" or light == FROM_BACKGROUND
    return helpers.want_of(mode, keep_background, stage), gr.update(visible=needed), gr.update(visible=needed)


def _copied(data_uri: str) -> Image.Image | None:
    return imaging.load_image(data_uri, "img2img picture") if data_uri else None
