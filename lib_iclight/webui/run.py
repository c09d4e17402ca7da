"""One relit job inside a WebUI, from the host's hooks to the host's pictures.

Hosts print exceptions of hooks and go on, which would return pictures that were silently not relit. So whatever goes
wrong in a hook is kept, and raised where the host does stop: out of `p.sample`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fastapi import HTTPException
from modules import sd_models, shared
from modules.processing import StableDiffusionProcessingImg2Img
from PIL import Image

from ..errors import CheckpointError, HostError, ICLightError, SettingsError
from ..hosts.base import Applied, Host
from ..imaging import covering
from ..job import LATENT_STRIDE, Frame, Relight, fit, scheduled_steps
from ..panel.workshop import Workshop
from ..settings import FIELDS, Settings

log = logging.getLogger("iclight")
ARGUMENTS = tuple(field.name for field in FIELDS)
"""the order in which the panel's values arrive"""


def show_progress(what: str, done: int, total: int) -> None:
    """Progress on the page, under the picture that is being made."""
    share = f" {100 * done // total}%" if total else ""
    shared.state.textinfo = f"IC-Light: {what}{share}"


def selected_checkpoint() -> Path | None:
    """The file of the checkpoint that the host will use, loaded or not."""
    found = sd_models.get_closet_checkpoint_match(shared.opts.sd_model_checkpoint or "")
    return Path(found.filename) if found is not None else None


@dataclass(frozen=True)
class TabPlacement:
    """Lays the img2img picture into the frame as the tab does: its resize mode, or its inpainting crop."""

    resize_mode: int
    crop: tuple[int, int, int, int] | None

    def __call__(self, pixels: np.ndarray, width: int, height: int) -> np.ndarray:
        """uint8 [H, W, 3] or float32 [H, W] -> the same, [height, width, ...]."""
        if self.crop is not None:
            left, top, right, bottom = self.crop
            return _stretch(pixels[top:bottom, left:right], width, height)
        if self.resize_mode == 1:
            return fit(pixels, width, height)
        if self.resize_mode == 2:
            return _contain(pixels, width, height)
        return _stretch(pixels, width, height)


def _stretch(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    resized = np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))
    return resized.clip(0, 1) if pixels.dtype == np.float32 else resized


