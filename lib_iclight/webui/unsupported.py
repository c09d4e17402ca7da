"""What stands in the panel's place on a WebUI that IC-Light does not fit."""

from __future__ import annotations

from typing import Any

import gradio as gr


def explain(is_img2img: bool, reason: str) -> list[Any]:
    """A closed accordion that says why there is nothing to set. Returns the script's inputs."""
    tab = "img2img" if is_img2img else "txt2img"
    with gr.Accordion("IC-Light (switched off)", open=False, elem_id=f"iclight_{tab}_unsupported"):
        gr.Markdown(reason)
    # One input, for hosts cut an API job's arguments to the number of a script's inputs: a job that asks for
    # relighting must not lose its object, but be refused.
    return [gr.Checkbox(False, visible=False, elem_id=f"iclight_{tab}_enabled")]
