"""Relight jobs through diffusers."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from ... import imaging
from ...cache import content_key
from ...errors import HostError, WeightsError
from ...frame import Frame, Pixels
from ...generation import Generation
from ...imaging.photo import Photo
from ...job import Encoder, Relight
from ...progress import Progress, silent
from ...weights import Offsets
from .checkpoint import Checkpoint
from .loras import Lora, load_loras
from .prompts import encode_prompt, pair
from .samplers import denoise
from .unet import RelitUNet

_LOADING = threading.Lock()
"""transformers loads models inside a context of the whole process; two loads at once break both and all later ones"""


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


class Standalone:
    """A checkpoint with its LoRAs on a device, ready for any number of relight jobs.

    On a GPU the UNet and the text encoder are fp16, on the CPU all is float32.
    Raises CheckpointError, WeightsError (LoRAs) and HostError.
    """

    def __init__(self, checkpoint: Checkpoint, *, device: torch.device, loras: Sequence[Lora] = ()) -> None:
        self.device = device
        self._threads = checkpoint.threads
        with _LOADING:
            models = checkpoint.load(torch.float32 if device.type == "cpu" else torch.float16)
        unet_deltas, text_deltas = load_loras(loras, models.unet.state_dict(), models.text_encoder.state_dict())
        with torch.no_grad():
            for key, weight in models.text_encoder.named_parameters():
                for delta in text_deltas.get(key, ()):
                    weight.copy_(weight.float() + delta.of(weight.shape))
        samples = [tensor.flatten()[:64].numpy() for tensor in models.vae.state_dict().values()]
        self.encoder = Encoder(f"standalone-{content_key(*samples)}", self._encode)
        self._tokenizer = models.tokenizer
        try:
            self._vae = models.vae.to(device)
            self._text_encoder = models.text_encoder.to(device)
            self.unet = RelitUNet(models.unet.to(device), unet_deltas)
        except torch.cuda.OutOfMemoryError as error:
            raise _out_of_memory() from error

    def relight(self, job: Relight, generation: Generation, offsets: Offsets, progress: Progress = silent) -> Result:
        """The job's picture, `generation.batch` times with a seed each.

        The pictures are sampled one after the other: each is bit for bit the one that its seed gives alone.
        offsets: in diffusers' layout, with as many inputs as the job's kind needs. Raises WeightsError and HostError.
        """
        inputs = offsets.tensors["conv_in.weight"].shape[1]
        if inputs != 4 + job.channels:
            raise WeightsError(f"the weights {offsets.name} have {inputs} inputs, mode {job.kind} needs "
                               f"{4 + job.channels}. Choose other weights, or another mode.")
        progress("preparing the UNet", 0, 1)
        self.unet.use(offsets)
        progress("preparing the UNet", 1, 1)
        frames = [Frame(generation.width, generation.height)]
        if generation.hires_scale > 1:
            frames.append(Frame(*generation.hires_size))
        total = generation.batch * len(frames) * generation.steps
        done = 0

        def on_step() -> None:
            nonlocal done
            done += 1
            progress("sampling", done, total)

        try:
            with torch.inference_mode(), _threads(self._threads):
                contexts = self.contexts(generation.prompt, generation.negative_prompt)
                pictures = []
                for seed in range(generation.seed, generation.seed + generation.batch):
                    raw = self._sample(job, generation, frames, contexts, seed, on_step)
                    finished = job.finish(raw, frames[-1])
                    photo = None if job.full is None else job.bring_back(finished, frames[-1])
                    pictures.append(Relit(finished, raw, seed, photo))
        except torch.cuda.OutOfMemoryError as error:
            raise _out_of_memory() from error
        return Result(tuple(pictures), frames[-1])

    def contexts(self, prompt: str, negative_prompt: str) -> tuple[torch.Tensor, torch.Tensor]:
        """The UNet's contexts for both prompts, [1, 77 * chunks, width] each."""
        return pair(encode_prompt(prompt, self._tokenizer, self._text_encoder),
                    encode_prompt(negative_prompt, self._tokenizer, self._text_encoder))

    def _sample(self, job: Relight, generation: Generation, frames: Sequence[Frame],
                contexts: tuple[torch.Tensor, torch.Tensor], seed: int, on_step: Callable[[], None]) -> Image.Image:
        """One picture through all passes, each pass in its frame, with its own conditioning made at that size."""
        generator = torch.Generator("cpu").manual_seed(seed)
        picture: Image.Image | None = None
        for frame in frames:
            concat = job.concat(self.encoder, frame)
            if picture is None:
                start, strength = job.initial(self.encoder, frame), job.settings.light_denoise
            else:
                larger = picture.resize((frame.width, frame.height), Image.Resampling.LANCZOS)
                start, strength = self._encode(np.asarray(larger)), generation.hires_denoise
            latent = denoise(
                lambda x, t, concat=concat: self.predict(x, t, contexts, concat, generation.cfg),  # type: ignore[misc]
                generation.sampler, start=start, shape=(1, 4, *concat.shape[2:]), steps=generation.steps,
                strength=strength, generator=generator, on_step=on_step)
            picture = self._decode(latent)
        assert picture is not None, "there is always a first frame"
        return picture

    def predict(self, latent: torch.Tensor, timestep: torch.Tensor, contexts: tuple[torch.Tensor, torch.Tensor],
                concat: torch.Tensor, cfg: float) -> torch.Tensor:
        """The guided noise prediction, float32 [1, 4, h, w]; see `RelitUNet` for the arguments' shapes."""
        positive, negative = contexts
        if cfg == 1:
            return self.unet(latent, timestep, positive, concat)
        wanted, unwanted = self.unet(latent.expand(2, -1, -1, -1), timestep, torch.cat(contexts), concat).chunk(2)
        return unwanted + cfg * (wanted - unwanted)

    def _encode(self, pixels: Pixels) -> torch.Tensor:
        """See `hosts.base.Encoder.encode`."""
        image = torch.from_numpy(imaging.to_vae(pixels)).movedim(-1, 0)[None].to(self.device)
        with torch.inference_mode():
            latent: torch.Tensor = self._vae.encode(image).latent_dist.mode() * self._vae.config.scaling_factor
        return latent.cpu()

    def _decode(self, latent: torch.Tensor) -> Image.Image:
        """A clean latent, float32 [1, 4, h, w], as an RGB picture. Raises HostError for what is no picture."""
        if not latent.isfinite().all():
            raise HostError("the sampling left the range of numbers: the checkpoint or a LoRA overflows in half "
                            "precision, or cfg is too high. Try `--device cpu`, or a lower cfg.")
        pixels = self._vae.decode(latent.to(self.device) / self._vae.config.scaling_factor).sample[0]
        values = (pixels.movedim(0, -1) * 127.5 + 127.5).clip(0, 255)
        return Image.fromarray(values.cpu().numpy().astype(np.uint8))


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


def _out_of_memory() -> HostError:
    return HostError("the GPU ran out of memory. Choose a smaller width, height or hires scale, "
                     "or `--device cpu`.")
