"""A result brought back to its photo: the new light on the photo's own pixels, in the frame that the photo filled.

What is subject keeps its pixels and takes on the new light (`preserve.transfer`). What is behind it is the photo
itself where the background is kept, the given picture in the result's light where there is one, and else what the model
painted, scaled up. Both meet at the photo's own alpha. The work goes in bands of rows: beside the photo and the picture
that is made of it only little is held.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from . import imaging
from .cache import LRU
from .frame import Frame, Lie, Pixels, fit
from .imaging.coding import Codes, Planes
from .imaging.enlarge import Axis, Enlarged, Scaled
from .imaging.photo import Photo
from .laid import Laid
from .matting import foreground_color
from .matting.detailed import CLEAR, GRID, Detailed
from .matting.refine import grow
from .preserve import preserve
from .preserve.background import subject_light
from .preserve.compose import Composition, Cut, Rows, eight
from .preserve.planes import FLOOR, LINEAR_OF_CODE, by_bands
from .preserve.transfer import carried_on, light_of
from .settings import Settings

BLEED = 2.0
"""pixels of a 512 pixel picture by which a model's subject may stand out of its alpha: no background is read there"""

class Painted(NamedTuple):
    """What of a photo an inpainting mask lets change, elsewhere it stays as it is."""

    share: NDArray[np.float32]
    """[h, w], 0..1, 1 = may change"""
    of_photo: bool
    """whether it lies over the photo, at any size; else over the frame"""


class Place(NamedTuple):
    """Where a photo lies: `box` (left, top, right, bottom) of it is seen, and lies in the frame as `lie` says."""

    lie: Lie
    box: tuple[int, int, int, int]
    whole: tuple[int, int]
    """width and height of the photo"""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of what is seen."""
        left, top, right, bottom = self.box
        return right - left, bottom - top

    def axes(self) -> tuple[Axis, Axis]:
        """How the seen pixels lie along the frame's sides."""
        (left, top, _, _), (width, height) = self.box, self.size
        return (Axis(width, self.lie.across, left * self.lie.across + self.lie.left),
                Axis(height, self.lie.down, top * self.lie.down + self.lie.top))

    def axes_over(self, width: int, height: int) -> tuple[Axis, Axis]:
        """The same along the sides of a picture of that size that lies over the whole photo."""
        x, y = width / self.whole[0], height / self.whole[1]
        return Axis(self.size[0], x, self.box[0] * x), Axis(self.size[1], y, self.box[1] * y)


def place_of(size: tuple[int, int], worked: tuple[int, int], frame: Frame, laid: Laid) -> Place:
    """Where a photo of `size` lies in a frame that it was laid into at the size `worked` (width, height both)."""
    lie = frame.lie(worked, laid.place).scaled(worked[0] / size[0], worked[1] / size[1])
    return Place(lie, lie.seen(size, frame.width, frame.height), size)


