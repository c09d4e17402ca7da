"""The studio's jobs: from the values of its page to pictures, one job after the other."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from .. import infotext
from ..errors import ICLightError, SettingsError
from ..generation import Generation
from ..hosts.standalone.checkpoint import Checkpoint
from ..hosts.standalone.host import Standalone
from ..hosts.standalone.pocket import SIDE, Pocket
from ..job import Relight
from ..panel import texts
from ..panel.markup import fault
from ..panel.workshop import Workshop
from ..settings import FIELDS, Settings
from ..weights import Layout, Offsets

log = logging.getLogger("iclight")
GENERATION = ("prompt", "negative_prompt", "width", "height", "steps", "cfg", "seed", "sampler", "hires_scale",
              "hires_denoise", "batch")
"""the order in which the page's values arrive, after the panel's"""
WHOLE_NUMBERS = ("width", "height", "steps", "seed", "batch")


class Studio:
    """One checkpoint, loaded when the first picture is asked for, and the page's jobs one after the other."""

    def __init__(self, checkpoint: Checkpoint, workshop: Workshop, device: torch.device) -> None:
        self.checkpoint = checkpoint
        self.workshop = workshop
        self._device = device
        self._host: Standalone | None = None
        self._lock = threading.Lock()

    def generate(self, *values: Any, progress: Any = None) -> tuple[list[Any], str, str]:
        """The page's values -> gallery, infotext, and the error as HTML where there is one."""
        def show(what: str, done: int, total: int) -> None:
            if progress is not None:
                progress((done, total or None), desc=what)

        try:
            settings = Settings(**dict(zip((f.name for f in FIELDS), values, strict=False)) | {"enabled": True})
            generation = _generation(values[len(FIELDS):])
            with self._lock:
                job = Relight(settings, cutter=self.workshop.cutter, latents=self.workshop.latents, progress=show)
                offsets = self.workshop.offsets_for(settings, "diffusers")
                if self._host is None:
                    show("loading the checkpoint", 0, 1)
                    self._host = Standalone(self.checkpoint, device=self._device)
                result = self._host.relight(job, generation, offsets, show)
        except ICLightError as error:
            log.error("%s", error.sentence)
            return [], "", fault(error.sentence)
        except Exception as error:
            # The page is where this person looks; the console has the rest.
            log.exception("the job failed")
            return [], "", fault(f"{texts.UNEXPECTED} {type(error).__name__}: {error}")
        pictures = [relit.picture for relit in result.pictures]
        if "raw" in settings.outputs:
            pictures += [relit.raw for relit in result.pictures]
        pictures += [picture for _, picture in job.extras(result.frame)]
        text = infotext.write(settings.to_infotext(), generation, result.pictures[0].seed, self.checkpoint.name)
        return pictures, text, ""


class PocketWorkshop(Workshop):
    """A workshop for the pocket model, which brings its own offsets."""

    native = SIDE

    def __init__(self, models: Path) -> None:
        super().__init__(models)
        self._brought: dict[str, Offsets] = {}

    def offsets_for(self, settings: Settings, layout: Layout) -> Offsets:
        """The pocket model's own, in diffusers' layout. Raises ICLightError where it has none for the settings."""
        if settings.weights != "auto":
            raise SettingsError("IC-Light's weights do not fit the pocket model. Set weights to auto, or start the "
                                "studio with --checkpoint.")
        if settings.mode not in self._brought:
            self._brought[settings.mode] = Pocket().offsets(settings.mode)
        return self._brought[settings.mode]

    def outlook(self, settings: Settings) -> tuple[bool, list[str]]:
        """Nothing is ever downloaded; what it has no offsets for is told at once."""
        try:
            self.offsets_for(settings, "diffusers")
        except ICLightError as error:
            return True, [str(error)]
        return True, []


def _generation(values: Sequence[Any]) -> Generation:
    """The page's values in the order of `GENERATION`; sliders send whole numbers as they like."""
    named = dict(zip(GENERATION, values, strict=True))
    for name in WHOLE_NUMBERS:
        if not isinstance(named[name], (int, float)) or named[name] != int(named[name]):
            raise SettingsError(f"{name} must be a whole number, not {named[name]!r}.")
        named[name] = int(named[name])
    if named["seed"] < 0:
        named["seed"] = random.SystemRandom().randrange(2**32)
    return Generation(**named)
