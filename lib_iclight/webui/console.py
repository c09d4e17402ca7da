"""What a WebUI's console shows of this extension's log."""

from __future__ import annotations

import logging

log = logging.getLogger("iclight")


def show_log() -> None:
    """Show the log from INFO on, unless the WebUI was asked for a log of its own (--loglevel).

    By default WebUIs set up no log at all, and Python then shows warnings only.
    """
    if not logging.root.handlers and not log.handlers:
        log.addHandler(logging.StreamHandler())
        log.setLevel(logging.INFO)
