"""What the shared session hears from the WebUI, and tells it: the checkpoint in use, and progress on the page."""

from __future__ import annotations

from pathlib import Path

from modules import sd_models, shared

from ..hosts.standalone.checkpoint import Checkpoint, open_checkpoint


def show_progress(what: str, done: int, total: int) -> None:
    """Progress on the page, under the picture that is being made."""
    share = f" {100 * done // total}%" if total else ""
    shared.state.textinfo = f"IC-Light: {what}{share}"


def checkpoint() -> Checkpoint | None:
    """The checkpoint that the host will use, loaded or not, judged by its header; None where that cannot be told.

    Raises CheckpointError for one that cannot be relit with.
    """
    found = sd_models.get_closet_checkpoint_match(shared.opts.sd_model_checkpoint or "")
    path = Path(found.filename) if found is not None else None
    return open_checkpoint(path) if path is not None and path.suffix.casefold() == ".safetensors" else None
