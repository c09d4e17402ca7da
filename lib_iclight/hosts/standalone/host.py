"""Relight jobs through diffusers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from ... import files
from ...errors import HostError, SettingsError, WeightsError
from ...folders import Folders
from ...frame import Frame
from ...generation import Generation
from ...imaging.photo import Photo
from ...job import Encoder, Relight
from ...progress import Progress, silent
from ...weights import Offsets
from ...weights.stored import is_current, shape_of
from .checkpoint import Checkpoint
from .compiling import compiled
from .controlnet import Control, ControlNets, Ready
from .embeddings import Embeddings
from .loras import Lora, Loras, load_loras
from .memory import Guest, check_memory, clear, compute_dtype, is_out_of_memory, means, named_out_of_memory
from .samplers import check_steps, denoise
from .tags import read_tags, without_tags
from .text import TextEncoder
from .unet import RelitUNet
from .vae import VAE

_LOADING = threading.Lock()
"""transformers loads models inside a context of the whole process; two loads at once break both and all later ones"""

Contexts = tuple[torch.Tensor, torch.Tensor]
"""of both prompts, float [1, tokens, width] each"""


@dataclass(frozen=True)
class Relit:
    """One finished picture: `picture` with what the settings preserve, `raw` as it was sampled."""

    picture: Image.Image
    raw: Image.Image
    seed: int
    photo: Photo | None = None
    """at the photo's own size, where the settings ask for it"""


@dataclass(frozen=True)
class Result:
    """What one relight made, and the frame of its last pass."""

    pictures: tuple[Relit, ...]
    frame: Frame
    told: tuple[str, ...] = ()
    """what a person should know of the pictures, in sentences"""


@dataclass(frozen=True)
class Options:
    """How a host runs its checkpoint. Raises SettingsError."""

    memory: str = "auto"
    """one of `memory.MEMORIES`"""
    compile: bool = False
    """let torch.compile make the UNet faster, which takes minutes the first time"""

    def __post_init__(self) -> None:
        check_memory(self.memory)


