"""The studio's jobs: from the values of its page to pictures, one job after the other."""

from __future__ import annotations

import logging
import random
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

from PIL import Image

from ..errors import ICLightError, SettingsError, shown
from ..generation import Generation
from ..imaging import read_text
from ..panel import texts
from ..panel.markup import fault, stages, warning
from ..progress import Progress
from ..session import Session
from ..settings import FIELDS, Settings
from ..stage import load, set_on_page
from .models import Models

log = logging.getLogger("iclight")
GENERATION = ("prompt", "negative_prompt", "width", "height", "steps", "cfg", "seed", "sampler", "hires_scale",
              "hires_denoise", "batch", "guidance_end", "prompt_syntax")
"""the order in which the page's values arrive, after the panel's"""
CHOSEN = ("checkpoint", "controlnet", "control_picture", "control_strength")
"""what comes after those"""
WHOLE_NUMBERS = ("width", "height", "steps", "seed", "batch")
LONGEST_PROMPT = 10_000
"""letters"""


class Range(NamedTuple):
    """What a slider of the page offers, and a job takes."""

    least: float
    most: float
    step: float


RANGES: Mapping[str, Range] = MappingProxyType({
    "width": Range(64, 1024, 8), "height": Range(64, 1024, 8), "steps": Range(1, 100, 1), "cfg": Range(1, 15, 0.5),
    "batch": Range(1, 8, 1), "hires_scale": Range(1, 2, 0.25), "hires_denoise": Range(0.05, 1, 0.05),
    "guidance_end": Range(0, 1, 0.05)})
"""Tighter than a `Generation`'s own: a call made by hand must not keep the page's machine busy for days."""


class StoppedError(ICLightError):
    """The studio is being stopped, and a job with it."""


class Studio:
    """The page's jobs, on one session."""

    def __init__(self, session: Session) -> None:
        self.models = Models(session)
        self.session = session.on(lambda: self.models.chosen)
        self._stages = tempfile.TemporaryDirectory(prefix="iclight-stages-")
        """light stages live as long as the studio"""
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let running and waiting jobs end at their next sign of progress, and take no more."""
        self._stopped.set()

    def choose(self, name: Any, mode: Any) -> Generation:
        """Let the page's notes be about another checkpoint; what suits it in a mode. Raises SettingsError for one that
        is not here."""
        mode = Settings(mode=mode).mode
        self.models.chosen = self.models.checkpoint(name)
        return self.session.suited({}, mode)

    def generate(self, *values: Any, progress: Any = None) -> tuple[list[Any], str, str]:
        """The page's values -> gallery, infotext, and as HTML what is told: errors, warnings, sets for the desk."""
        def show(what: str, done: int, total: int) -> None:
            if self._stopped.is_set():
                raise StoppedError("the studio is being stopped. Start it again.")
            if progress is not None:
                progress((done, total or None), desc=what)

        try:
            first, last = len(FIELDS), len(FIELDS) + len(GENERATION)
            if len(values) != last + len(CHOSEN):
                raise SettingsError(f"a job takes {last + len(CHOSEN)} values, not {len(values)}.")
            generation = _generation(values[first:last])
            settings = Settings(**dict(zip((f.name for f in FIELDS), values, strict=False)) | {"enabled": True})
            pictures, text, warnings, sets = self._made(settings, generation, show, *values[last:])
        except ICLightError as error:
            log.error("%s", error.report)
            return [], "", fault(error.sentence)
        except Exception as error:
            # The page is where this person looks. What the error itself says may name files; the console has it.
            log.exception("the job failed")
            return [], "", fault(f"{texts.UNEXPECTED} {type(error).__name__}.")
        return pictures, text, "".join([*map(warning, warnings), stages(sets) if sets else ""])

    def _made(self, settings: Settings, generation: Generation,
              progress: Progress, name: Any,
              *control: Any) -> tuple[list[Image.Image], str, list[str], list[dict[str, Any]]]:
        """The pictures of a relight or of light stages, the infotext of the first, what to tell, and the sets."""
        checkpoint = self.models.checkpoint(name)
        session = self.session.on(lambda: checkpoint)
        controls, told = self.models.controls(*control)
        if settings.stage == "off":
            relit = session.relight(settings, generation, progress, controls=controls)
            return ([finished.picture for finished in relit.finished], relit.finished[0].text,
                    [*relit.warnings, *told], [])
        folder = Path(tempfile.mkdtemp(dir=self._stages.name))
        staged = session.stage(settings, generation, folder, settings.stage, progress, controls=controls)
        paths: list[Path] = []
        sets = []
        for made in map(load, staged.folders):
            sets.append(set_on_page([(lamp.name, len(paths) + place) for place, lamp in enumerate(made.lamps)],
                                    made.alpha, made.seed or 0))
            paths += made.paths
        pictures = [Image.open(path).convert("RGB") for path in paths]
        return ([*pictures, *(extra.picture for extra in staged.extras)], read_text(paths[0]),
                [*staged.warnings, *told], sets)


def _generation(values: Sequence[Any]) -> Generation:
    """The page's values in the order of `GENERATION`; sliders send whole numbers as they like."""
    named = dict(zip(GENERATION, values, strict=True))
    for name, (least, most, _) in RANGES.items():
        if not _is_number(named[name]) or not least <= named[name] <= most:
            raise SettingsError(f"{name} must be a number from {least:g} to {most:g} on this page, "
                                f"not {shown(named[name])}.")
    for name in WHOLE_NUMBERS:
        if not _is_number(named[name]) or named[name] % 1:  # of infinity and NaN too that is no 0
            raise SettingsError(f"{name} must be a whole number, not {shown(named[name])}.")
        named[name] = int(named[name])
    for name in ("prompt", "negative_prompt"):
        if isinstance(named[name], str) and len(named[name]) > LONGEST_PROMPT:
            raise SettingsError(f"{name} is longer than the {LONGEST_PROMPT} letters that this page takes. Shorten it.")
    if named["seed"] < 0:
        named["seed"] = random.SystemRandom().randrange(2**32)
    return Generation(**named)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
