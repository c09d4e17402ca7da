"""IC-Light's share in one processing of a WebUI: the way from Settings by a job to the host, and back with pictures.

`p` is always the host's processing: one press of Generate or one API call. It samples one or more batches (`n_iter`),
each in one pass, in txt2img with hires fix in two. A `Run` is what the hooks of one such `p` share; its job (a
`Relight`) is made once and serves every batch and pass.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from modules import shared
from modules.processing import StableDiffusionProcessingImg2Img
from PIL import Image

from ..errors import CheckpointError, HostError, ICLightError, StageError
from ..frame import Frame, fit
from ..hosts.base import Applied, Host
from ..hosts.webui.replacing import replace, restore
from ..job import Relight
from ..session import Session
from ..settings import FIELD, Settings
from . import frames, fullsize, starts
from .api import refusal
from .stages import Stages
from .state import show_progress

log = logging.getLogger("iclight")
SAMPLING = ("sample", "sample_img2img")
"""the methods of a host's sampler that start a pass"""
WARNINGS = "IC-Light warnings"
"""the infotext's key; in the API's info it is a list"""


class Run:
    """What the hooks of one relit `p` share. Lives on `p.iclight_run` from `hooks.begin` to the end."""

    def __init__(self, p: Any, settings: Settings, session: Session, host: Host) -> None:
        self.settings = settings
        self._session = session
        self._host = host
        self._failure: Exception | None = None
        self._applied: dict[bool, Applied] = {}
        """by whether it is the hires pass"""
        self._frame = Frame(p.width, p.height)
        """of the last pass"""
        self._job: Relight | None = None
        self._stages: Stages | None = None
        self._tab_latent: torch.Tensor | None = None
        self._grid: bool | None = None
        """whether the host was to make no grid, before that was decided otherwise"""
        self._raw: list[tuple[str, Image.Image]] = []
        self._told: list[str] = []

    def check(self, p: Any) -> None:
        """Refuse what can be refused before any work is done, and find (or download) the weights."""
        self._host.check_checkpoint(p.sd_model)
        refiner = getattr(p, "refiner_checkpoint_info", None)
        if refiner is not None and refiner != p.sd_model.sd_checkpoint_info:
            raise CheckpointError("the refiner would swap the relit checkpoint for another one in mid-picture. "
                                  "Switch the refiner off for IC-Light.")
        if self.settings.size == "original":
            fullsize.check(p)
        self._weights = self._session.resolve_weights(self.settings)

    def prepare(self, p: Any, crop: frames.Crop | None = None) -> Relight:
        """Make the job: load the pictures and cut the foreground out."""
        self.raise_failure()
        is_img2img = isinstance(p, StableDiffusionProcessingImg2Img)
        self._job = Relight(
            self.settings, cutter=self._session.cutter, latents=self._session.latents,
            tab="img2img" if is_img2img else "txt2img", pictures=p.init_images if is_img2img else (),
            place=frames.TabPlacement(p.resize_mode, crop) if is_img2img else fit, progress=show_progress)
        if self.settings.stage != "off":
            self._stages = Stages(self.settings, self._job)
        p.extra_generation_params.update(self._job.infotext())
        self._tell(p, self._job)
        return self._job

    def before_sampling(self, p: Any, x: torch.Tensor) -> None:
        """Give the coming pass the offsets, the conditioning and its start. Called again, it does the same again.

        x: the latent that will be sampled, [B, 4, h, w].
        """
        self.raise_failure()
        # A host without the hook before an img2img tab's pictures are prepared has no job yet.
        job = self._job or self.prepare(p, frames.crop_of(p))
        if self._stages is not None:
            job = self._stages.single(p)
            p.extra_generation_params.update(job.infotext())
        sd_model = p.sd_model
        self._host.check_checkpoint(sd_model)  # the hires pass may have another one
        batch = x.shape[0]
        self._frame = frames.of_pass(p, x)
        encoder = self._host.encoder(sd_model)
        concat = job.concat(encoder, self._frame, batch)
        self._tell(p, job)
        offsets = self._session.map_offsets(self._weights, self._host.layout)
        is_hires = bool(getattr(p, "is_hr_pass", False))
        self._applied[is_hires] = self._host.apply(p, offsets, concat)
        # Matching the result's colours to the original picture would undo the new light.
        p.color_corrections = None
        if is_hires:
            return
        initial = job.initial(encoder, self._frame, batch)
        if not isinstance(p, StableDiffusionProcessingImg2Img):
            if initial is not None:
                starts.from_latent(p, initial, self.settings.light_denoise)
        elif initial is not None:
            if self._tab_latent is None:
                self._tab_latent = p.init_latent
            starts.from_latent_in_tab(p, initial, self._tab_latent)
        elif job.start == "noise":
            starts.from_noise(p)

    def _tell(self, p: Any, job: Relight) -> None:
        """Say on the page, in the log and in the infotext what the job warns of, each once."""
        for sentence in job.warnings:
            self._say(p, sentence)
        if self._told:
            p.extra_generation_params[WARNINGS] = " ".join(self._told)

    def _say(self, p: Any, sentence: str) -> None:
        if sentence not in self._told:
            self._told.append(sentence)
            log.warning("IC-Light: %s", sentence)
            if hasattr(p, "comment"):  # under the result
                p.comment(f"IC-Light: {sentence}")

    def sampled(self, p: Any) -> None:
        """Raise what went wrong in a hook or a pass; HostError if a pass ran to its end without the conditioning.

        Called when the sampling of a batch, in one pass or two, is over.
        """
        self.raise_failure()
        stopped = shared.state.interrupted or shared.state.skipped
        arrived = bool(self._applied) and all(applied.steps for applied in self._applied.values())
        self._applied.clear()
        if not stopped and not arrived:
            raise for_the_person(p, HostError(
                "the host sampled without IC-Light's conditioning, so the picture would not be relit. Another "
                "extension may have replaced the UNet after IC-Light: switch it off for this job."))

    def finish(self, p: Any, picture: Image.Image, index: int) -> Image.Image:
        """One picture of the host, preserved as asked, at its own size.

        index: its place in the batch. Raises HostError if it has another aspect than what was sampled.
        """
        assert self._job is not None, "no picture without a pass, and no pass without a job"
        job = self._job if self._stages is None else self._stages.single(p)
        if "raw" in self.settings.outputs:
            self._raw.append(("raw" if job is self._job else f"{job.settings.light}-raw", picture))
        if job.full is not None or (self._stages is None and not job.changes_result):
            return picture
        frame = frames.of_picture(self._frame, *picture.size)
        finished = job.finish(picture, frame, index)
        if self._stages is not None:
            self._stages.add(p, finished, frame, index)
        return finished

    def bring_back(self, p: Any, picture: Image.Image, index: int) -> Image.Image:
        """One picture of the host, with an inpainting mask's surroundings, at the photo's own size where that is asked
        for. index: its place in the batch."""
        assert self._job is not None, "as of `finish`"
        job = self._job if self._stages is None else self._stages.single(p)
        if job.full is None:
            return picture
        if p.n_iter * p.batch_size > 1 and self._grid is None:
            self._grid, p.do_not_save_grid = p.do_not_save_grid, True
            self._say(p, fullsize.NO_GRID)
        whole, seen, frame = fullsize.brought_back(p, job, picture, self._frame, index)
        if self._stages is not None:
            self._stages.add(p, seen, frame, index)
        return whole

    def end(self, p: Any, processed: Any) -> None:
        """Add the extra pictures that were asked for to the host's, each with an infotext that says what it is."""
        if self._job is None:  # interrupted before its first pass
            return
        if self._grid is not None:
            p.do_not_save_grid = self._grid
        told: dict[str, Any] = {} if self._stages is None else self._stages.on_page(p, processed)
        p.extra_generation_params.pop(None if self._stages is None else FIELD["light"].infotext, None)  # the last one's
        for name, picture in [*self._job.extras(self._frame), *self._raw, *self._of_stages(p)]:
            picture = picture.copy()
            text = f"{processed.infotext(p, 0)}, IC-Light output: {name}"
            picture.info["parameters"] = text
            processed.images.append(picture)
            processed.infotexts.append(text)
        told |= {WARNINGS: self._told} if self._told else {}
        if self._stages is not None:
            told |= self._stages.told
            self._stages.close()
        # From here on only the API's answer is made of it, and what the page keeps in a hidden field.
        processed.extra_generation_params = {**processed.extra_generation_params, **told}

    def _of_stages(self, p: Any) -> list[tuple[str, Image.Image]]:
        """What is asked for of the light stages."""
        try:
            return [] if self._stages is None else list(self._stages.outputs())
        except StageError as error:  # the pictures that there are are to come back
            self._say(p, str(error))
            return []

    @contextmanager
    def keeping_errors(self, p: Any) -> Iterator[None]:
        """Whatever goes wrong inside is kept, and raised where the host stops for it: see `hooks`."""
        try:
            yield
        except Exception as error:
            self.fail(p, error)

    def fail(self, p: Any, error: Exception) -> None:
        """Keep the first error, and let no sampler of this `p` run any more."""
        if self._failure is None:
            self._failure = for_the_person(p, error)
        sampler = getattr(p, "sampler", None)
        for name in SAMPLING if sampler is not None else ():
            replace(sampler, name, lambda *args, **kwargs: self.raise_failure())

    @property
    def failure(self) -> Exception | None:
        """The first error, as the person is told it."""
        return self._failure

    def raise_failure(self) -> None:
        """Raise the first error, if there was one."""
        if self._failure is not None:
            raise self._failure


def let_go_of_sampler(p: Any) -> None:
    """Put back what was replaced on `p.sampler` for a pass: in img2img one object serves every batch."""
    sampler = getattr(p, "sampler", None)
    for name in SAMPLING if sampler is not None else ():
        restore(sampler, name)


def for_the_person(p: Any, error: Exception) -> Exception:
    """The error as this job's caller can read it: itself on the page, one with an HTTP status over the API."""
    if isinstance(error, ICLightError):
        log.error("%s", error.report)
    return refusal(error) if getattr(p, "is_api", False) else error
