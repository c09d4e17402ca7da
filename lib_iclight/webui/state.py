"""What the shared workshop hears from the WebUI, and tells it: the checkpoint in use, and progress on the page."""

from __future__ import annotations

from pathlib import Path

from modules import sd_models, shared


def show_progress(what: str, done: int, total: int) -> None:
    """Progress on the page, under the picture that is being made."""
    share = f" {100 * done // total}%" if total else ""
    shared.state.textinfo = f"IC-Light: {what}{share}"


def selected_checkpoint() -> Path | None:
    """The file of the checkpoint that the host will use, loaded or not."""
    found = sd_models.get_closet_checkpoint_match(shared.opts.sd_model_checkpoint or "")
    return Path(found.filename) if found is not None else None
