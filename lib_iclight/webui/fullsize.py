"""Results at the photo's own size in a WebUI: what the host has made of a picture by then, and what it stumbles over.

The host composites what an inpainting mask keeps at the frame's size, and pastes what "only masked" made into its
picture by scaling it up. So a result is brought back after that, from the host's picture, with the mask at the photo's
pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from modules import scripts, shared
from modules.processing import StableDiffusionProcessingImg2Img
from PIL import Image

from ..errors import HostError, SettingsError
from ..frame import Frame
from ..fullsize import Painted
from ..job import Relight
from . import frames

HOOK = "postprocess_image_after_composite"
NO_GRID = "No grid is made of pictures at the photo's own size."


def check(p: Any) -> None:
    """Raise HostError where the host has no place for it, SettingsError for a choice of the host's that does not go
    with it."""
    if not hasattr(scripts.Script, HOOK):
        raise HostError("this WebUI has no place for pictures at the photo's own size. Update it, or set the result's "
                        "size to as generated.")
    masked = getattr(p, "image_mask", None) is not None and not getattr(p, "inpaint_full_res", True)
    if masked and any(getattr(shared.opts, name, False) for name in ("return_mask_composite", "save_mask_composite")):
        raise SettingsError("the WebUI's masked composites cannot be made at the photo's own size. Switch them off on "
                            "its Settings page, inpaint only masked, or set the result's size to as generated.")


def brought_back(p: Any, job: Relight, picture: Image.Image, painted: Frame,
                 index: int) -> tuple[Image.Image, Image.Image, Frame]:
    """The host's picture at the photo's size: all that is given back, the part of it that the frame shows, its frame.

    painted: the frame of the last pass. Raises HostError as `frames.of_picture`.
    """
    crop = frames.crop_of(p) if isinstance(p, StableDiffusionProcessingImg2Img) else None
    own = job.full is not None and job.full.photo(index).size
    if crop is not None and picture.size == own:  # pasted by the host
        picture = picture.crop(crop).resize((painted.width, painted.height), Image.Resampling.LANCZOS)
    frame = frames.of_picture(painted, *picture.size)
    mask = _mask(p, crop is not None)
    whole = job.bring_back(picture, frame, index, painted=mask, around=crop is not None and mask is not None).image()
    seen = whole
    if job.full is not None and whole.size != job.full.size(frame, index):
        seen = whole.crop(job.full.box(frame, index))
    return whole, seen, frame


def _mask(p: Any, of_photo: bool) -> Painted | None:
    """What the host lets change, if it keeps the rest: over the photo where only the masked part was painted."""
    mask = getattr(p, "mask_for_overlay", None)
    if mask is None or not getattr(shared.opts, "overlay_inpaint", True) or not getattr(p, "overlay_images", None):
        return None
    return Painted(np.asarray(mask.convert("L")).astype(np.float32) / np.float32(255.0), of_photo)