class FullSize:
    """The photos of one job at their own size.

    on: the background picture that the subject is put on, uint8 sRGB [h, w, 3], None: there is none. It is told apart
    from what the model painted, and keeps its own pixels too. depth: bits of what comes back, 8 or 16.
    """

    def __init__(self, settings: Settings, laid: Sequence[Laid], on: Pixels | None, depth: int = 8) -> None:
        self._settings = settings
        self.depth = depth
        self._laid = laid
        self._on = on
        self._photos: LRU[Photo] = LRU(1)  # a photo may take a gigabyte

    def photo(self, index: int) -> Photo:
        """The photo of the subject of that number, with its own colours and depth."""
        return self._photos.get(index % len(self._laid), lambda: self._of(index).subject.photo.with_bits(self.depth))

    def size(self, frame: Frame, index: int = 0) -> tuple[int, int]:
        """Width and height of what comes back of a result in `frame`."""
        return self._place(frame, index).size

    def box(self, frame: Frame, index: int = 0) -> tuple[int, int, int, int]:
        """Which part of the photo that is: left, top, right, bottom."""
        return self._place(frame, index).box

    def alpha(self, frame: Frame, index: int = 0, *, all_of_it: bool = False) -> NDArray[np.float32]:
        """The subject's alpha, float32 [H, W] as it comes back; `all_of_it`: of the whole photo."""
        place, photo = self._place(frame, index), self.photo(index)
        if all_of_it:
            place = place._replace(box=(0, 0, *photo.size))
        cut = self._cut(index, place, photo)
        made = np.empty(place.size[::-1], np.float32)
        codes = self._seen(photo.codes, place)

        def cut_out(rows: slice) -> None:
            made[rows] = cut(rows, eight(codes[rows], photo))

        by_bands(cut_out, made.shape[0])
        return made

    def output(self, name: str, frame: Frame, index: int) -> Image.Image:
        """The whole photo's `cutout` (RGBA) or `mask` (grey), 8-bit sRGB."""
        photo, laid = self.photo(index), self._of(index)
        share = (np.ones(photo.codes.shape[:2], np.float32) if laid.subject.is_whole
                 else self.alpha(frame, index, all_of_it=True))
        mask = np.rint(share * np.float32(255.0)).astype(np.uint8)
        if name == "mask":
            return Image.fromarray(mask)
        place = self._place(frame, index)._replace(box=(0, 0, *photo.size))
        color = np.empty(photo.codes.shape, np.uint8)
        colors = None if laid.subject.is_whole else self._colors(index, place)
        unlit = Enlarged(np.zeros((6, 1, 1), np.float32), *place.axes_over(1, 1))
        work = Composition(photo, photo.codes, photo.codes, unlit, colors=colors)

        def paint(rows: slice) -> None:
            color[rows] = eight(work.front(rows, share[rows]), photo)

        by_bands(paint, len(color))
        rgba = Image.fromarray(color)
        rgba.putalpha(Image.fromarray(mask))
        return rgba

    def bring_back(self, result: Pixels, frame: Frame, index: int = 0, *, backdrop: Pixels | None = None,
                   painted: Painted | None = None, around: bool = False) -> Photo:
        """The photo in the light of `result`, uint8 sRGB [h, w, 3] of `frame`: what the frame shows of it.

        backdrop: as `result`, what of a kept background picture the frame shows. painted: what an inpainting mask lets
        change. around: the rest of the photo comes back as well, as it is. Where nothing changes the codes are exactly
        the photo's.
        """
        s, laid, photo = self._settings, self._of(index), self.photo(index)
        subject, place = laid.subject, self._place(frame, index)
        alpha, color = frame.place(subject.alpha, laid.place), frame.place(subject.color, laid.place)
        if s.preserve_color:
            result = preserve(result, color, alpha, color=s.preserve_color, detail=0.0, detail_radius=s.detail_radius)
        light = Enlarged(np.concatenate(light_of(result, color, alpha, radius=s.detail_radius)), *place.axes())
        parts: dict[str, Any] = {}
        if not subject.is_whole:
            parts = {"cut": self._cut(index, place, photo), "colors": self._colors(index, place)}
            tint = self._tint(result, frame, alpha, color, place) if s.keep_background and s.background_tint else None
            if s.keep_background and self._on is None:
                parts["tint"] = tint
            else:
                parts["behind"] = self._behind(result, frame, alpha, place, backdrop, tint)
        if painted is not None:
            axes = place.axes_over(*painted.share.shape[::-1]) if painted.of_photo else place.axes()
            parts["painted"] = Enlarged(painted.share[None], *axes, "linear")
        left, top, right, bottom = place.box
        if around:
            done = photo.codes.copy()
            made = done[top:bottom, left:right]
        else:
            made = np.empty((bottom - top, right - left, 3), photo.codes.dtype)
            done = made
        work = Composition(photo, self._seen(photo.codes, place), made, light, **parts)
        by_bands(work, made.shape[0])
        return Photo(done, None, photo.encoding, photo.profile, photo.exif)

    def _of(self, index: int) -> Laid:
        return self._laid[index % len(self._laid)]

    def _place(self, frame: Frame, index: int) -> Place:
        laid = self._of(index)
        return place_of(self.photo(index).size, laid.subject.size, frame, laid)

    @staticmethod
    def _seen(values: Codes, place: Place) -> Codes:
        left, top, right, bottom = place.box
        return values[top:bottom, left:right]

    def _cut(self, index: int, place: Place, photo: Photo) -> Cut:
        """The subject's alpha at the photo's pixels: rows, and their 8-bit sRGB -> float32 [rows, width]."""
        laid = self._of(index)
        own = photo.share() if laid.subject.keeps_own_alpha else None
        if own is not None:
            seen = own[place.box[1]:place.box[3], place.box[0]:place.box[2]]
            return lambda rows, rgb: seen[rows]
        mask = laid.subject.own_mask(*photo.size)
        if mask is not None:
            left, top, right, bottom = place.box
            part, hidden = mask[top:bottom, left:right], photo.alpha
            if hidden is None:
                return lambda rows, rgb: part[rows] / np.float32(255.0)
            shown = hidden[top:bottom, left:right]
            most = np.float32(255.0 * np.iinfo(hidden.dtype).max)
            return lambda rows, rgb: part[rows] * shown[rows].astype(np.float32) / most
        alpha = laid.subject.alpha
        axes = place.axes_over(alpha.shape[1], alpha.shape[0])
        return Detailed(laid.subject.original, alpha, *axes, guided=laid.subject.is_cut_by_model)

    def _colors(self, index: int, place: Place) -> Enlarged | None:
        """Estimates of the colours of subject and background, sRGB codes 0..255 [6, ...]; None where the photo's own
        colours are the subject's."""
        subject = self._of(index).subject
        if subject.keeps_own_alpha:
            return None
        width, height = subject.size
        scale = min(1.0, GRID / max(width, height))
        small = max(1, round(width * scale)), max(1, round(height * scale))
        rgb, alpha = imaging.stretch(subject.original, *small), imaging.stretch(subject.alpha, *small)
        both = np.concatenate([foreground_color(rgb, alpha), foreground_color(rgb, 1.0 - alpha)], axis=2)
        planes = np.ascontiguousarray(both.transpose(2, 0, 1), np.float32)
        return Enlarged(planes, *place.axes_over(*small), "linear")

    def _behind(self, result: Pixels, frame: Frame, alpha: NDArray[np.float32], place: Place,
                backdrop: Pixels | None, tint: Enlarged | None) -> Rows:
        """What the subject is put on, linear sRGB."""
        rest = 1.0 - _grown(alpha)
        if self._on is None:
            planes = np.ascontiguousarray(result.transpose(2, 0, 1), np.float32)
            bare = (rest > 1.0 - 2.0 * CLEAR).astype(np.float32)  # mattes of models have a haze everywhere
            planes = carried_on(planes, bare) if bare.any() else planes
            painted = Enlarged(planes, *place.axes(), "lanczos")
            return lambda rows: LINEAR_OF_CODE[np.rint(painted(rows)).clip(0, 255).astype(np.uint8)]
        on, shown = self._on, frame.place(self._on, fit)
        wanted = result if backdrop is None else backdrop
        solid = rest if backdrop is None else np.ones_like(rest)
        light = np.concatenate(light_of(wanted, shown, solid, radius=self._settings.detail_radius))
        lit = None if not light.any() else Enlarged(light, *place.axes())
        lie = frame.lie((on.shape[1], on.shape[0]), fit)
        across, down = place.axes()
        scaled = Scaled(on, Axis(across.pixels, across.scale / lie.across, (across.offset - lie.left) / lie.across),
                        Axis(down.pixels, down.scale / lie.down, (down.offset - lie.top) / lie.down))

        def behind(rows: slice) -> Planes:
            planes: Planes = LINEAR_OF_CODE.take(scaled(rows).transpose(2, 0, 1))
            if lit is not None:
                light = lit(rows)
                planes = (planes + FLOOR) * np.exp(light[:3]) + light[3:] - FLOOR
            return planes if tint is None else planes * np.exp(tint(rows))

        return behind

    def _tint(self, result: Pixels, frame: Frame, alpha: NDArray[np.float32], color: Pixels, place: Place) -> Enlarged:
        """The logarithm of the light that falls on a kept background."""
        light = np.float32(self._settings.background_tint) * subject_light(result, color, alpha)
        x, y = light.shape[2] / frame.width, light.shape[1] / frame.height
        across, down = place.axes()
        return Enlarged(light, Axis(across.pixels, across.scale * x, across.offset * x),
                        Axis(down.pixels, down.scale * y, down.offset * y), "linear")


def _grown(alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """Alpha with all that the model's blur may have made of it."""
    return grow(alpha, max(1.0, BLEED * float(np.sqrt(alpha.size)) / 512.0))
