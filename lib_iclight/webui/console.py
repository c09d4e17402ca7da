"""What a WebUI's console shows of this extension's log."""

from __future__ import annotations

import logging
import os

from modules import shared

log = logging.getLogger("iclight")


def show_log() -> None:
    """Show the log from INFO on, unless the WebUI was asked for a level of its own.

    Otherwise WebUIs let warnings pass at most, or (Neo) errors.
    """
    asked = getattr(shared.cmd_opts, "loglevel", None) or os.environ.get("SD_WEBUI_LOG_LEVEL")
    if not asked and not log.handlers:
        log.addHandler(logging.StreamHandler())
        log.setLevel(logging.INFO)
        log.propagate = False  # or what the WebUI lets pass would be seen twice
