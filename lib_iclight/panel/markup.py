"""Short texts as HTML elements of the panel, in the classes that style.css knows."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any


def note(text: str) -> str:
    """Something to know."""
    return f'<p class="iclight-note" role="status">{html.escape(text)}</p>'


def warning(text: str) -> str:
    """What speaks against the job; a reader hears it with the status that it stands in."""
    return f'<p class="iclight-warning">{html.escape(text)}</p>'


def stages(sets: Sequence[Mapping[str, Any]]) -> str:
    """What javascript/ is told of the light stages among a page's results (see `stage.set_on_page`); not seen."""
    return f'<div data-desk="{html.escape(json.dumps(sets))}" hidden></div>'


def fault(text: str) -> str:
    """What went wrong."""
    return f'<p class="iclight-fault" role="alert">{html.escape(text)}</p>'
