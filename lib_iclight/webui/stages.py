"""Light stages in a WebUI: one of the host's batches for each single light, and a folder for each set.

With V batches of B pictures asked for and L lights, the host samples V * L batches: first all lights of the first
batch, then those of the next. So picture i of batch n is under light n % L, and belongs to the set of number
(n // L) * B + i, whose prompt and seed are what the host would have given a single picture of that number.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from modules import shared
from numpy.typing import NDArray
from PIL import Image

from ..errors import HostError, SettingsError, StageError
from ..frame import Frame
from ..job import Relight
from ..session import UNMIXED
from ..settings import STAGE_OUTPUTS, STAGES, Settings
from ..stage import StageWriter, outputs_of, rig, set_on_page

log = logging.getLogger("iclight")
LISTS = ("all_prompts", "all_negative_prompts", "all_hr_prompts", "all_hr_negative_prompts", "all_seeds",
         "all_subseeds")
"""the host's lists with an entry for each picture"""
LIGHTS = "IC-Light stage lights"
FOLDERS = "IC-Light stage folders"
"""keys of the API's info: the results' lights in their order, and the names of the sets' folders"""
DESK = "IC-Light desk"
"""key of what the page's desk is told of the sets, in the place of that info; see `stage.set_on_page`"""
UNFINISHED = "Normals and albedo are not returned of a light stage that was interrupted."


def multiply(p: Any, settings: Settings) -> None:
    """`before_process`: have the host make a batch for each light. It lists prompts and seeds afterwards."""
    let_go(p)  # what a job of this `p` that failed has left
    lights = len(STAGES[settings.stage]) if settings.enabled else 0
    if lights and not getattr(p, "txt2img_upscale", False):
        p.iclight_batches = p.n_iter, p.n_iter * lights
        p.n_iter *= lights


def let_go(p: Any) -> None:
    """Give the host's number of batches back."""
    own, multiplied = getattr(p, "iclight_batches", None) or (0, 0)
    if own and p.n_iter == multiplied:
        p.n_iter = own
    p.iclight_batches = None


def relist(p: Any, settings: Settings) -> None:
    """`process`: give all lights of one set the same prompt and seed. Raises HostError and SettingsError."""
    if getattr(p, "txt2img_upscale", False):
        raise SettingsError("a light stage is made of whole relights, not by upscaling one picture. Turn on Hires. fix "
                            "and generate anew, or set stage to off.")
    if not getattr(p, "iclight_batches", None):
        raise HostError("this WebUI does not tell of a job before it lists its seeds, so it cannot make a light stage. "
                        "Update it, or set stage to off.")
    own, size, lights = p.iclight_batches[0], p.batch_size, len(STAGES[settings.stage])
    for name in LISTS:
        values = list(getattr(p, name, None) or ())[:own * size]
        if values:
            values += values[-1:] * (-len(values) % size)
            setattr(p, name, [value for first in range(0, len(values), size) for _ in range(lights)
                              for value in values[first:first + size]])


