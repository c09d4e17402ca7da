"""The front door: a checkpoint, folders and caches, and from them subjects, relights and what can be told beforehand.

The command line, the page of its own, the demo, batches and the evaluation go through a `Session`. A WebUI brings its
own UNet; there a session without a checkpoint to load holds the folders and caches, and its hooks do the sampling.
"""

from __future__ import annotations

import copy
import gc
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import infotext
from .download import offline
from .errors import CheckpointError, SettingsError, WeightsError
from .folders import Folders
from .frame import Frame
from .generation import NATIVE, Generation, suited
from .instant import Instant, instant
from .job import LatentCache, Relight
from .made import Finished, Outlook, Relighting, Staged
from .matting import DEVICES, Cutter, model_names, obstacle
from .preview import Convention
from .progress import Progress, part_of, silent
from .settings import STAGES, Settings
from .subject import Subject
from .weights import Layout, OffsetCache, Offsets, WeightsFile, find, find_weights, resolve, weight_names

if TYPE_CHECKING:
    from .hosts.standalone.checkpoint import Checkpoint
    from .hosts.standalone.controlnet import Control
    from .hosts.standalone.host import Options, Relit, Standalone
    from .hosts.standalone.loras import Lora

POCKET = "pocket"
"""the name of the checkpoint that comes with the program"""
WAITING = "waiting for another job"
"""what a relight's progress hears until its turn comes"""
UNMIXED = ("enabled", "outputs", "light", "light_map_blur")
"""settings that a stage's pictures do not depend on"""
RAW_GONE = "Raw pictures are not returned of lights whose pictures were there already."
CANNOT_DOWNLOAD = "The weights are missing, and downloads are switched off (HF_HUB_OFFLINE)."


