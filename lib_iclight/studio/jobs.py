"""The studio's jobs: from the values of its page to pictures, one job after the other."""

from __future__ import annotations

import logging
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ..errors import ICLightError, SettingsError
from ..generation import Generation
from ..imaging import read_text
from ..panel import texts
from ..panel.markup import fault, warning
from ..progress import Progress
from ..session import Session
from ..settings import FIELDS, Settings
from ..stage import load

log = logging.getLogger("iclight")
GENERATION = ("prompt", "negative_prompt", "width", "height", "steps", "cfg", "seed", "sampler", "hires_scale",
              "hires_denoise", "batch")
"""the order in which the page's values arrive, after the panel's"""
WHOLE_NUMBERS = ("width", "height", "steps", "seed", "batch")


class Studio:
    """The page's jobs, on one session."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self._stages = tempfile.TemporaryDirectory(prefix="iclight-stages-")
        """light stages live as long as the studio"""

    def generate(self, *values: Any, progress: Any = None) -> tuple[list[Any], str, str]:
        """The page's values -> gallery, infotext, and the error as HTML where there is one."""
        def show(what: str, done: int, total: int) -> None:
            if progress is not None:
                progress((done, total or None), desc=what)

        try:
            settings = Settings(**dict(zip((f.name for f in FIELDS), values, strict=False)) | {"enabled": True})
            pictures, text, warnings = self._made(settings, _generation(values[len(FIELDS):]), show)
        except ICLightError as error:
            log.error("%s", error.sentence)
            return [], "", fault(error.sentence)
        except Exception as error:
            # The page is where this person looks; the console has the rest.
            log.exception("the job failed")
            return [], "", fault(f"{texts.UNEXPECTED} {type(error).__name__}: {error}")
        return pictures, text, "".join(warning(sentence) for sentence in warnings)

    def _made(self, settings: Settings, generation: Generation,
              progress: Progress) -> tuple[list[Image.Image], str, tuple[str, ...]]:
        """The pictures of a relight or of a light stage, the infotext of the first, and what to tell."""
        if settings.stage == "off":
            relit = self.session.relight(settings, generation, progress)
            return [finished.picture for finished in relit.finished], relit.finished[0].text, relit.warnings
        folder = Path(tempfile.mkdtemp(dir=self._stages.name))
        staged = self.session.stage(settings, generation, folder, settings.stage, progress)
        paths = [path for one in staged.folders for path in load(one).paths]
        pictures = [Image.open(path).convert("RGB") for path in paths]
        return [*pictures, *(extra.picture for extra in staged.extras)], read_text(paths[0]), staged.warnings


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
