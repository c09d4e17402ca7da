"""The light studio's page: the panel, what else a generation needs, and its result.

The widgets around the panel have the `elem_id`s that a WebUI's tab called "studio" would give them, so that the same
scripts and helpers find them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import gradio as gr

from .. import infotext
from ..assets import assets, page_scripts
from ..errors import SettingsError
from ..generation import SAMPLERS
from ..panel import texts
from ..panel.gradio_host import GRADIO_4, image, in_browser, on_server, page_script
from ..panel.markup import fault
from ..panel.panel import Panel
from ..panel.widgets import IMAGE_HEIGHT
from ..settings import from_infotext
from .jobs import CHOSEN, GENERATION, RANGES, Studio
from .models import with_lora

ROOT = assets()
TAB = "studio"
HOUR = 60 * 60
DAY = 24 * HOUR
"""so old, in seconds, files that were uploaded or made are deleted while the page is served; looked at every hour"""
SUITED = ("width", "height", "sampler", "steps", "cfg")
"""what follows the checkpoint when another one is chosen"""
FONTS = ["system-ui", "sans-serif"]
"""the machine's own: Gradio's come from the network"""


def build(studio: Studio) -> gr.Blocks:
    """The page."""
    default = studio.session.suited({}, "fc")
    note = studio.session.note
    intro = f"\n{note[0].upper()}{note[1:]}. {texts.FOR_PHOTOGRAPHS}" if note else ""
    # Gradio 3 keeps all files until the folder goes in the end.
    options = {"delete_cache": (HOUR, DAY)} if GRADIO_4 else {}
    with gr.Blocks(title=texts.STUDIO, css=(ROOT / "style.css").read_text(encoding="utf-8"), analytics_enabled=False,
                   theme=gr.themes.Default(font=FONTS, font_mono=["monospace"]), **options) as page:
        gr.Markdown(f"# {texts.STUDIO}{intro}")
        widgets: dict[str, Any] = {}
        with gr.Row():
            with gr.Column(scale=3):
                _models(studio, widgets)
                widgets["prompt"] = gr.Textbox(default.prompt, label=texts.PROMPT, lines=2, elem_id=f"{TAB}_prompt")
                widgets["negative_prompt"] = gr.Textbox(default.negative_prompt, label=texts.NEGATIVE_PROMPT, lines=1,
                                                        elem_id=f"{TAB}_neg_prompt")
                panel = Panel(TAB, studio.session, always_open, compares=False)
                with gr.Row():
                    widgets["width"] = _slider(texts.WIDTH, "width", "width", default.width)
                    widgets["height"] = _slider(texts.HEIGHT, "height", "height", default.height)
                with gr.Row():
                    widgets["sampler"] = gr.Dropdown(list(SAMPLERS), value=default.sampler, label=texts.SAMPLER,
                                                     elem_id=f"{TAB}_sampling", scale=2, min_width=230)
                    widgets["steps"] = _slider(texts.STEPS, "steps", "steps", default.steps)
                    widgets["cfg"] = _slider(texts.CFG, "cfg", "cfg_scale", default.cfg)
                with gr.Row():
                    widgets["seed"] = gr.Number(-1, label=texts.SEED, precision=0, elem_id=f"{TAB}_seed")
                    widgets["batch"] = _slider(texts.COUNT, "batch", "batch_count", default.batch)
                with gr.Row():
                    widgets["hires_scale"] = _slider(texts.HIRES_SCALE, "hires_scale", "hr_scale", default.hires_scale)
                    widgets["hires_denoise"] = _slider(texts.HIRES_DENOISE, "hires_denoise", "denoising_strength",
                                                       default.hires_denoise)
                with gr.Row():
                    widgets["guidance_end"] = _slider(texts.GUIDANCE_END, "guidance_end", "guidance_end",
                                                      default.guidance_end)
                    widgets["prompt_syntax"] = gr.Dropdown(
                        [(label, name) for name, label in texts.SYNTAX_LABELS.items()], value=default.prompt_syntax,
                        label=texts.PROMPT_SYNTAX, elem_id=f"{TAB}_prompt_syntax")
            with gr.Column(scale=2, elem_id="studio_result"):
                run = gr.Button(texts.GENERATE, variant="primary", elem_id=f"{TAB}_generate")
                problem = gr.HTML(elem_id="studio_fault")
                # Gradio 4 keeps what a function gives it as lossy WebP by itself.
                gallery = gr.Gallery(label=texts.RESULT, elem_id=f"{TAB}_gallery", columns=3, height=200,
                                     object_fit="contain", **({"format": "png"} if GRADIO_4 else {}))
                panel.comparison()
                text = gr.Textbox(label=texts.INFOTEXT, lines=4, elem_id="studio_infotext")
                use = gr.Button(texts.USE_INFOTEXT, size="sm", elem_id="studio_use_infotext")
        panel.connect({widget.elem_id: widget for widget in widgets.values()}, [page.load])
        ordered = [widgets[name] for name in GENERATION]
        chosen = [widgets[name] for name in CHOSEN]
        on_server(widgets["checkpoint"].input, lambda *values: _chosen(studio, *values),
                  [widgets["checkpoint"], panel.fields["mode"]], [widgets[name] for name in SUITED])
        on_server(widgets["lora"].input, lambda prompt, name: (with_lora(prompt or "", name), None),
                  [widgets["prompt"], widgets["lora"]], [widgets["prompt"], widgets["lora"]])

        def generate(*values: Any, progress: Any = gr.Progress()) -> tuple[list[Any], str, str]:  # noqa: B008
            return studio.generate(*values, progress=progress)

        on_server(run.click, generate, [*panel.inputs, *ordered, *chosen], [gallery, text, problem], quick=False)

        def paste(given: str) -> list[Any]:
            try:
                params = infotext.read(given)
                settings = from_infotext(params)
                made = infotext.generation_values(params) if settings["enabled"] else None
            except ValueError:
                made = None
            if made is None:
                return [fault(texts.NO_INFOTEXT),
                        *[gr.update()] * (len(panel.infotext_fields) + len(ordered))]
            pasted = [reader(params) for _, reader in panel.infotext_fields]
            return ["", *(gr.update() if value is None else value for value in pasted),
                    *(made.get(name, gr.update()) for name in GENERATION)]

        on_server(use.click, paste, [text], [problem, *(widget for widget, _ in panel.infotext_fields), *ordered])
        # Gradio's frame hides what overflows it, and in such a frame nothing can stay in sight; see style.css.
        in_browser(page.load, "() => { document.querySelector('.gradio-container').style.overflow = 'clip'; }")
        in_browser(page.load, page_script(page_scripts(ROOT)))
    return page


def _models(studio: Studio, widgets: dict[str, Any]) -> None:
    """What to generate with: the checkpoint, LoRAs, a ControlNet; shown as far as there is a choice."""
    models = studio.models
    with gr.Row():
        widgets["checkpoint"] = gr.Dropdown(models.checkpoints, value=next(iter(models.checkpoints), None),
                                            label=texts.CHECKPOINT, elem_id=f"{TAB}_checkpoint",
                                            visible=len(models.checkpoints) > 1)
        widgets["lora"] = gr.Dropdown(models.loras, value=None, label=texts.ADD_LORA, elem_id=f"{TAB}_lora",
                                      visible=bool(models.loras))
    with gr.Accordion(texts.CONTROLNET, open=False, elem_id=f"{TAB}_control", visible=len(models.controlnets) > 1):
        widgets["controlnet"] = gr.Dropdown(models.controlnets, value=texts.NO_CONTROLNET, label=texts.CONTROLNET,
                                            elem_id=f"{TAB}_controlnet")
        widgets["control_picture"] = image(texts.CONTROL_PICTURE, f"{TAB}_control_picture", IMAGE_HEIGHT)
        widgets["control_strength"] = gr.Slider(0, 2, value=1, step=0.05, label=texts.CONTROL_STRENGTH,
                                                elem_id=f"{TAB}_control_strength")


def _chosen(studio: Studio, name: Any, mode: Any) -> list[Any]:
    try:
        suited = studio.choose(name, mode)
        return [getattr(suited, field) for field in SUITED]
    except SettingsError as error:
        raise gr.Error(error.sentence) from error


def _slider(label: str, name: str, elem_id: str, value: float) -> Any:
    """name: of the `Generation`'s field."""
    least, most, step = RANGES[name]
    return gr.Slider(least, most, value=value, step=step, label=label, elem_id=f"{TAB}_{elem_id}")


@contextmanager
def always_open(value: bool, *, label: str, elem_id: str) -> Iterator[Any]:
    """Where a WebUI has its accordion: here the panel is what the page is for."""
    with gr.Column(elem_id=elem_id, variant="panel"):
        yield gr.Checkbox(True, label=label, visible=False, elem_id=f"{elem_id}-checkbox")