class Standalone:
    """A checkpoint with its LoRAs on a device, ready for any number of relight jobs.

    On a GPU the UNet and the text encoder are fp16, on the CPU all is float32.
    Raises CheckpointError, WeightsError (LoRAs), SettingsError (options) and HostError.
    """

    def __init__(self, checkpoint: Checkpoint, *, device: torch.device, loras: Sequence[Lora] = (),
                 options: Options | None = None, folders: Folders | None = None) -> None:
        """folders: where the LoRAs and textual inversions lie that prompts name."""
        options = options or Options()
        self.device = device
        self.checkpoint = checkpoint
        self._folders = folders or Folders((), ())
        self._threads = checkpoint.threads
        self.prediction = checkpoint.prediction
        self._own_loras = tuple(loras)
        self._loras: Loras | None = None
        with named_out_of_memory(device):
            with _LOADING:
                models = checkpoint.load(compute_dtype(device))
            weights = sum(weight.numel() * weight.element_size() for weight in models.unet.parameters())
            self._means = means(device, options.memory, weights)
            if options.compile and self._means.storage != self._means.compute:
                raise SettingsError("compile needs the UNet's weights whole. Leave it out, or set memory to high.")
            self._shapes = {key: weight.to("meta") for key, weight in models.unet.state_dict().items()}, \
                {key: weight.to("meta") for key, weight in models.text_encoder.state_dict().items()}
            self._loras_of(())  # what they cannot be used for is told before any job
            self.vae = VAE(models.vae, self._means)
            self.encoder = Encoder(self.vae.key, self.vae.encode)
            self.text = TextEncoder(models.text_encoder, models.tokenizer, self._means,
                                    Embeddings(self._folders.embeddings))
            if models.unet_base is None and not self._means.moves:
                models.unet.to(device)
            self.unet = RelitUNet(models.unet, models.unet_base, self._means)
            self._base = models.unet_base or {}
            self._controlnets = ControlNets(self._means)
        if options.compile:
            self.unet.forward = compiled(models.unet)

    @property
    def is_current(self) -> bool:
        """Whether the checkpoint's file is still the one that was loaded."""
        return is_current(self._base)

    def relight(self, job: Relight, generation: Generation, offsets: Offsets, progress: Progress = silent,
                controls: Sequence[Control] = ()) -> Result:
        """The job's picture, `generation.batch` times with a seed each.

        On a CPU the pictures are sampled one after the other, and each is bit for bit the one that its seed gives
        alone; a GPU samples several at once while its memory lasts, which moves values by a thousandth.
        offsets: in diffusers' layout, with as many inputs as the job's kind needs. Raises SettingsError, WeightsError
        and HostError.
        """
        inputs = shape_of(offsets.tensors, "conv_in.weight")[1]
        if inputs != 4 + job.channels:
            raise WeightsError(f"the weights {offsets.name} have {inputs} inputs, mode {job.kind} needs "
                               f"{4 + job.channels}. Choose other weights, or another mode.")
        frames = [Frame(generation.width, generation.height)]
        if generation.hires_scale > 1:
            frames.append(Frame(*generation.hires_size))
            check_steps(generation.sampler, generation.steps, generation.hires_denoise)
        check_steps(generation.sampler, generation.steps, job.settings.light_denoise if job.start != "noise" else 1.0)
        prompt, negative, loras = self._read(generation)
        self.vae.told.clear()
        with named_out_of_memory(self.device), _threads(self._threads):
            progress("preparing the UNet", 0, 1)
            together = self._loras_of(loras)
            self.unet.use(offsets, together)
            self.text.use(together)
            nets = self._controlnets.ready(controls)
            progress("preparing the UNet", 1, 1)
            with torch.inference_mode():
                contexts = self.text.contexts(prompt, negative, generation.prompt_syntax)
                run = _Run(self, job, generation, frames, contexts, nets, progress)
                raws = run.pictures(self._means.together)
            pictures = tuple(_finished(job, raw, frames[-1], generation.seed + number)
                             for number, raw in enumerate(raws))
        return Result(pictures, frames[-1], tuple(filter(None, [self._means.told, *self.vae.told])))

    def contexts(self, prompt: str, negative_prompt: str) -> Contexts:
        """The UNet's contexts for both prompts, [1, 77 * chunks, width] each."""
        return self.text.contexts(prompt, negative_prompt)

    def predict(self, latent: torch.Tensor, timestep: torch.Tensor, contexts: Contexts, concat: torch.Tensor,
                cfg: float, nets: Ready | None = None) -> torch.Tensor:
        """The guided prediction, float32 [B, 4, h, w]; see `RelitUNet` for the arguments' shapes.

        Both halves of the guidance go through the UNet in one call.
        """
        count = len(latent)
        positive, negative = (context.expand(count, -1, -1) for context in contexts)
        if cfg == 1:
            return self._unet(latent, timestep, positive, concat, nets)
        both = self._unet(torch.cat([latent, latent]), timestep, torch.cat([positive, negative]), concat, nets)
        wanted, unwanted = both.chunk(2)
        return unwanted + cfg * (wanted - unwanted)

    def _unet(self, latent: torch.Tensor, timestep: torch.Tensor, context: torch.Tensor, concat: torch.Tensor,
              nets: Ready | None) -> torch.Tensor:
        residuals = nets.residuals(latent, timestep, context) if nets else {}
        return self.unet(latent, timestep, context, concat, **residuals)

    def _read(self, generation: Generation) -> tuple[str, str, tuple[Lora, ...]]:
        """Both prompts without tags, and the LoRAs that they name."""
        if generation.prompt_syntax == "plain":
            return generation.prompt, generation.negative_prompt, ()
        prompt, loras = read_tags(generation.prompt, self._folders.loras)
        return prompt, without_tags(generation.negative_prompt), tuple(loras)

    def _loras_of(self, more: Sequence[Lora]) -> Loras:
        """The host's own LoRAs and these; the last ones stay open."""
        loras = (*self._own_loras, *more)
        name = tuple((lora.path, files.state(lora.path), lora.strength, lora.text_strength) for lora in loras)
        if self._loras is None or self._loras.name != name:
            self._loras = Loras(name, *load_loras(loras, *self._shapes))
        return self._loras

    @contextlib.contextmanager
    def sampling(self, nets: Ready | None) -> Iterator[None]:
        """The UNet and the ControlNets on the device inside, where they do not stay there."""
        with Guest(self.unet.model, self.device).here() if self._means.moves else contextlib.nullcontext(), \
                nets.here() if nets else contextlib.nullcontext():
            yield


