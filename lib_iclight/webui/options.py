"""What belongs to the machine and not to a picture: IC-Light's section of the host's Settings page."""

from __future__ import annotations

import gradio as gr
from modules import shared

from ..matting import DEVICES

_DEVICE = "iclight_matting_device"


def add_options() -> None:
    """Add the section; to be called before the host builds its page."""
    shared.opts.add_option(_DEVICE, shared.OptionInfo(
        DEVICES[0], "Run cut-out models on", gr.Radio, {"choices": list(DEVICES)}, section=("iclight", "IC-Light"),
    ).info("gpu needs an onnxruntime with GPU support, such as onnxruntime-gpu; where it fails, the CPU takes over"))


def matting_device() -> str:
    """One of `matting.DEVICES`, as chosen on the Settings page."""
    return getattr(shared.opts, _DEVICE, DEVICES[0])
