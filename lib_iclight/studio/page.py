"""The panel on a page of its own, over the standalone host: python run.py studio.

The widgets around the panel have the `elem_id`s that a WebUI's tab called "studio" would give them, so that the same
scripts and helpers find them.
"""

from __future__ import annotations

import argparse
import html
import logging
import random
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import torch

from .. import infotext
from ..errors import ICLightError, SettingsError
from ..generation import SAMPLERS, Generation, reference_size
from ..hosts.standalone.checkpoint import Checkpoint, open_checkpoint
from ..hosts.standalone.host import Standalone, pick_device
from ..hosts.standalone.pocket import NOTE, SIDE, Pocket
from ..job import Relight
from ..panel import texts
from ..panel.gradio_host import in_browser, on_server, page_script
from ..panel.panel import Panel
from ..panel.workshop import Workshop
from ..settings import FIELDS, Settings, from_infotext
from ..weights import Layout, Offsets

log = logging.getLogger("iclight")
ROOT = Path(__file__).resolve().parent.parent.parent
TAB = "studio"
PORT = 7861
FONTS = ["system-ui", "sans-serif"]
"""the machine's own: Gradio's come from the network"""
GENERATION = ("prompt", "negative_prompt", "width", "height", "steps", "cfg", "seed", "sampler", "hires_scale",
              "hires_denoise", "batch")
"""the order in which the page's values arrive, after the panel's"""
WHOLE_NUMBERS = ("width", "height", "steps", "seed", "batch")


class Studio:
    """One checkpoint, loaded when the first picture is asked for, and the page's jobs one after the other."""

    def __init__(self, checkpoint: Checkpoint, workshop: Workshop, device: torch.device) -> None:
        self.checkpoint = checkpoint
        self.workshop = workshop
        self._device = device
        self._host: Standalone | None = None
        self._lock = threading.Lock()

    def generate(self, *values: Any, progress: Any = None) -> tuple[list[Any], str, str]:
        """The page's values -> gallery, infotext, and the error as HTML where there is one."""
        def show(what: str, done: int, total: int) -> None:
            if progress is not None:
                progress((done, total or None), desc=what)

        try:
            settings = Settings(**dict(zip((f.name for f in FIELDS), values, strict=False)) | {"enabled": True})
            generation = _generation(values[len(FIELDS):])
            with self._lock:
                job = Relight(settings, cutter=self.workshop.cutter, latents=self.workshop.latents, progress=show)
                offsets = self.workshop.offsets_for(settings, "diffusers")
                if self._host is None:
                    show("loading the checkpoint", 0, 1)
                    self._host = Standalone(self.checkpoint, device=self._device)
                result = self._host.relight(job, generation, offsets, show)
        except ICLightError as error:
            log.error("%s", error.sentence)
            return [], "", _fault(error.sentence)
        except Exception as error:
            # The page is where this person looks; the console has the rest.
            log.exception("the job failed")
            return [], "", _fault(f"{texts.UNEXPECTED} {type(error).__name__}: {error}")
        pictures = [relit.picture for relit in result.pictures]
        if "raw" in settings.outputs:
            pictures += [relit.raw for relit in result.pictures]
        pictures += [picture for _, picture in job.extras(result.frame)]
        text = infotext.write(settings.to_infotext(), generation, result.pictures[0].seed, self.checkpoint.name)
        return pictures, text, ""


class PocketWorkshop(Workshop):
    """A workshop for the pocket model, which brings its own offsets."""

    native = SIDE

    def __init__(self, models: Path) -> None:
        super().__init__(models)
        self._brought: dict[str, Offsets] = {}

    def offsets_for(self, settings: Settings, layout: Layout) -> Offsets:
        """The pocket model's own, in diffusers' layout. Raises ICLightError where it has none for the settings."""
        if settings.weights != "auto":
            raise SettingsError("IC-Light's weights do not fit the pocket model. Set weights to auto, or start the "
                                "studio with --checkpoint.")
        if settings.mode not in self._brought:
            self._brought[settings.mode] = Pocket().offsets(settings.mode)
        return self._brought[settings.mode]

    def outlook(self, settings: Settings) -> tuple[bool, list[str]]:
        """Nothing is ever downloaded; what it has no offsets for is told at once."""
        try:
            self.offsets_for(settings, "diffusers")
        except ICLightError as error:
            return True, [str(error)]
        return True, []


def _generation(values: Sequence[Any]) -> Generation:
    """The page's values in the order of `GENERATION`; sliders send whole numbers as they like."""
    named = dict(zip(GENERATION, values, strict=True))
    for name in WHOLE_NUMBERS:
        if not isinstance(named[name], (int, float)) or named[name] != int(named[name]):
            raise SettingsError(f"{name} must be a whole number, not {named[name]!r}.")
        named[name] = int(named[name])
    if named["seed"] < 0:
        named["seed"] = random.SystemRandom().randrange(2**32)
    return Generation(**named)


def _fault(sentence: str) -> str:
    return f'<p class="iclight-fault" role="alert">{html.escape(sentence)}</p>'


