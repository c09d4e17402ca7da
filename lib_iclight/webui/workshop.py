"""What outlives a job inside a WebUI: folders and the bounded caches."""

from __future__ import annotations

import os
from pathlib import Path

from modules import paths_internal, shared

from ..job import LatentCache
from ..matting import Cutter
from ..weights import OffsetCache, WeightsFile, resolve
from ..weights import find_weights as find_in


class Workshop:
    """Made once by scripts/iclight.py and shared by both tabs. Reads no file until a job asks."""

    def __init__(self) -> None:
        models = Path(paths_internal.models_path)
        self.weights_folders = [models / name for name in ("ic-light", "unet", "diffusion_models")]
        self.matting_folders = [models / name for name in ("matting", "u2net")]
        self.cutter = Cutter(self.matting_folders)
        self.offsets = OffsetCache()
        self.latents = LatentCache()

    def find_weights(self) -> list[WeightsFile]:
        """Every IC-Light file in the weights folders; reads headers."""
        return find_in(self.weights_folders)

    def weights_names(self) -> list[str]:
        """File names in the IC-Light folder, unread: cheap enough for building a page."""
        folder = self.weights_folders[0]
        return sorted(name for name in os.listdir(folder) if name.endswith(".safetensors")) if folder.is_dir() else []

    def resolve_weights(self, mode: str, name: str) -> WeightsFile:
        """The weights file for a job, downloaded first if it is an official one that is missing."""
        return resolve(mode, name, self.weights_folders, show_progress)


def show_progress(what: str, done: int, total: int) -> None:
    """Progress on the page, under the picture that is being made."""
    share = f" {100 * done // total}%" if total else ""
    shared.state.textinfo = f"IC-Light: {what}{share}"
