"""The host's hooks, in the order in which it calls them for one `p` (see `run`).

Hosts print exceptions of hooks and go on, which would return pictures that were silently not relit. So whatever goes
wrong in a hook is kept, and raised where the host does stop: out of `p.sample`, and once there are pictures, out of
the first thing that the host does with one (`no_picture`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import Any, NoReturn

import torch
from modules.processing import StableDiffusionProcessingImg2Img
from PIL import Image

from ..errors import ICLightError
from ..hosts.base import Host
from ..hosts.webui.replacing import original, replace, restore
from ..session import Session
from ..settings import Settings
from . import stages
from .request import read_settings
from .run import Run, for_the_person, let_go_of_sampler


def count(p: Any, arguments: Iterable[Any]) -> None:
    """`before_process`: say how many batches a job has. What is wrong with its settings `begin` will tell."""
    with contextlib.suppress(ICLightError):
        stages.multiply(p, read_settings(p, arguments))


def begin(p: Any, arguments: Iterable[Any], session: Session, host: Host) -> None:
    """`process`: read the settings, and take `p` on if it is to be relit."""
    _release(p)
    try:
        settings = read_settings(p, arguments)
    except Exception as error:  # hosts swallow it; it is raised from p.sample
        failed = Run(p, Settings(), session, host)
        _take_on(p, failed)
        failed.fail(p, error)
        return
    if not settings.enabled:
        host.release()
        return
    run = Run(p, settings, session, host)
    _take_on(p, run)
    with run.keeping_errors(p):
        if settings.stage != "off":
            stages.relist(p, settings)
        run.check(p)
        if not isinstance(p, StableDiffusionProcessingImg2Img):
            run.prepare(p)


def prepare(p: Any, images: Any) -> None:
    """`before_process_init_images` (img2img): make the job of the tab's pictures. images: the host's dict on them."""
    if run := run_of(p):
        with run.keeping_errors(p):
            run.prepare(p, images["crop_region"])


def before_sampling(p: Any, x: torch.Tensor) -> None:
    """`process_before_every_sampling`: give the coming pass what it needs. x: its latent, [B, 4, h, w]."""
    if run := run_of(p):
        with run.keeping_errors(p):
            run.before_sampling(p, x)


def finish(p: Any, holder: Any) -> None:
    """`postprocess_image`: preserve what should be. holder: the host's object with a picture as `image`."""
    if run := run_of(p):
        with run.keeping_errors(p):
            holder.image = run.finish(p, holder.image, p.batch_index)
        if run.failure is not None:
            let_go_of_sampler(p)
            holder.image = no_picture(run.failure)


def bring_back(p: Any, holder: Any) -> None:
    """`postprocess_image_after_composite`: the photo's own size. holder: the host's object with a picture as `image`,
    which has an inpainting mask's surroundings by now."""
    if run := run_of(p):
        with run.keeping_errors(p):
            holder.image = run.bring_back(p, holder.image, p.batch_index)
        if run.failure is not None:
            let_go_of_sampler(p)
            holder.image = no_picture(run.failure)


def end(p: Any, processed: Any) -> None:
    """`postprocess`: add the extra pictures to the host's. Not called for a `p` that failed."""
    if run := run_of(p):
        with run.keeping_errors(p):
            run.end(p, processed)
        stages.let_go(p)
        if run.failure is not None:
            processed.images.append(no_picture(run.failure))
        _release(p)


def run_of(p: Any) -> Run | None:
    """What IC-Light has to do with `p`; None if it is not relit."""
    run: Run | None = getattr(p, "iclight_run", None)
    return run


def no_picture(failure: Exception) -> Image.Image:
    """Stands where the host expects a picture that could not be finished: all that is done with it raises `failure`.

    The host saves a picture, writes the infotext into it and encodes it for its client outside of any hook.
    """
    def refuse(picture: object, name: str) -> NoReturn:
        raise failure

    made: Image.Image = type("NoPicture", (Image.Image,), {
        "__init__": lambda picture: None, "__getattribute__": refuse})()
    return made


def _take_on(p: Any, run: Run) -> None:
    """Let every `p.sample` raise what went wrong in a hook, before and after."""
    own = original(p, "sample")

    def sample(*args: Any, **kwargs: Any) -> Any:
        if run_of(p) is not run:
            return own(*args, **kwargs)
        try:
            run.raise_failure()
            samples = own(*args, **kwargs)
        except ICLightError as error:  # from a step
            if error is run.failure:
                raise
            raise for_the_person(p, error) from error
        finally:
            let_go_of_sampler(p)
        run.sampled(p)
        return samples

    replace(p, "sample", sample)
    p.iclight_run = run


def _release(p: Any) -> None:
    """Undo `_take_on`. A wrapper that another extension has wrapped again stays, and only passes on."""
    p.iclight_run = None
    restore(p, "sample")
    let_go_of_sampler(p)
