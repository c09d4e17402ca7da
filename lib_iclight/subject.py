"""A picture to relight and what of it is foreground: made once, used by previews, jobs, stages and batches."""

from __future__ import annotations

from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import imaging
from .cache import content_key
from .errors import ImageError
from .imaging.photo import Photo, load_photo
from .matting import HAZY, WAY_OUT, Cutout, Refinement, haze
from .progress import Progress, silent
from .settings import Settings

ENOUGH = 1536
"""Side in pixels: a picture is worked on no larger than it takes to cover such a square. Most frames are smaller, and
larger ones ask for more; the same for previews and jobs, so that a cut-out that was seen serves the job too."""

TRANSPARENCY_UNUSED = ("The picture's own transparency is not used: matting is none, so the whole picture is the "
                       "subject.")


HALF_TRANSPARENT = ("The cut-out leaves a large part of the subject's inside half transparent, so what is behind shows "
                    "through. Set mask_solid, or choose another cut-out model.")


class CutsOut(Protocol):
    """Whatever cuts foregrounds out; `matting.Cutter` does, and says what is what."""

    def cut(self, rgb: NDArray[np.uint8], model: str, progress: Progress, *, own: NDArray[np.float32] | None,
            mask: NDArray[np.float32] | None, refinement: Refinement) -> Cutout:
        """uint8 sRGB [H, W, 3] -> the foreground's alpha and colour."""
        ...


class Subject:
    """A picture to relight. It is decoded when first looked at and cut out when first asked for, and kept then.

    source: any picture form, see `imaging.load_image`. enough: width and height that it has to cover, a larger one
    may be reduced to that; None keeps every pixel.
    Properties raise ImageError and MattingError. Arrays are for reading only.
    """

    def __init__(self, source: object, settings: Settings, cutter: CutsOut, progress: Progress = silent, *,
                 enough: tuple[int, int] | None = (ENOUGH, ENOUGH)) -> None:
        self._source = source
        self._settings = settings
        self._cutter = cutter
        self._progress = progress
        self._enough = enough

    @cached_property
    def _decoded(self) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
        return imaging.split_alpha(imaging.load_image(self._source, "foreground", self._enough))

    @property
    def photo(self) -> Photo:
        """The picture with every pixel and bit that its source has; decoded anew each time, for it may be large."""
        return load_photo(self._source, "foreground")

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels, as it is worked on."""
        height, width = self.original.shape[:2]
        return width, height

    @property
    def original(self) -> NDArray[np.uint8]:
        """uint8 sRGB [H, W, 3], the picture as it came."""
        return self._decoded[0]

    @property
    def own_alpha(self) -> NDArray[np.float32] | None:
        """float32 [H, W] in 0..1, the picture's own transparency; None where it is opaque."""
        return self._decoded[1]

    @property
    def is_whole(self) -> bool:
        """Whether the picture is used as it is: nothing of it is cut out."""
        return self._settings.matting == "none" and self._settings.mask is None

    @property
    def is_cut_by_model(self) -> bool:
        """Whether a model cuts it out, not its own transparency and not a mask."""
        s = self._settings
        return s.mask is None and s.matting != "none" and not (s.matting == "auto" and self.own_alpha is not None)

    @property
    def is_hazy(self) -> bool:
        """Whether a model left a large part of its inside half transparent, and nothing is done about it."""
        return self.is_cut_by_model and not self._settings.mask_solid and haze(self.alpha) > HAZY

    @property
    def keeps_own_alpha(self) -> bool:
        """Whether its own transparency is its alpha, unchanged."""
        s = self._settings
        return (s.mask is None and s.matting == "auto" and self.own_alpha is not None
                and self._refinement == Refinement(threshold=s.mask_threshold))

    def own_mask(self, width: int, height: int) -> NDArray[np.uint8] | None:
        """The given mask at a photo's size, uint8 [height, width], 255 = foreground; None where there is none, where it
        is no finer than `alpha`, or where more is done to it than turning it round. Raises ImageError."""
        s = self._settings
        plain = Refinement(invert=s.mask_invert, threshold=s.mask_threshold)
        if s.mask is None or self._refinement != plain:
            return None
        mask = imaging.load_finer_mask(s.mask, width, height, self.size)
        return mask if mask is None or not s.mask_invert else np.subtract(255, mask, out=mask)

    @property
    def _refinement(self) -> Refinement:
        s = self._settings
        return Refinement(invert=s.mask_invert, largest=s.mask_largest, solid=s.mask_solid, contrast=s.mask_contrast,
                          threshold=s.mask_threshold, grow=s.mask_grow, feather=s.mask_feather)

    @cached_property
    def _cut(self) -> Cutout:
        s, rgb, own = self._settings, self.original, self.own_alpha
        if self.is_whole:
            if own is not None and own.max() < 1 / 255:
                raise ImageError("the foreground is fully transparent: there is nothing to relight. "
                                 "Use another picture.")
            return Cutout(np.ones(rgb.shape[:2], np.float32), rgb, content_key(rgb))
        mask = None if s.mask is None else imaging.load_mask(s.mask, rgb.shape[1], rgb.shape[0])
        cutout = self._cutter.cut(rgb, s.matting, self._progress, own=own, mask=mask, refinement=self._refinement)
        if cutout.alpha.max() < 1 / 255:
            raise ImageError("the foreground is fully transparent: there is nothing to relight. "
                             f"Use another picture or another cut-out model. {WAY_OUT}")
        return cutout

    @property
    def alpha(self) -> NDArray[np.float32]:
        """float32 [H, W] in 0..1, 1 = foreground."""
        return self._cut.alpha

    @property
    def color(self) -> NDArray[np.uint8]:
        """uint8 sRGB [H, W, 3], the foreground's own colour, also where it is half transparent."""
        return self._cut.color

    @property
    def key(self) -> str:
        """Names the pixels, alpha included."""
        return self._cut.key

    def cutout(self) -> Image.Image:
        """The foreground as a straight-alpha RGBA picture."""
        return Image.fromarray(np.dstack([self.color, np.round(self.alpha * 255).astype(np.uint8)]), "RGBA")

    def mask(self) -> Image.Image:
        """The alpha as a grey picture."""
        return Image.fromarray(np.round(self.alpha * 255).astype(np.uint8), "L")