@dataclass
class _Run:
    """One relight's sampling: groups of pictures, each through all passes."""

    host: Standalone
    job: Relight
    generation: Generation
    frames: Sequence[Frame]
    contexts: Contexts
    nets: Ready | None
    progress: Progress
    done: int = 0

    def pictures(self, together: int) -> list[Image.Image]:
        """All of the generation's, `together` at a time at most; fewer where memory does not last."""
        seeds = [self.generation.seed + number for number in range(self.generation.batch)]
        made: list[Image.Image] = []
        while len(made) < len(seeds):
            group = seeds[len(made):len(made) + together]
            done = self.done
            found = self._attempt(group)
            if found is None:
                together, self.done = max(len(group) // 2, 1), done
                clear(self.host.device)
            else:
                made += found
        return made

    def _attempt(self, seeds: Sequence[int]) -> list[Image.Image] | None:
        """None where memory ran out and fewer pictures at a time may still do."""
        try:
            return self._sample(seeds)
        except Exception as error:
            if len(seeds) == 1 or not is_out_of_memory(error):
                raise
            return None

    def _sample(self, seeds: Sequence[int]) -> list[Image.Image]:
        """Each pass in its frame, with its own conditioning made at that size."""
        host, job, generation = self.host, self.job, self.generation
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        pictures: list[Image.Image] = []
        for frame in self.frames:
            concat = job.concat(host.encoder, frame).to(host.device)
            if not pictures:
                start, strength = job.initial(host.encoder, frame), job.settings.light_denoise
            else:
                larger = [one.resize((frame.width, frame.height), Image.Resampling.LANCZOS) for one in pictures]
                start = torch.cat([host.vae.encode(np.asarray(one)) for one in larger])
                strength = generation.hires_denoise
            if self.nets:
                self.nets.lay(job, frame)
            with host.sampling(self.nets):
                latents = denoise(self._predictor(concat), generation.sampler, start=start,
                                  shape=(4, *concat.shape[2:]), steps=generation.steps, strength=strength,
                                  generators=generators, on_step=lambda: self._step(len(seeds)), device=host.device,
                                  prediction=host.prediction)
            pictures = [host.vae.decode(latent[None]) for latent in latents]
        return pictures

    def _predictor(self, concat: torch.Tensor) -> Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]:
        generation, contexts = self.generation, tuple(context.to(self.host.device) for context in self.contexts)

        def predict(latent: torch.Tensor, timestep: torch.Tensor, share: float) -> torch.Tensor:
            cfg = generation.cfg if share < generation.guidance_end else 1.0
            return self.host.predict(latent, timestep, (contexts[0], contexts[1]), concat, cfg, self.nets)

        return predict

    def _step(self, count: int) -> None:
        self.done += count
        total = self.generation.batch * len(self.frames) * self.generation.steps
        self.progress("sampling", self.done, total)


def _finished(job: Relight, raw: Image.Image, frame: Frame, seed: int) -> Relit:
    finished = job.finish(raw, frame)
    return Relit(finished, raw, seed, None if job.full is None else job.bring_back(finished, frame))


@contextlib.contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """So many of the processor's threads inside, and as many as before afterwards; None changes nothing."""
    before = torch.get_num_threads()
    try:
        if count is not None:
            torch.set_num_threads(count)
        yield
    finally:
        torch.set_num_threads(before)


def pick_device(name: str) -> torch.device:
    """The device of that name; `auto` is the GPU if there is one. Raises HostError if this machine has no such."""
    usable = ["cpu"]
    if torch.backends.mps.is_available():
        usable.insert(0, "mps")
    if torch.cuda.is_available():
        usable.insert(0, "cuda")
    if name == "auto":
        return torch.device(usable[0])
    with contextlib.suppress(RuntimeError):  # what torch raises for a name that it does not know
        device = torch.device(name)
        if device.type in usable and (device.type != "cuda" or (device.index or 0) < torch.cuda.device_count()):
            return device
    raise HostError(f"there is no device {name!r} here. Choose auto or one of: {', '.join(usable)}.")