def _contain(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Scaled to lie inside the frame, the rest filled by repeating the edge."""
    scale = min(width / pixels.shape[1], height / pixels.shape[0])
    inside = _stretch(pixels, max(1, int(pixels.shape[1] * scale)), max(1, int(pixels.shape[0] * scale)))
    left, top = (width - inside.shape[1]) // 2, (height - inside.shape[0]) // 2
    edges = [(top, height - inside.shape[0] - top), (left, width - inside.shape[1] - left)]
    return np.pad(inside, [*edges, *[(0, 0)] * (pixels.ndim - 2)], mode="edge")


def read_settings(p: Any, args: Iterable[Any]) -> Settings:
    """The job's settings: the API's one object, or the panel's values; X/Y/Z overrides on top."""
    values = list(args)
    if values and isinstance(values[0], dict):
        given = values[0]
        settings = Settings.from_dict(given)
        if given and "enabled" not in given:
            raise SettingsError("the IC-Light object does not say whether to relight. Add \"enabled\": true.")
    else:
        named = dict(zip(ARGUMENTS, values, strict=False))
        settings = Settings.from_dict(named) if named.get("enabled") else Settings()
    overrides = getattr(p, "iclight_overrides", None)
    if overrides and not settings.enabled:
        raise SettingsError("an X/Y/Z axis is one of IC-Light's, but IC-Light is not enabled. Open its panel first.")
    return settings.replace(**overrides) if overrides else settings


class Run:
    """What one job's hooks share. Lives on `p.iclight_run` from `begin` to the end of the job."""

    def __init__(self, p: Any, settings: Settings, workshop: Workshop, host: Host) -> None:
        self.settings = settings
        self._workshop = workshop
        self._host = host
        self._failure: Exception | None = None
        self._applied: dict[bool, Applied] = {}
        self._frame = Frame(p.width, p.height)
        self._job: Relight | None = None
        self._tab_latent: torch.Tensor | None = None
        self._extras: list[tuple[str, Image.Image]] = []

    def check(self, p: Any) -> None:
        """Refuse what can be refused before any work is done, and find (or download) the weights."""
        self._host.check_checkpoint(p.sd_model)
        refiner = getattr(p, "refiner_checkpoint_info", None)
        if refiner is not None and refiner != p.sd_model.sd_checkpoint_info:
            raise CheckpointError("the refiner would swap the relit checkpoint for another one in mid-picture. "
                                  "Switch the refiner off for IC-Light.")
        self._weights = self._workshop.resolve_weights(self.settings.mode, self.settings.weights)

    def prepare(self, p: Any, crop: tuple[int, int, int, int] | None = None) -> None:
        """Load the pictures and cut the foreground out."""
        self.raise_failure()
        is_img2img = isinstance(p, StableDiffusionProcessingImg2Img)
        self._job = Relight(
            self.settings, cutter=self._workshop.cutter, latents=self._workshop.latents,
            tab="img2img" if is_img2img else "txt2img", pictures=p.init_images if is_img2img else (),
            place=TabPlacement(p.resize_mode, crop) if is_img2img else fit, progress=show_progress)
        p.extra_generation_params.update(self.settings.to_infotext())

    def before_sampling(self, p: Any, x: torch.Tensor) -> None:
        """Give the coming pass the offsets, the conditioning and its start. Called again, it does the same again."""
        self.raise_failure()
        if self._job is None:  # img2img on a host without the hook before its pictures are prepared
            self.prepare(p, _crop_of(p))
        assert self._job is not None
        sd_model = p.sd_model
        self._host.check_checkpoint(sd_model)  # the hires pass may have another one
        batch = x.shape[0]
        self._frame = _frame_of(p, x)
        encoder = self._host.encoder(sd_model)
        concat = self._job.concat(encoder, self._frame, batch)
        offsets = self._workshop.offsets.get(self._weights, self._host.layout)
        is_hires = bool(getattr(p, "is_hr_pass", False))
        self._applied[is_hires] = self._host.apply(p, offsets, concat)
        # Matching the result's colours to the original picture would undo the new light.
        p.color_corrections = None
        if is_hires:
            return
        initial = self._job.initial(encoder, self._frame, batch)
        if not isinstance(p, StableDiffusionProcessingImg2Img):
            if initial is not None:
                _start_from_latent(p, initial, self.settings.light_denoise)
        elif initial is not None:
            self._start_tab_from(p, initial)
        elif self._job.start == "noise":
            _start_from_noise(p)

    def finish(self, p: Any, picture: Image.Image, index: int) -> Image.Image:
        """One picture of the host, preserved as asked."""
        assert self._job is not None
        if "raw" in self.settings.outputs:
            self._extras.append(("raw", picture))
        return self._job.finish(picture, self._frame, index)

    def end(self, p: Any, processed: Any) -> None:
        """Add the extra pictures that were asked for, each with an infotext that says what it is."""
        assert self._job is not None
        for name, picture in [*self._job.extras(self._frame), *self._extras]:
            picture = picture.copy()
            text = f"{processed.infotext(p, 0)}, IC-Light output: {name}"
            picture.info["parameters"] = text
            processed.images.append(picture)
            processed.infotexts.append(text)

    def fail(self, p: Any, error: Exception) -> None:
        """Keep the first error, and let no sampler of this job run any more."""
        if self._failure is None:
            self._failure = _for_the_person(p, error)
        sampler = getattr(p, "sampler", None)
        if sampler is not None:
            sampler.sample = sampler.sample_img2img = lambda *args, **kwargs: self.raise_failure()

    def raise_failure(self) -> None:
        """Raise what went wrong in a hook, if anything did."""
        if self._failure is not None:
            raise self._failure

    def check_applied(self, p: Any) -> None:
        """Raise HostError if a pass ran without the conditioning."""
        stopped = shared.state.interrupted or shared.state.skipped
        arrived = bool(self._applied) and all(applied.steps for applied in self._applied.values())
        if not stopped and not arrived:
            raise _for_the_person(p, HostError(
                "the host sampled without IC-Light's conditioning, so the picture would not be relit. Another "
                "extension may have replaced the UNet after IC-Light: switch it off for this job."))
        self._applied.clear()

    def _start_tab_from(self, p: Any, initial: torch.Tensor) -> None:
        """img2img: sample from `initial`. Outside an inpainting mask the tab's latent stays: the host blends it in."""
        if self._tab_latent is None:
            self._tab_latent = p.init_latent
        initial = initial.to(self._tab_latent)
        p.init_latent = initial if p.mask is None else initial * p.nmask + self._tab_latent * p.mask


def begin(p: Any, args: Iterable[Any], workshop: Workshop, host: Host) -> None:
    """The host's `process` hook: read the settings, and take the job on if it is to be relit."""
    _release(p)
    try:
        settings = read_settings(p, args)
    except Exception as error:  # hosts swallow it; it is raised from p.sample
        failed = Run(p, Settings(), workshop, host)
        _take_on(p, failed)
        failed.fail(p, error)
        return
    if not settings.enabled:
        host.release()
        return
    run = Run(p, settings, workshop, host)
    _take_on(p, run)
    with keeping_errors(p, run):
        run.check(p)
        if not isinstance(p, StableDiffusionProcessingImg2Img):
            run.prepare(p)


def run_of(p: Any) -> Run | None:
    """The relit job that `p` is, or None."""
    return getattr(p, "iclight_run", None)


@contextmanager
def keeping_errors(p: Any, run: Run) -> Iterator[None]:
    """Whatever goes wrong inside is kept by the run, and raised out of `p.sample`."""
    try:
        yield
    except Exception as error:
        run.fail(p, error)


def end(p: Any, run: Run, processed: Any) -> None:
    """The host's `postprocess` hook: a job that came through."""
    try:
        run.end(p, processed)
    finally:
        _release(p)


def _for_the_person(p: Any, error: Exception) -> Exception:
    """The error as this job's caller can read it: HTTP 422 over the API, itself on the page."""
    if isinstance(error, ICLightError):
        log.error("%s", error.sentence)
        if getattr(p, "is_api", False):
            return HTTPException(422, error.sentence)
    return error


def _take_on(p: Any, run: Run) -> None:
    """Let every `p.sample` of this job raise what went wrong in a hook, before and after."""
    original = p.sample

    def sample(*args: Any, **kwargs: Any) -> Any:
        if run_of(p) is not run:
            return original(*args, **kwargs)
        run.raise_failure()
        try:
            samples = original(*args, **kwargs)
        except ICLightError as error:  # from a step
            raise _for_the_person(p, error) from error
        run.raise_failure()
        run.check_applied(p)
        return samples

    sample.iclight_replaced = vars(p).get("sample")  # type: ignore[attr-defined]
    p.sample = sample
    p.iclight_run = run


def _release(p: Any) -> None:
    """Undo `_take_on`. A wrapper that someone wrapped again stays, and only passes on."""
    p.iclight_run = None
    ours = vars(p).get("sample")
    if hasattr(ours, "iclight_replaced"):
        del p.sample
        if ours.iclight_replaced is not None:
            p.sample = ours.iclight_replaced


def _crop_of(p: Any) -> tuple[int, int, int, int] | None:
    """img2img: the part of its picture that "only masked" inpaints: left, top, right, bottom."""
    if p.paste_to is None:
        return None
    left, top, width, height = p.paste_to
    return left, top, left + width, top + height


def _original(function: Callable[..., Any]) -> Callable[..., Any]:
    """The host's own method behind our replacement, if it is one of ours."""
    return getattr(function, "iclight_original", function)


def _frame_of(p: Any, x: torch.Tensor) -> Frame:
    """What of the picture the pass over latent `x` [B, 4, h, w] paints. Hires fix may cut or stretch to fit."""
    height, width = (int(side) * LATENT_STRIDE for side in x.shape[2:])
    if not getattr(p, "is_hr_pass", False):  # only txt2img has that, and what follows
        return Frame(width, height)
    if p.truncate_x or p.truncate_y:
        return Frame(width, height, (width + p.truncate_x * LATENT_STRIDE, height + p.truncate_y * LATENT_STRIDE),
                     p.truncate_x // 2 * LATENT_STRIDE, p.truncate_y // 2 * LATENT_STRIDE)
    full = covering((p.width, p.height), width, height)
    if max(full[0] - width, full[1] - height) < LATENT_STRIDE:  # as good as the same aspect
        return Frame(width, height)
    return Frame(width, height, full, stretched=True)


def _start_from_latent(p: Any, initial: torch.Tensor, strength: float) -> None:
    """txt2img: send the coming pass through the sampler's image-to-image path, from `initial` at `strength`."""
    sampler = p.sampler
    original = _original(sampler.sample)

    def sample(p: Any, x: torch.Tensor, conditioning: Any, unconditional_conditioning: Any,
               steps: int | None = None, image_conditioning: Any = None) -> torch.Tensor:
        steps = steps or p.steps
        own_strength = p.denoising_strength  # hires fix's
        # The host schedules int(steps / strength) steps; half a step more makes that the rounded number.
        p.denoising_strength = steps / (scheduled_steps(steps, strength) + 0.5)
        try:
            return sampler.sample_img2img(p, initial.to(x), x, conditioning, unconditional_conditioning,
                                          steps=steps, image_conditioning=image_conditioning)
        finally:
            p.denoising_strength = own_strength

    sample.iclight_original = original  # type: ignore[attr-defined]
    sampler.sample = sample


def _start_from_noise(p: Any) -> None:
    """img2img: start the coming pass from pure noise, as txt2img does."""
    sampler = p.sampler
    original = _original(sampler.sample_img2img)

    def sample_img2img(p: Any, x: torch.Tensor, noise: torch.Tensor, conditioning: Any, unconditional_conditioning: Any,
                       steps: int | None = None, image_conditioning: Any = None) -> torch.Tensor:
        sampler.model_wrap_cfg.init_latent = x  # what an inpainting mask keeps
        return sampler.sample(p, noise, conditioning, unconditional_conditioning, steps=steps,
                              image_conditioning=image_conditioning)

    sample_img2img.iclight_original = original  # type: ignore[attr-defined]
    sampler.sample_img2img = sample_img2img
