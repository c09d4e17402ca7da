"""The studio served until it is stopped: python run.py studio."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path

import torch

from ..errors import ICLightError
from ..hosts.standalone.checkpoint import open_checkpoint
from ..hosts.standalone.host import pick_device
from ..hosts.standalone.pocket import NAME
from ..panel.workshop import Workshop
from .jobs import PocketWorkshop, Studio
from .page import ROOT, build

PORT = 7861


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
        checkpoint = open_checkpoint(NAME if args.checkpoint is None else Path(args.checkpoint))
        workshop = PocketWorkshop if args.checkpoint is None else Workshop
        studio = Studio(checkpoint, workshop(args.models), pick_device(args.device))
    except ICLightError as error:
        parser.error(str(error))
    if checkpoint.threads is not None:
        torch.set_num_threads(checkpoint.threads)
    page = build(studio)
    page.queue().launch(server_name="127.0.0.1", server_port=args.port, inbrowser=args.browser, show_api=False)
    return 0