def build(studio: Studio) -> gr.Blocks:
    """The page."""
    default = Generation()
    width, height = reference_size("fc", studio.workshop.native)
    intro = f"\n{NOTE[0].upper()}{NOTE[1:]}. {texts.FOR_PHOTOGRAPHS}" if isinstance(studio.checkpoint, Pocket) else ""
    with gr.Blocks(title=texts.STUDIO, css=(ROOT / "style.css").read_text(encoding="utf-8"),
                   analytics_enabled=False, theme=gr.themes.Default(font=FONTS, font_mono=["monospace"])) as page:
        gr.Markdown(f"# {texts.STUDIO}{intro}")
        widgets: dict[str, Any] = {}
        with gr.Row():
            with gr.Column(scale=3):
                widgets["prompt"] = gr.Textbox(default.prompt, label=texts.PROMPT, lines=2, elem_id=f"{TAB}_prompt")
                widgets["negative_prompt"] = gr.Textbox(default.negative_prompt, label=texts.NEGATIVE_PROMPT, lines=1,
                                                        elem_id=f"{TAB}_neg_prompt")
                panel = Panel(TAB, studio.workshop, _always_open, compares=False)
                with gr.Row():
                    widgets["width"] = _slider(texts.WIDTH, "width", 64, 1024, 8, width)
                    widgets["height"] = _slider(texts.HEIGHT, "height", 64, 1024, 8, height)
                with gr.Row():
                    widgets["sampler"] = gr.Dropdown(list(SAMPLERS), value=default.sampler, label=texts.SAMPLER,
                                                     elem_id=f"{TAB}_sampling", scale=2, min_width=230)
                    widgets["steps"] = _slider(texts.STEPS, "steps", 1, 100, 1, default.steps)
                    widgets["cfg"] = _slider(texts.CFG, "cfg_scale", 1, 15, 0.5, default.cfg)
                with gr.Row():
                    widgets["seed"] = gr.Number(-1, label=texts.SEED, precision=0, elem_id=f"{TAB}_seed")
                    widgets["batch"] = _slider(texts.COUNT, "batch_count", 1, 8, 1, default.batch)
                with gr.Row():
                    widgets["hires_scale"] = _slider(texts.HIRES_SCALE, "hr_scale", 1, 2, 0.25, default.hires_scale)
                    widgets["hires_denoise"] = _slider(texts.HIRES_DENOISE, "denoising_strength", 0.05, 1, 0.05,
                                                       default.hires_denoise)
            with gr.Column(scale=2, elem_id="studio_result"):
                run = gr.Button(texts.GENERATE, variant="primary", elem_id=f"{TAB}_generate")
                fault = gr.HTML(elem_id="studio_fault")
                gallery = gr.Gallery(label=texts.RESULT, elem_id=f"{TAB}_gallery", columns=3, height=200,
                                     object_fit="contain")
                panel.comparison()
                text = gr.Textbox(label=texts.INFOTEXT, lines=4, elem_id="studio_infotext")
                use = gr.Button(texts.USE_INFOTEXT, size="sm", elem_id="studio_use_infotext")
        panel.connect({widget.elem_id: widget for widget in widgets.values()}, [page.load])
        ordered = [widgets[name] for name in GENERATION]

        def generate(*values: Any, progress: Any = gr.Progress()) -> tuple[list[Any], str, str]:  # noqa: B008
            return studio.generate(*values, progress=progress)

        on_server(run.click, generate, [*panel.inputs, *ordered], [gallery, text, fault], quick=False)

        def paste(given: str) -> list[Any]:
            try:
                params = infotext.read(given)
                settings = from_infotext(params)
                made = infotext.generation_values(params) if settings["enabled"] else None
            except ValueError:
                made = None
            if made is None:
                return [_fault(texts.NO_INFOTEXT),
                        *[gr.update()] * (len(panel.infotext_fields) + len(ordered))]
            pasted = [reader(params) for _, reader in panel.infotext_fields]
            return ["", *(gr.update() if value is None else value for value in pasted),
                    *(made.get(name, gr.update()) for name in GENERATION)]

        on_server(use.click, paste, [text], [fault, *(widget for widget, _ in panel.infotext_fields), *ordered])
        # Gradio's frame hides what overflows it, and in such a frame nothing can stay in sight; see style.css.
        in_browser(page.load, "() => { document.querySelector('.gradio-container').style.overflow = 'clip'; }")
        in_browser(page.load, page_script(sorted((ROOT / "javascript").glob("*.js"))))
    return page


def _slider(label: str, name: str, least: float, most: float, step: float, value: float) -> Any:
    return gr.Slider(least, most, value=value, step=step, label=label, elem_id=f"{TAB}_{name}")


@contextmanager
def _always_open(value: bool, *, label: str, elem_id: str) -> Iterator[Any]:
    """Where a WebUI has its accordion: here the panel is what the page is for."""
    with gr.Column(elem_id=elem_id, variant="panel"):
        yield gr.Checkbox(True, label=label, visible=False, elem_id=f"{elem_id}-checkbox")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve the page until it is stopped."""
    parser = argparse.ArgumentParser(prog="python run.py studio", description="The light studio in the browser.")
    parser.add_argument("--checkpoint", metavar="PATH", help="an SD 1.5 .safetensors file or a diffusers folder "
                        "(default: the pocket model, which needs no download)")
    parser.add_argument("--models", type=Path, default=ROOT / "models", metavar="FOLDER",
                        help="holds ic-light/ and matting/; what is missing is downloaded there (default: models)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    parser.add_argument("--port", type=int, default=PORT, help=f"of the page (default: {PORT})")
    parser.add_argument("--browser", action="store_true", help="open the page in the browser")
    args = parser.parse_args(argv)
    logging.basicConfig(format="%(message)s")
    try:
        checkpoint: Checkpoint = Pocket() if args.checkpoint is None else open_checkpoint(Path(args.checkpoint))
        workshop = PocketWorkshop if args.checkpoint is None else Workshop
        studio = Studio(checkpoint, workshop(args.models), pick_device(args.device))
    except ICLightError as error:
        parser.error(str(error))
    if isinstance(checkpoint, Pocket):
        torch.set_num_threads(1)  # it is so small that threads waiting for each other cost more than they bring
    page = build(studio)
    page.queue().launch(server_name="127.0.0.1", server_port=args.port, inbrowser=args.browser, show_api=False)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
