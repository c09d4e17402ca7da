"""Cut-outs: from a picture to the foreground's alpha and its own colours.

Alpha is a float32 array [H, W] in 0..1, 1 = foreground. Nothing is read, downloaded or imported before it is needed.
"""

from __future__ import annotations

from .foreground import blur_fusion, foreground_color
from .refine import HAZY, Refinement, haze, refine
from .registry import DEFAULT, MODELS, WAY_OUT, Model, is_as_released, located, model_names, obstacle
from .runner import DEVICES, Cutout, Cutter

__all__ = ["DEFAULT", "DEVICES", "HAZY", "MODELS", "WAY_OUT", "Cutout", "Cutter", "Model", "Refinement",
           "blur_fusion", "foreground_color", "haze", "is_as_released", "located", "model_names", "obstacle", "refine"]