class Session:
    """Everything that outlives a job. Reads no file until it is asked for something.

    checkpoint: tells the checkpoint in use, None where there is none that could be told; it may raise CheckpointError.
    device: what a relight runs on, see `hosts.standalone.host.pick_device`. loras: are merged into the checkpoint.
    options: memory and speed.
    progress: hears of downloads and cut-outs. matting_device: tells what cut-out models run on, see `matting.Cutter`.
    Several threads may use one session; relights take turns, for they share one UNet.
    """

    def __init__(self, checkpoint: Callable[[], Checkpoint | None] = lambda: None, *, folders: Folders | None = None,
                 device: str = "auto", loras: Sequence[Lora] = (), progress: Progress = silent,
                 matting_device: Callable[[], str] = lambda: "cpu", options: Options | None = None) -> None:
        self.folders = folders or Folders.under()
        self.cutter = Cutter(self.folders.matting, matting_device)
        self.latents = LatentCache()
        self._offsets = OffsetCache()
        self._checkpoint = checkpoint
        self._device = device
        self._loras = tuple(loras)
        self._options = options
        self._progress = progress
        self._hosts: list[Standalone] = []
        """the loaded checkpoint; one list for this session and all that are `on` another checkpoint"""
        self._turn = threading.Lock()

    @classmethod
    def open(cls, checkpoint: str | Path = POCKET, *, models: Path | None = None, folders: Folders | None = None,
             device: str = "auto", loras: Sequence[Lora] = (), matting_device: str = "cpu",
             progress: Progress = silent, options: Options | None = None) -> Session:
        """A session that relights with a checkpoint: an SD 1.5 file or diffusers folder, or "pocket".

        models: a folder as `Folders.under` takes it; `folders` says more exactly which.
        Raises CheckpointError, HostError for a device that is not here, and SettingsError. Nothing is loaded yet.
        """
        from .hosts.standalone.checkpoint import open_checkpoint
        from .hosts.standalone.host import pick_device

        if matting_device not in DEVICES:
            raise SettingsError(f"the cut-out's device must be {' or '.join(DEVICES)}, not {matting_device!r}.")
        pick_device(device)
        opened = open_checkpoint(checkpoint)
        return cls(lambda: opened, folders=folders or Folders.under(models), device=device, loras=loras,
                   progress=progress, matting_device=lambda: matting_device, options=options)

    def on(self, checkpoint: Callable[[], Checkpoint | None]) -> Session:
        """This session with another checkpoint: folders, caches and turns are shared, and one checkpoint is loaded at a
        time."""
        other = copy.copy(self)
        other._checkpoint = checkpoint
        return other

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The checkpoint in use, None where there is none that can be used."""
        return self._told_checkpoint()

    @property
    def native(self) -> int:
        """Side in pixels of the square pictures that the checkpoint was trained on."""
        checkpoint = self._told_checkpoint()
        return NATIVE if checkpoint is None else checkpoint.native

    def best(self, mode: str) -> Mapping[str, Any]:
        """What the checkpoint is at its best with, see `Checkpoint.best`; nothing where the recommended suits it."""
        checkpoint = self._told_checkpoint()
        return {} if checkpoint is None else checkpoint.best.get(mode, {})

    def suited(self, given: Mapping[str, Any], mode: str, *, picture: tuple[int, int] | None = None) -> Generation:
        """`generation.suited` for the checkpoint: its own side, and what it is at its best with."""
        return suited(given, mode, self.native, picture, self.best(mode))

    @property
    def note(self) -> str:
        """What to know of the checkpoint before its pictures are judged; empty for nothing."""
        checkpoint = self._told_checkpoint()
        return "" if checkpoint is None else checkpoint.note

    def subject(self, settings: Settings, progress: Progress | None = None, *, whole: bool = True) -> Subject:
        """The foreground of the settings, cut out as a job would when its alpha is asked for.

        whole: keep every pixel; else what a job of usual size works on. Raises SettingsError without a foreground; the
        subject's properties raise ImageError and MattingError.
        """
        if settings.foreground is None:
            raise SettingsError("there is no foreground picture. Give one.")
        size = {"enough": None} if whole else {}
        return Subject(settings.foreground, settings, self.cutter, progress or self._progress, **size)

    def preview(self, settings: Settings, progress: Progress | None = None, *, normals: object = None,
                convention: Convention = "auto", side: int | None = None) -> Instant:
        """The settings' foreground under their light at once, sketched without a model; see `instant`.

        side: its longer side in pixels at most; None keeps the photo's own size. Raises as `subject` and `instant`.
        """
        return instant(settings, self.subject(settings, progress), normals=normals, convention=convention, side=side)

    def offsets(self, settings: Settings, layout: Layout = "diffusers", progress: Progress | None = None) -> Offsets:
        """The offsets for a job, for UNets of that key layout: the checkpoint's own, or IC-Light's, left in their file.

        An official file that is missing is downloaded. Raises WeightsError, SettingsError, DownloadError.
        """
        brought = self._brought(settings)
        if brought is not None:
            return brought
        return self._offsets.get(self.resolve_weights(settings, progress), layout, stored=True)

    def map_offsets(self, file: WeightsFile, layout: Layout) -> Offsets:
        """The offsets of a file, for UNets of that key layout; the last few stay open. Raises WeightsError."""
        return self._offsets.get(file, layout)

    def resolve_weights(self, settings: Settings, progress: Progress | None = None) -> WeightsFile:
        """IC-Light's file for a job, downloaded first if it is an official one that is missing."""
        return resolve(settings.mode, settings.weights, self.folders.weights, progress or self._progress)

    def job(self, settings: Settings, generation: Generation, progress: Progress | None = None, *,
            depth: int | None = None) -> Relight:
        """What `relight` and `stage` do before their turn comes: pictures decoded, the foreground cut out.

        To be made in another thread while a picture is sampled. depth: as `relight` has it. Raises ICLightErrors.
        """
        return Relight(settings, cutter=self.cutter, latents=self.latents, largest=generation.size,
                       progress=progress or self._progress, depth=depth or 8)

    def relight(self, settings: Settings, generation: Generation, progress: Progress | None = None, *,
                job: Relight | None = None, controls: Sequence[Control] = (), depth: int | None = None) -> Relighting:
        """Relight the settings' foreground with the session's checkpoint, `generation.batch` times.

        job: what `job` made of the same settings and generation. controls: ControlNets, each with its picture.
        depth: bits, 8 or 16, of the `photo`s of results at the photo's own size; None: they are `picture`s, 8-bit sRGB.

        One relight runs at a time; another thread's waits for its turn, and tells `progress` so now and then (which may
        raise, and so give up). Raises ICLightErrors before any sampling where they can be told then.
        """
        progress = progress or self._progress
        if settings.stage != "off":
            raise SettingsError("a light stage has a picture for each light, and here one is asked for. Use "
                                "Session.stage, or set stage to off.")
        job = job or self.job(settings, generation, progress, depth=depth)
        offsets = self.offsets(settings, progress=progress)
        with self._taking_turn(progress):
            host = self._loaded(progress)
            result = host.relight(job, generation, offsets, progress, controls)
        made = tuple(self._finished(job, generation, result.pictures, depth is not None, controls))
        extras = tuple(Finished(name, 0, picture, f"IC-Light {name}") for name, picture in job.extras(result.frame))
        return Relighting(made + extras, (*generation.warnings(), *job.warnings, *result.told))

    def stage(self, settings: Settings, generation: Generation, folder: Path, rig: str = "8",
              progress: Progress | None = None, *, job: Relight | None = None,
              controls: Sequence[Control] = (), depth: int = 8) -> Staged:
        """Relight the settings' foreground once under each single light of a rig, all with one seed, into `folder`.

        rig: "4" or "8", one of `settings.STAGES`. A batch of several makes as many stages, with a seed each, in folders
        1, 2, ... of `folder`. A picture is on the disk, and in stage.json, as soon as it is made; called again with
        the same settings, generation and pictures it makes only those that are missing. The settings' own light is not
        used. Raises ICLightErrors as `relight` does, and StageError where `folder` holds another stage.
        """
        from . import stage as sets

        progress = progress or self._progress
        settings = settings.replace(stage=rig)
        if rig == "off":
            raise SettingsError("a light stage needs lights. Set stage to 4 or 8.")
        seeds = [replace(generation, seed=generation.seed + number, batch=1) for number in range(generation.batch)]
        job = job or self.job(settings, generation, progress, depth=depth)
        offsets = self.offsets(settings, progress=progress)
        extras: list[Finished] = []
        told: list[str] = []
        frame, about = Frame(*generation.size), self._about(job, generation, offsets, controls)
        folders = [folder] if generation.batch == 1 else [folder / str(n + 1) for n in range(generation.batch)]
        writers = [sets.StageWriter(place, sets.rig(STAGES[rig]), job.alpha(frame), about, one.seed)
                   for place, one in zip(folders, seeds, strict=True)]
        todo = [(number, writer, lamp.name) for number, writer in enumerate(writers, 1) for lamp in writer.missing]
        with self._taking_turn(progress):
            host = self._loaded(progress)
            for done, (number, writer, light) in enumerate(todo):
                single, one = job.under(light), seeds[number - 1]
                result = host.relight(single, one, offsets, part_of(progress, done, len(todo)), controls)
                told += [sentence for sentence in result.told if sentence not in told]
                finished, *raw = self._finished(single, one, result.pictures, True, controls)
                codes = np.asarray(finished.picture) if finished.photo is None else finished.photo.in_srgb(depth).codes
                writer.add(light, codes, finished.text)
                extras += [Finished(f"{light}-raw", number, one.picture, one.text) for one in raw]
        stages = [sets.load(place) for place in folders]
        for number, made in enumerate(stages, 1):
            extras += [Finished(name, number, picture, f"IC-Light {name}")
                       for name, picture in sets.outputs_of(made, settings.outputs)]
        extras += [Finished(name, 0, picture, f"IC-Light {name}") for name, picture in job.extras(frame)]
        there = len(stages) * len(STAGES[rig]) - len(todo)
        told += [RAW_GONE] if there and "raw" in settings.outputs else []
        return Staged(tuple(folders), tuple(extras), len(todo), (*generation.warnings(), *job.warnings, *told))

    def outlook(self, settings: Settings) -> Outlook:
        """What can be told of a job without its pictures. Reads headers only."""
        ready, faults = False, []
        try:
            self._checkpoint()
            ready = (self._brought(settings) is not None
                     or find(settings.mode, settings.weights, self.folders.weights) is not None)
            if not ready and offline():
                faults.append(CANNOT_DOWNLOAD)
        except (CheckpointError, SettingsError, WeightsError) as error:
            faults.append(str(error))
        return Outlook(ready, faults)

    def find_weights(self) -> list[WeightsFile]:
        """Every IC-Light file in the weights folders; reads headers."""
        return find_weights(self.folders.weights)

    def weights_names(self) -> list[str]:
        """File names in the IC-Light folder, unread: cheap enough for building a page."""
        return weight_names(self.folders.weights[0])

    def matting_models(self) -> list[str]:
        """Names of the cut-out models, a person's own among them."""
        return model_names(self.folders.matting)

    def matting_obstacle(self, model: str) -> str:
        """Why no cut-out can be expected of the model, as one sentence, or nothing; cheap."""
        return obstacle(model, self.folders.matting)

    @contextmanager
    def _taking_turn(self, progress: Progress) -> Iterator[None]:
        """Alone with the UNet."""
        if not self._turn.acquire(blocking=False):
            progress(WAITING, 0, 0)
            while not self._turn.acquire(timeout=1.0):
                progress(WAITING, 0, 0)
        try:
            yield
        finally:
            self._turn.release()

    def _about(self, job: Relight, generation: Generation, offsets: Offsets,
               controls: Sequence[Control]) -> dict[str, Any]:
        """What a stage is made with, beside its seed: as JSON values, equal only where its pictures would be."""
        checkpoint = self._checkpoint()
        sampled = {name: value for name, value in asdict(generation).items() if name not in ("seed", "batch")}
        relit = {name: value for name, value in job.settings.to_dict().items() if name not in UNMIXED}
        return {**relit, "generation": sampled, "checkpoint": checkpoint.name if checkpoint else "",
                "offsets": offsets.name, "loras": {lora.path.stem: lora.strength for lora in self._loras},
                "controls": [control.about for control in controls], "depth": job.full.depth if job.full else 8,
                "pictures": job.content}

    def _told_checkpoint(self) -> Checkpoint | None:
        try:
            return self._checkpoint()
        except CheckpointError:  # which the outlook tells
            return None

    def _brought(self, settings: Settings) -> Offsets | None:
        """The checkpoint's own offsets; None where IC-Light's files are meant."""
        checkpoint = self._told_checkpoint()
        brought = None if checkpoint is None else checkpoint.offsets(settings.mode)
        if brought is not None and settings.weights != "auto":
            assert checkpoint is not None
            raise SettingsError(f"IC-Light's weights do not fit the {checkpoint.name} model, which brings its own. "
                                "Set weights to auto, or choose an SD 1.5 checkpoint.")
        return brought

    def _loaded(self, progress: Progress) -> Standalone:
        """The checkpoint on its device, loaded when it is first needed; another one is let go before."""
        from .hosts.standalone.host import Standalone, pick_device

        checkpoint = self._checkpoint()
        if checkpoint is None:
            raise CheckpointError("this session has no checkpoint to relight with. Open it with one.")
        if self._hosts and not (self._hosts[0].checkpoint == checkpoint and self._hosts[0].is_current):
            self._hosts.clear()
            gc.collect()
        if not self._hosts:
            progress("loading the checkpoint", 0, 1)
            self._hosts.append(Standalone(checkpoint, device=pick_device(self._device), loras=self._loras,
                                          options=self._options, folders=self.folders))
            progress("loading the checkpoint", 1, 1)
        return self._hosts[0]

    def _finished(self, job: Relight, generation: Generation, relits: Sequence[Relit], apart: bool,
                  controls: Sequence[Control]) -> Iterator[Finished]:
        """Results and raw pictures. apart: what came back at the photo's own size is a `photo`, not the `picture`."""
        checkpoint = self._checkpoint()
        assert checkpoint is not None, "it was relit with"
        loras = {lora.path.stem: lora.strength for lora in self._loras}
        nets = [(control.name, control.strength) for control in controls]
        for number, relit in enumerate(relits, start=1):
            text = infotext.write(job.infotext(), generation, relit.seed, checkpoint.name, loras, nets)
            if relit.photo is None or apart:
                yield Finished("result", number, relit.picture, text, relit.photo)
            else:
                yield Finished("result", number, relit.photo.image(), text)
            if "raw" in job.settings.outputs:
                yield Finished("raw", number, relit.raw, text)
