"""What outlives a job on a page: folders, the bounded caches, and what can be told before a job runs."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from ..download import offline
from ..errors import CheckpointError, WeightsError
from ..generation import NATIVE
from ..hosts.standalone.checkpoint import open_checkpoint
from ..job import LatentCache, Relight
from ..matting import Cutter, obstacle
from ..progress import Progress, silent
from ..settings import Settings
from ..subject import Subject
from ..weights import Layout, OffsetCache, Offsets, WeightsFile, find, resolve
from ..weights import find_weights as find_in
from . import texts


class Workshop:
    """Made once for a page and shared by its tabs. Reads no file until a job or the panel asks.

    models: the folder of model folders. progress: hears of downloads and cut-outs.
    checkpoint: tells the file of the checkpoint in use, None when there is none or it is not one file.
    matting_device: tells what cut-out models run on, see `matting.Cutter`.
    """

    native = NATIVE
    """side of the square pictures that the checkpoint was trained on"""

    def __init__(self, models: Path, progress: Progress = silent,
                 checkpoint: Callable[[], Path | None] = lambda: None,
                 matting_device: Callable[[], str] = lambda: "cpu") -> None:
        self.weights_folders = [models / name for name in ("ic-light", "unet", "diffusion_models")]
        self.matting_folders = [models / name for name in ("matting", "u2net")]
        self.cutter = Cutter(self.matting_folders, matting_device)
        self.offsets = OffsetCache()
        self.latents = LatentCache()
        self._progress = progress
        self._checkpoint = checkpoint

    def find_weights(self) -> list[WeightsFile]:
        """Every IC-Light file in the weights folders; reads headers."""
        return find_in(self.weights_folders)

    def weights_names(self) -> list[str]:
        """File names in the IC-Light folder, unread: cheap enough for building a page."""
        folder = self.weights_folders[0]
        return sorted(name for name in os.listdir(folder) if name.endswith(".safetensors")) if folder.is_dir() else []

    def matting_obstacle(self, model: str) -> str:
        """Why no cut-out can be expected of the model, as one sentence, or nothing; cheap."""
        return obstacle(model, self.matting_folders)

    def resolve_weights(self, mode: str, name: str) -> WeightsFile:
        """The weights file for a job, downloaded first if it is an official one that is missing."""
        return resolve(mode, name, self.weights_folders, self._progress)

    def offsets_for(self, settings: Settings, layout: Layout) -> Offsets:
        """The offsets for a job, for UNets of that key layout, downloaded first if they are official and missing."""
        return self.offsets.get(self.resolve_weights(settings.mode, settings.weights), layout)

    def outlook(self, settings: Settings) -> tuple[bool, list[str]]:
        """Whether the weights are on this disk, and what is known to stop a job beside its pictures, in sentences.

        Reads headers only; where the weights are not here, a job would download them.
        """
        ready, faults = False, []
        path = self._checkpoint()
        try:
            if path is not None and path.suffix.casefold() == ".safetensors":
                open_checkpoint(path)
        except CheckpointError as error:
            faults.append(str(error))
        try:
            ready = find(settings.mode, settings.weights, self.weights_folders) is not None
            if not ready and offline():
                faults.append(texts.CANNOT_DOWNLOAD)
        except WeightsError as error:
            faults.append(str(error))
        return ready, faults

    def cut_out(self, settings: Settings) -> Subject:
        """The foreground of the settings, cut out as a job would. Raises ICLightError as a job would."""
        plain = settings.replace(mode="fc", light="none", start="noise", keep_background=False, background=None,
                                 harmonise=0.0)
        return Relight(plain, cutter=self.cutter, latents=self.latents, progress=self._progress).subjects[0]
