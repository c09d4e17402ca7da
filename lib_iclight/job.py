"""One relight job: subjects in, conditioning for the host, finished pictures out. Knows no host.

Everything that belongs to one job lives in a `Relight`; what may outlive it (cut-outs, latents) is in the caches that
are handed in.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from PIL import Image

from . import imaging, preserve
from .cache import LRU, content_key
from .effects import check_background, idle, is_lit, looks_for_light, start_of
from .errors import ImageError, SettingsError
from .frame import Frame, Pixels, Place, fit
from .fullsize import FullSize, Painted
from .imaging.photo import Photo
from .laid import Laid, load_background
from .lightfrom import light_in
from .lights import broad_light, light_map
from .preserve.harmonise import harmonise
from .progress import Progress, silent
from .settings import FIELD, STAGE_OUTPUTS, STAGES, Settings
from .subject import ENOUGH, HALF_TRANSPARENT, TRANSPARENCY_UNUSED, CutsOut, Subject

NO_LIGHT_MAP = "The light map is not returned: there is no light."
NO_STAGE = "Normals and albedo are not returned: they are made of a light stage, and stage is off."
DRAWN_WHITE = 224
"""the brightest value of a light that is drawn as a background, see `lights.light_map`"""


def scheduled_steps(steps: int, strength: float) -> int:
    """How many steps an image-to-image pass schedules so that `steps` are really run (reference demo: round(s / d))."""
    return max(steps, round(steps / strength))


@dataclass(frozen=True)
class Encoder:
    """A host's VAE, as the job sees it.

    key: names the VAE by its content, so that latents can be cached across jobs and checkpoints.
    encode: uint8 sRGB [H, W, 3] (H, W multiples of 8) -> float32 [1, 4, H/8, W/8] on the CPU: the posterior's mode of
        `imaging.to_vae(pixels)` times the scaling factor.
    """

    key: str
    encode: Callable[[Pixels], torch.Tensor]


class LatentCache(LRU[torch.Tensor]):
    """Latents by what they were made from.

    A latent of a 1024 x 1024 picture takes 256 KB, so the default keeps at most some 16 MB.
    """

    def __init__(self, capacity: int = 64) -> None:
        super().__init__(capacity)


class Relight:
    """One relight, from settings and pictures to conditioning and finished pictures.

    `pictures` are the host's own (img2img); they are the foreground where the settings name none, and lie in the frame
    as `place` says. largest: width and height of the largest frame, as far as it is known. depth: bits, 8 or 16, of
    what comes back at the photo's own size.
    Raises an ICLightError for everything that cannot be meant, before any sampling.
    """

    def __init__(self, settings: Settings, *, cutter: CutsOut, latents: LRU[torch.Tensor], tab: str = "txt2img",
                 pictures: Sequence[object] = (), place: Place = fit, largest: tuple[int, int] = (0, 0),
                 progress: Progress = silent, depth: int = 8) -> None:
        self.settings = settings
        self.kind = settings.mode
        self.start = start_of(settings, tab)
        self._idle = idle(settings, tab)
        self.warnings = [found.sentence for found in self._idle]
        """what was given and changes nothing, and what else a person should know of the result, in sentences"""
        if "lightmap" in settings.outputs and not is_lit(settings):
            self._warn(NO_LIGHT_MAP)
        if set(STAGE_OUTPUTS) & set(settings.outputs) and settings.stage == "off":
            self._warn(NO_STAGE)
        self._latents = latents
        self._tab = tab
        sources = [settings.foreground] if settings.foreground is not None else list(pictures)
        if not sources:
            raise ImageError("there is no foreground picture. Drop one into the panel, or send it as `foreground`.")
        # Cheap mistakes first: a cut-out may take seconds.
        check_background(settings)
        self._light_picture = imaging.load_plain(settings.light_map, "light map")
        self._background = load_background(settings)
        self._lights_background = False
        """whether the light is drawn over the background picture"""
        own_place = place
        if settings.foreground is not None:
            own_place = imaging.contain if settings.fit == "contain" else fit
        # Given back, cut-outs are as large as the picture; and of a tab's picture a small part may be enlarged.
        whole = own_place is place is not fit or (
            settings.size != "original" and {"cutout", "mask"} & set(settings.outputs))
        side = max(ENOUGH, *largest)
        enough = None if whole else (side, side)
        self._laid = [self._lay(Subject(source, settings, cutter, progress, enough=enough), own_place)
                      for source in sources]
        if looks_for_light(settings):
            self._find_light()
        on = self._background if self._on_background else None
        self.full = FullSize(settings, self._laid, on, depth) if settings.size == "original" else None
        """brings results back to the photo's own size, where that is asked for: see `bring_back`"""
        self._light: Hashable = (self.settings.light if self._light_picture is None
                                 else (content_key(self._light_picture), settings.light_map_blur))

    @property
    def subjects(self) -> list[Subject]:
        """What is relit: one subject, or one for each picture of an img2img batch."""
        return [laid.subject for laid in self._laid]

    @property
    def content(self) -> str:
        """Names the pixels that the job was given: its subjects, cut out, and its background."""
        return content_key(*(laid.key for laid in self._laid), self._background)

    @property
    def singles(self) -> tuple[Relight, ...]:
        """This job once under each single light of its stage, in their order; itself where there is no stage."""
        return tuple(self.under(light) for light in STAGES[self.settings.stage]) or (self,)

    def under(self, light: str) -> Relight:
        """The same job under another light (a preset), which a background picture is seen in too.

        Subjects, cut-outs, latents and the list of warnings are shared.
        """
        twin = copy.copy(self)
        twin.settings = self.settings.replace(light=light, light_map=None, light_map_blur=0.0)
        twin._light, twin._light_picture, twin._lights_background = light, None, True
        twin._idle = [found for found in self._idle if "light" not in found.names]
        return twin

    def alpha(self, frame: Frame, index: int = 0) -> Pixels | None:
        """The subject's alpha as it lies in the finished picture, float32 [H, W]; None where all of it is subject."""
        laid = self._laid[index % len(self._laid)]
        if self.full is not None:
            return None if laid.subject.is_whole else self.full.alpha(frame, index)
        if laid.subject.is_whole and (self._cuts_back or laid.place is not imaging.contain):
            return None
        alpha = frame.place(laid.subject.alpha, laid.place)
        left, top, right, bottom = (frame.box(laid.subject.size) if self._cuts_back
                                    else (0, 0, frame.width, frame.height))
        return np.ascontiguousarray(alpha[top:bottom, left:right])

    @property
    def channels(self) -> int:
        """Channels of the concat conditioning: 4 for fc and fcon, 8 for fbc."""
        return 8 if self.kind == "fbc" else 4

    @property
    def changes_result(self) -> bool:
        """Whether `finish` gives another picture than the host's."""
        s = self.settings
        return self.full is None and bool(s.preserve_color or s.preserve_detail or s.keep_background or self._cuts_back)

    def infotext(self) -> dict[str, str | float | bool]:
        """What is written into the pictures: the settings that had an effect."""
        without = {FIELD[name].infotext for found in self._idle for name in found.names}
        return {key: value for key, value in self.settings.to_infotext().items() if key not in without}

    def concat(self, encoder: Encoder, frame: Frame, batch: int = 1) -> torch.Tensor:
        """The concat conditioning, float32 [batch, 4 or 8, height/8, width/8]: foreground, for fbc then background.

        Raises ImageError where hardly anything of a foreground is in the frame.
        """
        for warning in filter(None, [laid.crop_warning(frame) for laid in self._laid]):
            self._warn(warning)
        latent = self._of_subjects(encoder, frame, batch, "grey", Laid.on_grey)
        if self.kind != "fbc":
            return latent
        return torch.cat([latent, self._background_latent(encoder, frame).expand_as(latent)], dim=1)

    def initial(self, encoder: Encoder, frame: Frame, batch: int = 1) -> torch.Tensor | None:
        """The initial latent, float32 [batch, 4, height/8, width/8].

        None where the host's own start is meant: noise, or in img2img the tab's picture.
        """
        if self.start == "light":
            key = "light", self._light, self._laid[0].lit(frame)
            return self._latent(encoder, frame, key, lambda: self._map(frame, "fc"), None).expand(batch, -1, -1, -1)
        if self.start == "background":
            return self._background_latent(encoder, frame).expand(batch, -1, -1, -1)
        if self.start == "light+foreground":
            return self._of_subjects(encoder, frame, batch, ("over", self._light, self.settings.start_amount),
                                     lambda laid: laid.over(frame, self._map(frame, "fc"), self.settings.start_amount),
                                     placed=True)
        if self.start == "sketch":
            behind = content_key(self._background) if self.kind == "fbc" and self._background is not None else None
            return self._of_subjects(encoder, frame, batch, ("sketch", self._light, behind),
                                     lambda laid: self._sketched(laid, frame), placed=True)
        if self.start == "image" and self._tab != "img2img":
            return self._of_subjects(encoder, frame, batch, "image", lambda laid: laid.subject.original)
        return None

    def finish(self, picture: Image.Image, frame: Frame, index: int = 0) -> Image.Image:
        """The host's RGB result of `frame` with colour, detail and background preserved as the settings ask.

        With `fit` contain it is cut back to the foreground's own shape, except in img2img, whose tab has a frame of its
        own. The picture itself where nothing is asked, or `bring_back` does it. `index` is its place in the batch.
        """
        if not self.changes_result:
            return picture
        s, laid = self.settings, self._laid[index % len(self._laid)]
        subject = laid.subject
        result = np.asarray(picture.convert("RGB"))
        if s.preserve_color or s.preserve_detail or s.keep_background:
            alpha, color = frame.place(subject.alpha, laid.place), frame.place(subject.color, laid.place)
            result = preserve.preserve(result, color, alpha, color=s.preserve_color, detail=s.preserve_detail,
                                       detail_radius=s.detail_radius, additive=s.detail_mode == "add")
        if s.keep_background:
            if self._on_background:
                assert self._background is not None
                weight = alpha[..., None]
                behind = self._backdrop(self._background, frame)
                original = np.rint(weight * color + (1 - weight) * behind).astype(np.uint8)
            else:
                original = frame.place(subject.original, laid.place)
            result = preserve.restore_background(result, original, alpha, tint=s.background_tint)
        finished = Image.fromarray(result)
        return finished.crop(frame.box(subject.size)) if self._cuts_back else finished

    def bring_back(self, picture: Image.Image, frame: Frame, index: int = 0, *, painted: Painted | None = None,
                   around: bool = False) -> Photo:
        """The host's result of `frame` at the photo's own size, where `full` is; see `FullSize.bring_back`."""
        assert self.full is not None, "only of jobs with size original"
        kept = self.settings.keep_background and self._on_background and self._background is not None
        backdrop = self._backdrop(self._background, frame) if kept and self._background is not None else None
        return self.full.bring_back(np.asarray(picture.convert("RGB")), frame, index, backdrop=backdrop,
                                    painted=painted, around=around)

    @property
    def _cuts_back(self) -> bool:
        """Whether the result is cut back to the foreground's own shape."""
        return self.settings.fit == "contain" and self.settings.foreground is not None and self._tab != "img2img"

    @property
    def _on_background(self) -> bool:
        """Whether the background to keep is the given picture, not the subject's own."""
        return self.kind == "fbc" and self._background is not None

    def extras(self, frame: Frame) -> list[tuple[str, Image.Image]]:
        """The pictures named in `outputs` that do not depend on the result: (name, picture)."""
        made: list[tuple[str, Image.Image]] = []
        for index, subject in enumerate(self.subjects):
            for name in ("cutout", "mask"):
                if name in self.settings.outputs:
                    full = self.full and self.full.output(name, frame, index)
                    made.append((name, full or getattr(subject, name)()))
        if "lightmap" in self.settings.outputs and is_lit(self.settings):
            for single in self.singles:
                name = "lightmap" if single is self else f"{single.settings.light}-lightmap"
                made.append((name, Image.fromarray(single._map(frame, "fc"))))
        return made

    def _find_light(self) -> None:
        """Look the light up in the background, and go on with what was found."""
        assert self._background is not None, "check_background asks for one"
        found = light_in(self._background, self._laid[0].subject, flipped=self.settings.background_flip)
        self.settings = self.settings.replace(light=found.spec)
        self.start = start_of(self.settings, self._tab)
        if not any("light" in told.names for told in self._idle):
            self._warn(found.note)

    def _lay(self, subject: Subject, place: Place) -> Laid:
        """The subject cut out, and as the model is to see it."""
        s = self.settings
        if s.keep_background and not subject.is_whole and subject.own_alpha is not None and not self._on_background:
            raise SettingsError("keep_background puts the subject back on its own picture, but this foreground is "
                                "transparent there. Use the uncut photo, or switch keep_background off.")
        if subject.is_whole and subject.own_alpha is not None:
            self._warn(TRANSPARENCY_UNUSED)
        shown, key = subject.color, subject.key
        if subject.is_hazy:
            self._warn(HALF_TRANSPARENT)
        if self._background is not None and s.harmonise:
            shown = harmonise(shown, subject.alpha, self._background, s.harmonise)
            key = content_key(key, shown)
        return Laid(subject, place, shown, key)

    def _warn(self, sentence: str) -> None:
        if sentence not in self.warnings:
            self.warnings.append(sentence)

    def _of_subjects(self, encoder: Encoder, frame: Frame, batch: int, name: Hashable,
                     pixels: Callable[[Laid], Pixels], placed: bool = False) -> torch.Tensor:
        """The latents [batch, 4, h, w] of something made of each subject; `placed`: at the frame's size already."""
        latents = []
        for laid in (self._laid[i % len(self._laid)] for i in range(batch)):
            key = (name, laid.key, laid.place)
            latents.append(self._latent(encoder, frame, key, partial(pixels, laid), None if placed else laid.place))
        return torch.cat(latents)

    def _background_latent(self, encoder: Encoder, frame: Frame) -> torch.Tensor:
        background, light = self._background, (self._light, self._laid[0].lit(frame))
        if background is None:
            return self._latent(encoder, frame, ("drawn", light), lambda: self._map(frame, "fbc"), None)
        key = content_key(background), light if self._lights_background else None
        return self._latent(encoder, frame, key, lambda: self._backdrop(background, frame), None)

    def _backdrop(self, background: Pixels, frame: Frame) -> Pixels:
        """The background picture as a pass sees it, uint8 [height, width, 3]; in a stage with the light drawn over."""
        behind = frame.place(background, fit)
        return imaging.under_light(behind, self._map(frame, "fbc"), DRAWN_WHITE) if self._lights_background else behind

    def _map(self, frame: Frame, form: Literal["fc", "fbc"]) -> Pixels:
        """uint8 [height, width, 3]: the light map of a pass."""
        def drawn(width: int, height: int) -> Pixels:
            if self._light_picture is not None:
                return broad_light(fit(self._light_picture, width, height), self.settings.light_map_blur)
            made = light_map(self.settings.light, width, height, form)
            assert made is not None, "start_of and check_background ask for a light"
            return made

        # A contained picture's light goes on around it.
        left, top, right, bottom = self._laid[0].lit(frame)
        around = ((top, frame.height - bottom), (left, frame.width - right), (0, 0))
        return np.pad(drawn(right - left, bottom - top), around, mode="edge")

    def _sketched(self, laid: Laid, frame: Frame) -> Pixels:
        """uint8 [height, width, 3]: the sketch of the light over the light map, in fbc over the background picture."""
        background = self._background if self.kind == "fbc" else None
        behind = self._map(frame, "fc") if background is None else frame.place(background, fit)
        return laid.sketched(frame, self.settings.light, behind)

    def _latent(self, encoder: Encoder, frame: Frame, key: Hashable, make: Callable[[], Pixels],
                place: Place | None) -> torch.Tensor:
        """The latent of `make()`, laid into the frame by `place` (None: it is made at the frame's size)."""
        def encode() -> torch.Tensor:
            pixels = make()
            return encoder.encode(np.ascontiguousarray(frame.place(pixels, place) if place else pixels))

        return self._latents.get((encoder.key, frame, key, place), encode)
