"""Runs the img2img tab's own batch as the page does, for the live cases. Loaded by nothing else."""

from contextlib import closing
from typing import Any

import gradio as gr
from fastapi import Body
from modules import script_callbacks, scripts, shared
from modules.call_queue import queue_lock
from modules.img2img import process_batch
from modules.processing import StableDiffusionProcessingImg2Img


def batch(source: str = Body(), out: str = Body(), iclight: dict[str, Any] = Body(),  # noqa: B008
          job: dict[str, Any] = Body()) -> dict[str, Any]:  # noqa: B008  FastAPI's way
    """Every file of the folder `source` through the tab, into `out`; what it says in the end.

    iclight: the extension's one object. job: the processing's own values.
    """
    runner = scripts.scripts_img2img
    arguments = _defaults(runner)
    own = next(script for script in runner.alwayson_scripts if script.title() == "IC-Light")
    arguments[own.args_from:own.args_to] = [iclight, *[None] * (own.args_to - own.args_from - 1)]
    for script in runner.alwayson_scripts:
        if script.title() == "Sampler":  # the page's steps and sampler, which take the place of the processing's
            arguments[script.args_from:script.args_from + 2] = job["steps"], job["sampler_name"]
    with queue_lock:
        p = StableDiffusionProcessingImg2Img(init_images=[None], outpath_samples=out, outpath_grids=out, **job)
        p.scripts, p.script_args = runner, tuple(arguments)
        shared.state.begin(job="probe_batch")
        try:
            with closing(p):
                done = process_batch(p, source, out, "", p.script_args)
        except Exception as error:  # which the page shows in red
            return {"error": f"{type(error).__name__}: {getattr(error, 'detail', error)}", "infotexts": []}
        finally:
            shared.state.end()
    return {"error": "", "infotexts": list(done.infotexts) if done else []}


def _defaults(runner: Any) -> list[Any]:
    """What the tab's scripts are given on a page that nobody has touched, as the API makes it."""
    arguments: list[Any] = [None] * max([1, *(script.args_to or 0 for script in runner.scripts)])
    arguments[0] = 0
    with gr.Blocks():  # without it their widgets cannot be made
        for script in runner.scripts:
            widgets = script.ui(script.is_img2img)
            if widgets:
                arguments[script.args_from:script.args_to] = [widget.value for widget in widgets]
    return arguments


def add_route(demo: Any, app: Any) -> None:
    app.add_api_route("/probe/batch", batch, methods=["POST"])


script_callbacks.on_app_started(add_route)
