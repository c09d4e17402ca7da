"""The studio's jobs: from the values of its page to pictures, one job after the other."""

from __future__ import annotations

import logging
import random
from collections.abc import Sequence
from typing import Any

from ..errors import ICLightError, SettingsError
from ..generation import Generation
from ..panel import texts
from ..panel.markup import fault, warning
from ..session import Session
from ..settings import FIELDS, Settings

log = logging.getLogger("iclight")
GENERATION = ("prompt", "negative_prompt", "width", "height", "steps", "cfg", "seed", "sampler", "hires_scale",
              "hires_denoise", "batch")
"""the order in which the page's values arrive, after the panel's"""
WHOLE_NUMBERS = ("width", "height", "steps", "seed", "batch")


class Studio:
    """The page's jobs, on one session."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def generate(self, *values: Any, progress: Any = None) -> tuple[list[Any], str, str]:
        """The page's values -> gallery, infotext, and the error as HTML where there is one."""
        def show(what: str, done: int, total: int) -> None:
            if progress is not None:
                progress((done, total or None), desc=what)

        try:
            settings = Settings(**dict(zip((f.name for f in FIELDS), values, strict=False)) | {"enabled": True})
            made = self.session.relight(settings, _generation(values[len(FIELDS):]), show)
        except ICLightError as error:
            log.error("%s", error.report)
            return [], "", fault(error.sentence)
        except Exception as error:
            # The page is where this person looks; the console has the rest.
            log.exception("the job failed")
            return [], "", fault(f"{texts.UNEXPECTED} {type(error).__name__}: {error}")
        told = "".join(warning(sentence) for sentence in made.warnings)
        return [finished.picture for finished in made.finished], made.finished[0].text, told


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
