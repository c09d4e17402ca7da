"""Where model files are looked for: one list for pages, WebUIs and the command line."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from . import files

WEIGHTS_FOLDERS = ("ic-light", "unet", "diffusion_models")
MATTING_FOLDERS = ("matting", "u2net")
LORA_FOLDERS = ("Lora", "loras")
CHECKPOINT_FOLDERS = ("Stable-diffusion", "checkpoints")
CONTROLNET_FOLDERS = ("ControlNet", "controlnet")


@dataclass(frozen=True)
class Folders:
    """Where model files are looked for, in this order; what is missing is downloaded into the first of its kind."""

    weights: tuple[Path, ...]
    matting: tuple[Path, ...]
    """ahead of rembg's own, ~/.u2net"""
    loras: tuple[Path, ...] = ()
    """of those that prompts name"""
    embeddings: tuple[Path, ...] = ()
    """of textual inversions"""
    checkpoints: tuple[Path, ...] = ()
    """of those that a page offers"""
    controlnets: tuple[Path, ...] = ()
    """likewise"""

    @classmethod
    def under(cls, models: Path | None = None) -> Folders:
        """The folders in a WebUI's `models`; without one in `models` of ICLIGHT_HOME or of the current folder."""
        if models is None:
            models = (files.expanded(os.environ.get("ICLIGHT_HOME") or ".") or Path()) / "models"
        weights, matting, loras, checkpoints, controlnets = (tuple(models / name for name in names) for names in (
            WEIGHTS_FOLDERS, MATTING_FOLDERS, LORA_FOLDERS, CHECKPOINT_FOLDERS, CONTROLNET_FOLDERS))
        # Forge's and A1111's textual inversions lie beside their `models`.
        embeddings = (models / "embeddings", models.parent / "embeddings")
        return cls(weights, matting, loras, embeddings, checkpoints, controlnets)