class Stages:
    """The sets of one `p`, each in a folder that holds what is made so far."""

    def __init__(self, settings: Settings, job: Relight) -> None:
        self._settings = settings
        self._lights = STAGES[settings.stage]
        self._singles = job.singles
        self._writers: dict[int, StageWriter] = {}
        self._nowhere: TemporaryDirectory[str] | None = None
        self.results: list[str] = []
        """the lights of the pictures that the host was given back, in their order"""
        self._whole: dict[int, list[tuple[str, int]]] = {}
        """of each set's whole pictures the light, and the place in `results`"""
        self._alphas: dict[int, NDArray[np.float32] | None] = {}
        self._seeds: dict[int, int] = {}

    def light(self, p: Any) -> str:
        """The light of the host's batch at hand."""
        return self._lights[int(p.iteration) % len(self._lights)]

    def single(self, p: Any) -> Relight:
        """The job under that light."""
        return self._singles[int(p.iteration) % len(self._lights)]

    def add(self, p: Any, picture: Image.Image, frame: Frame, index: int) -> None:
        """Add a finished picture to its set, unless its pass was cut short. frame: of `picture`.

        index: the picture's place in its batch. Raises StageError.
        """
        self.results.append(self.light(p))
        if shared.state.interrupted or shared.state.skipped:
            return
        number = p.iteration // len(self._lights) * p.batch_size + index
        if number not in self._whole:
            self._seeds[number] = int(p.all_seeds[p.iteration * p.batch_size + index])
            self._alphas[number] = self.single(p).alpha(frame, index)
        self._whole.setdefault(number, []).append((self.light(p), len(self.results) - 1))
        saved = shared.opts.samples_save and not p.do_not_save_samples and p.outpath_samples
        if not saved and not set(STAGE_OUTPUTS) & set(self._settings.outputs):
            return
        if number not in self._writers:
            seed = self._seeds[number]
            folder = self._new_folder(Path(p.outpath_samples) if saved else None, seed)
            self._writers[number] = StageWriter(folder, rig(self._lights), self._alphas[number], self._about(p, index),
                                                seed)
            if saved:
                log.info("The light stage is in %s", folder)
                if hasattr(p, "comment"):  # under the result
                    p.comment(f"IC-Light: the light stage is in {folder.name}, in the output folder.")
        self._writers[number].add(self.light(p), np.asarray(picture.convert("RGB")))

    def outputs(self) -> Iterator[tuple[str, Image.Image]]:
        """What `outputs` asks for of each set: (name, picture). Raises StageError for one that is not whole."""
        if not set(STAGE_OUTPUTS) & set(self._settings.outputs):
            return
        if not self._writers or any(writer.missing for writer in self._writers.values()):
            raise StageError(UNFINISHED)
        for writer in self._writers.values():
            yield from outputs_of(writer.stage(), self._settings.outputs)

    def close(self) -> None:
        """Leave the folders to others; one of a pass that was interrupted is not whole."""
        for writer in self._writers.values():
            writer.close()

    @property
    def told(self) -> dict[str, list[str]]:
        """What the API's info says of the sets."""
        folders = [] if self._nowhere else [writer.folder.name for writer in self._writers.values()]
        return {LIGHTS: self.results, **({FOLDERS: folders} if folders else {})}

    def on_page(self, p: Any, processed: Any) -> dict[str, Any]:
        """What the page's desk is told; empty for an API's client, who has no page. Before pictures of ours are added.

        A grid may come first among the host's pictures, and where an inpainting mask is returned, each is followed by
        as many more.
        """
        first = getattr(processed, "index_of_first_image", 0)
        steps = (len(processed.images) - first) // max(len(self.results), 1)
        if getattr(p, "is_api", False) or not self._whole or not steps:
            return {}
        return {DESK: [set_on_page([(light, first + place * steps) for light, place in whole], self._alphas[number],
                                   self._seeds[number]) for number, whole in sorted(self._whole.items())]}

    def _new_folder(self, parent: Path | None, seed: int) -> Path:
        """A folder that is not there yet; without a `parent` one that goes when the job does."""
        if parent is None:
            self._nowhere = self._nowhere or TemporaryDirectory(prefix="iclight-stage-")
            parent = Path(self._nowhere.name)
        name = f"stage-{time.strftime('%Y%m%d-%H%M%S')}-{seed}"
        names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
        return next(folder for folder in map(parent.joinpath, names) if not folder.exists())

    def _about(self, p: Any, index: int) -> dict[str, Any]:
        place = p.iteration * p.batch_size + index
        relit = {name: value for name, value in self._settings.to_dict().items() if name not in UNMIXED}
        sampled = {"prompt": p.all_prompts[place], "negative_prompt": p.all_negative_prompts[place], "width": p.width,
                   "height": p.height, "steps": p.steps, "cfg": p.cfg_scale, "sampler": p.sampler_name}
        return {**relit, "generation": sampled, "checkpoint": p.sd_model.sd_checkpoint_info.name_for_extra}
