"""Train the pocket model: python -m training.train --work FOLDER [STAGE ...]

Stages: data, vae, decoder, text, base, fbc, fc-begin, fc, fc-without-consistency (default: all, in this order). Each is
resumed where its last checkpoint in FOLDER ends, and a finished one is skipped. Every random number comes from (seed,
stage, step), so that a resumed run makes the same batches. FOLDER/STOP-<stage> ends a stage early: its rate falls over
the cool-down.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss, mse_loss, pad
from tqdm import tqdm
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from lib_iclight.hosts.standalone.prompts import clip_tokenizer

from . import config
from .data import LIGHTINGS, MEANINGFUL, Shards, caption, meaning, on_grey, render_shards

STAGES = ("data", *config.STAGES)
SAVE_EVERY = 40
"""seconds between checkpoints"""
INPUTS = {"base": 4, "fbc": 12}
"""of a stage's UNet, where they are not fc's 8"""
Loss = Callable[[int, torch.Generator, random.Random], dict[str, Tensor]]
"""(step, generators seeded for it) -> the terms of its loss, of which the sum is minimised"""


def main() -> None:
    """Run the stages that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m training.train", description=__doc__)
    parser.add_argument("stages", nargs="*", metavar="STAGE", help=", ".join(STAGES))
    parser.add_argument("--work", type=Path, required=True, help="folder for the data set and the checkpoints (2 GB)")
    parser.add_argument("--start-from", type=Path, metavar="MODEL", help="go on from an exported model: its VAE "
                        "and text encoder are taken as they are, its UNets are what base, fbc and fc-begin start from")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    unknown = set(args.stages) - set(STAGES)
    if unknown:
        parser.error(f"there is no stage {', '.join(sorted(unknown))}")
    torch.set_num_threads(args.threads)
    if args.start_from:
        adopt(args.start_from, args.work)
    for name in args.stages or STAGES:
        shards = render_shards(args.work / "data", config.VAE_SCENES if name == "vae" else config.SCENES, config.SEED)
        if name in ("vae", "decoder"):
            train_vae(name, shards, args.work, args.device)
        elif name == "text":
            train_text(shards, args.work, args.device)
        elif name == "base":
            train_base(shards, args.work, args.device)
        elif name != "data":
            train_offsets(name, shards, args.work, args.device)


# --- the loop -----------------------------------------------------------------------------------------------------


def fit(name: str, modules: nn.ModuleDict, loss_of: Loss, work: Path) -> nn.ModuleDict:
    """Minimise the loss over the modules' weights; returns them with their moving average, and saves it and the curve.

    The result is work/<name>.safetensors; until then work/<name>.pt is what a later run resumes from.
    """
    stage, path = config.STAGES[name], work / f"{name}.pt"
    device = next(modules.parameters()).device
    average = copy.deepcopy(modules).requires_grad_(False)
    named = list(modules.named_parameters())
    fast = [weight for key, weight in named if any(part in key for part in config.FAST)]
    rest = [weight for key, weight in named if not any(part in key for part in config.FAST)]
    optimizer = torch.optim.AdamW([{"params": rest, "speed": 1.0}, {"params": fast, "speed": config.FAST_FACTOR}],
                                  weight_decay=1e-4, betas=(0.9, 0.99))
    step, end, curve, seconds = 0, stage.steps, [], 0.0
    if path.is_file():
        state = torch.load(path, weights_only=True)
        modules.load_state_dict(state["weights"])
        average.load_state_dict(state["average"])
        if len(state["optimizer"]["param_groups"]) == 2:
            optimizer.load_state_dict(state["optimizer"])
        step, end, curve, seconds = state["step"], state["end"], state["curve"], state["seconds"]
    started = saved = time.monotonic()
    bar = tqdm(total=end, initial=step, desc=name, mininterval=10)
    while step < end:
        if end == stage.steps and (work / f"STOP-{name}").exists():
            end = min(end, step + stage.cooldown)
            bar.total = end
        for group in optimizer.param_groups:
            group["lr"] = group["speed"] * stage.rate * min(1, (step + 1) / stage.warmup, (end - step) / stage.cooldown)
        seed = config.SEED + 1_000_003 * (1 + sorted(config.STAGES).index(name)) + step
        with torch.autocast(device.type, torch.bfloat16):
            terms = loss_of(step, torch.Generator().manual_seed(seed), random.Random(seed))
        loss = torch.stack([term.float() for term in terms.values()]).sum()
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(modules.parameters(), 1.0)
        optimizer.step()
        decay = min(stage.average, (step + 1) / (step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(modules.parameters()), 1 - decay)
        step += 1
        curve.append({key: float(term.detach()) for key, term in terms.items()})
        bar.update()
        bar.set_postfix({key: f"{np.mean([row[key] for row in curve[-100:] if key in row]):.4f}" for key in terms},
                        refresh=False)
        if step == end or time.monotonic() - saved > SAVE_EVERY:
            spent = seconds + time.monotonic() - started
            part = path.with_suffix(".part")
            torch.save({"weights": modules.state_dict(), "average": average.state_dict(),
                        "optimizer": optimizer.state_dict(), "step": step, "end": end, "curve": curve,
                        "seconds": spent}, part)
            part.replace(path)
            saved = time.monotonic()
    bar.close()
    spent = seconds + time.monotonic() - started
    (work / f"{name}.json").write_text(json.dumps({"steps": step, "seconds": round(spent), "device": str(device),
                                                   "batch": stage.batch, "curve": curve}))
    draw_curve(curve, work / f"{name}.png")
    save_file({key: value.contiguous().cpu() for key, value in average.state_dict().items()},
              work / f"{name}.safetensors")
    return average


def draw_curve(curve: list[dict[str, float]], path: Path, window: int = 50) -> None:
    """The loss curve as a PNG, each term averaged over a window."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.5))
    for key in sorted({key for row in curve for key in row}):
        values = np.array([(index, row[key]) for index, row in enumerate(curve) if key in row])
        window = max(1, min(window, len(values) // 4))
        kernel = np.ones(window) / window
        axes.semilogy(np.convolve(values[:, 0], kernel, "valid"), np.convolve(values[:, 1], kernel, "valid"), label=key)
    axes.set(xlabel="step", ylabel="loss", title=path.stem)
    axes.legend()
    figure.tight_layout()
    figure.savefig(path)
    pyplot.close(figure)


# --- stage 1: the VAE ---------------------------------------------------------------------------------------------


def make_vae() -> AutoencoderKL:
    """A new VAE that begins as an average over 8 x 8 pixels and knows colours: from random weights it learns them late.

    Channels 0-2 carry RGB, 3-5 its negative and 6-7 constants, through shortcuts and samplers alone. The constants
    make the group norms nearly linear, and silu(x) - silu(-x) = x does the same for the last activation.
    """
    torch.manual_seed(config.SEED)
    vae = AutoencoderKL(**config.VAE)
    constant, carried = 2.0, 8
    with torch.no_grad():
        for name, module in vae.named_modules():
            weight = getattr(module, "weight", None)
            if name.endswith("conv2"):
                weight.zero_()
            elif name.endswith(("conv_shortcut", "samplers.0.conv")):
                weight[:carried].zero_()
                taps = weight[range(carried), range(carried)]
                if "downsamplers" in name:
                    taps[:, :2, :2] = 0.25
                else:
                    taps[:, weight.shape[2] // 2, weight.shape[3] // 2] = 1
                weight[range(carried), range(carried)] = taps
                module.bias[:carried].zero_()
        for part in (vae.encoder, vae.decoder):
            part.conv_in.weight[:carried].zero_()
            part.conv_in.bias[:carried] = torch.tensor([0.0] * 6 + [constant, -constant])
            part.conv_out.weight.zero_()
            part.conv_out.bias.zero_()
            part.conv_norm_out.weight[:6] = (2 * constant**2 / len(part.conv_norm_out.weight)) ** 0.5
            for color in range(3):
                part.conv_in.weight[color, color, 1, 1], part.conv_in.weight[color + 3, color, 1, 1] = 1, -1
                part.conv_out.weight[color, color, 1, 1], part.conv_out.weight[color, color + 3, 1, 1] = 1, -1
        torch.nn.init.normal_(vae.encoder.conv_out.weight[3], std=0.1)
        for mixing in (vae.quant_conv, vae.post_quant_conv):
            mixing.weight.copy_(torch.eye(len(mixing.weight))[:, :, None, None])
            mixing.bias.zero_()
        vae.quant_conv.bias[4:].fill_(config.INITIAL_LOG_VARIANCE)
    return vae


def train_vae(name: str, shards: Shards, work: Path, device: str) -> None:
    """Learn to encode v / 127 - 1 and to decode to v / 127.5 - 1, which is what the standalone host does.

    vae: both halves. decoder: the decoder alone, further, while the encoder and so all latents stay as they are; the
    later stages need only the encoder and may run beside it.
    """
    if (work / f"{name}.safetensors").is_file():
        return
    vae = make_vae() if name == "vae" else load_vae(work, "cpu", "vae")
    vae = vae.to(device, memory_format=torch.channels_last).train()
    trained = nn.ModuleDict({"vae": vae} if name == "vae" else
                            {"decoder": vae.decoder, "post_quant_conv": vae.post_quant_conv}).requires_grad_(True)

    def loss_of(step: int, generator: torch.Generator, draw: random.Random) -> dict[str, Tensor]:
        crops = np.stack([_crop(shards, draw) for _ in range(config.STAGES[name].batch)])
        pixels = torch.from_numpy(crops).to(device).float().contiguous(memory_format=torch.channels_last)
        posterior = vae.encode(pixels / 127 - 1).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator).to(device)
        made = vae.decode(posterior.mean + posterior.std * noise).sample.float()
        wanted = pixels / 127.5 - 1
        slopes = [l1_loss(made.diff(dim=dim), wanted.diff(dim=dim)) for dim in (2, 3)]
        terms = {"pictures": l1_loss(made, wanted), "derivatives": config.GRADIENT_WEIGHT * (slopes[0] + slopes[1])}
        if name == "vae":
            terms["kl"] = config.KL_WEIGHT * posterior.kl().mean()
        return terms

    fit(name, trained, loss_of, work)


def _crop(shards: Shards, draw: random.Random) -> np.ndarray:
    """uint8 [3, CROP, CROP]: mostly of a picture, sometimes of a wall, a foreground on grey or a drawn gradient."""
    scene, lighting = draw.randrange(len(shards.subjects)), draw.randrange(LIGHTINGS)
    top, left = (draw.randrange(0, config.SIZE - config.CROP + 1, 8) for _ in range(2))
    window = np.s_[:, top:top + config.CROP, left:left + config.CROP]
    kind = draw.random()
    if kind < 0.65:
        return shards.pictures[scene, lighting][window]
    if kind < 0.8:
        return on_grey(shards.pictures[scene, lighting][window], shards.alpha[scene][window])
    if kind < 0.88:
        return shards.backdrops[scene, lighting][window]
    corners = np.array([[draw.randrange(256) for _ in range(4)] for _ in range(3)], np.float32).reshape(3, 2, 2)
    if draw.random() < 0.5:
        corners[:] = corners[:1]
    along = np.linspace(0, 1, config.CROP, dtype=np.float32)
    weights = np.stack([1 - along, along])
    return np.einsum("cij,ih,jw->chw", corners, weights, weights).astype(np.uint8)


def load_vae(work: Path, device: str, stage: str = "decoder") -> AutoencoderKL:
    """The trained VAE, with the decoder of that stage."""
    vae = AutoencoderKL(**config.VAE)
    state = load_file(work / "vae.safetensors")
    vae.load_state_dict({key.removeprefix("vae."): value for key, value in state.items()})
    if stage == "decoder":
        vae.load_state_dict(load_file(work / "decoder.safetensors"), strict=False)
    return vae.to(device).eval().requires_grad_(False)


def adopt(model: Path, work: Path) -> None:
    """Make an exported model's VAE and text encoder results, and its UNets work/start-<stage>.safetensors."""
    work.mkdir(parents=True, exist_ok=True)
    vae = {key: value.float() for key, value in
           load_file(model / "vae" / "diffusion_pytorch_model.safetensors").items()}
    save_file({f"vae.{key}": value for key, value in vae.items()}, work / "vae.safetensors")
    save_file({key: value for key, value in vae.items() if key.startswith(("decoder.", "post_quant_conv."))},
              work / "decoder.safetensors")
    save_file({f"text_encoder.{key}": value.float() for key, value in
               load_file(model / "text_encoder" / "model.safetensors").items()}, work / "text.safetensors")
    base = {key: value.float() for key, value in
            load_file(model / "unet" / "diffusion_pytorch_model.safetensors").items()}
    save_file(base, work / "start-base.safetensors")
    for stage, kind in (("fbc", "fbc"), ("fc-begin", "fc")):
        whole = load_file(model / "ic-light" / f"{kind}-offsets.safetensors")
        for key, offset in whole.items():
            whole[key] = offset.float()
            whole[key][tuple(slice(size) for size in base[key].shape)] += base[key]
        save_file(whole, work / f"start-{stage}.safetensors")


# --- latents ------------------------------------------------------------------------------------------------------


class Latents:
    """The data set's scaled latents, float16 [N, 4, 4, h, w] for each `kind`: pictures, backdrops, foregrounds.

    masks: the alpha at their size, [N, 1, h, w]. What is not yet in `work` is encoded first.
    """

    def __init__(self, shards: Shards, work: Path, device: str, *kinds: str) -> None:
        self._arrays = {}
        for kind in ("pictures", *kinds):
            path = work / f"latents-{kind}.safetensors"
            if not path.is_file():
                source = shards.backdrops if kind == "backdrops" else shards.pictures
                alpha = shards.alpha if kind == "foregrounds" else None
                found = {"latents": _encode(load_vae(work, device, "vae"), source, alpha, f"encoding {kind}")}
                found["scale"] = config.LATENT_STD / found["latents"].float().std()
                save_file(found, path)
            self._arrays[kind] = load_file(path)["latents"]
        self.scale = self.scale_of(work)
        masks = torch.from_numpy(np.ascontiguousarray(shards.alpha)).float() / 255
        self.masks = nn.functional.avg_pool2d(masks, 8)

    def __len__(self) -> int:
        return len(self.masks)

    def of(self, kind: str, scenes: Tensor, lighting: Tensor) -> Tensor:
        """float32 [B, 4, h, w] of these scenes under these lightings, [B] each."""
        return self._arrays[kind][scenes, lighting].float() * self.scale

    @staticmethod
    def scale_of(work: Path) -> float:
        """The VAE's scaling factor: it makes the pictures' latents as wide as noise."""
        return float(load_file(work / "latents-pictures.safetensors")["scale"])


@torch.inference_mode()
def _encode(vae: AutoencoderKL, pictures: np.ndarray, alpha: np.ndarray | None, what: str) -> Tensor:
    vae = vae.to(memory_format=torch.channels_last)
    means = []
    for start in tqdm(range(0, len(pictures), 8), desc=what, mininterval=10):
        batch = pictures[start:start + 8]
        if alpha is not None:
            batch = on_grey(batch, alpha[start:start + 8, None])
        pixels = torch.from_numpy(np.ascontiguousarray(batch)).flatten(0, 1).to(vae.device).float() / 127 - 1
        with torch.autocast(vae.device.type, torch.bfloat16):
            mean = vae.encode(pixels.contiguous(memory_format=torch.channels_last)).latent_dist.mean
        means.append(mean.half().cpu().unflatten(0, batch.shape[:2]).contiguous())
    return torch.cat(means)


# --- stage 2: the text encoder ------------------------------------------------------------------------------------


def make_text_encoder() -> CLIPTextModel:
    """A new text encoder, in which words that are never trained mean nothing."""
    torch.manual_seed(config.SEED + 1)
    encoder = CLIPTextModel(CLIPTextConfig(**config.TEXT_ENCODER))
    with torch.no_grad():
        encoder.text_model.embeddings.token_embedding.weight.zero_()
    return encoder


def tokens(texts: list[str], tokenizer: CLIPTokenizer) -> Tensor:
    """Token numbers, [B, 77]."""
    found: Tensor = tokenizer(texts, padding="max_length", max_length=77, truncation=True,
                              return_tensors="pt").input_ids
    return found


def train_text(shards: Shards, work: Path, device: str) -> None:
    """The text encoder alone, as SD 1.5 takes one that is trained: the mean of its states must tell the words' meaning.

    A UNet that begins to learn attends to all 77 states alike, so it finds there at once what the prompt asks for.
    """
    if (work / "text.safetensors").is_file():
        return
    tokenizer, batch = clip_tokenizer(), config.STAGES["text"].batch
    known = {word: index for index, word in enumerate(
        f"{kind}: {word}" for kind in ("subject", "light") for word in MEANINGFUL)}
    encoder = make_text_encoder()
    modules = nn.ModuleDict({"text_encoder": encoder, "reader": nn.Linear(encoder.config.hidden_size, len(known))})
    modules.to(device)

    def loss_of(step: int, generator: torch.Generator, draw: random.Random) -> dict[str, Tensor]:
        places = [(draw.randrange(len(shards.subjects)), draw.randrange(LIGHTINGS)) for _ in range(batch)]
        texts = [caption(shards.subjects[scene], shards.lights[scene][lit], draw) for scene, lit in places]
        said = torch.zeros(batch, len(known))
        for row, text in enumerate(texts):
            said[row, [known[word] for word in meaning(text)]] = 1
        states = modules["text_encoder"](tokens(texts, tokenizer).to(device)).last_hidden_state
        read = modules["reader"](states.float().mean(1))
        return {"words": binary_cross_entropy_with_logits(read, said.to(device))}

    fit("text", modules, loss_of, work)


def load_text_encoder(work: Path) -> CLIPTextModel:
    """The trained text encoder."""
    encoder = make_text_encoder()
    encoder.load_state_dict({key.removeprefix("text_encoder."): value for key, value in
                             load_file(work / "text.safetensors").items() if key.startswith("text_encoder.")})
    return encoder.eval().requires_grad_(False)


# --- stages 3 and 4: the UNets ------------------------------------------------------------------------------------


def noise_schedule() -> Tensor:
    """The cumulative products of alpha that SD 1.5 was trained with, [1000]."""
    scheduler = DDPMScheduler(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012,
                              beta_schedule="scaled_linear")
    return scheduler.alphas_cumprod


def timesteps(count: int, generator: torch.Generator) -> Tensor:
    """Random timesteps, [count]; a stratified sample makes the loss less noisy."""
    return ((torch.arange(count) + torch.rand(count, generator=generator)) * 1000 / count).long().clamp(max=999)


def train_base(shards: Shards, work: Path, device: str) -> None:
    """Text to picture on the domain."""
    if (work / "base.safetensors").is_file():
        return
    latents, tokenizer, products = Latents(shards, work, device), clip_tokenizer(), noise_schedule()
    torch.manual_seed(config.SEED + 2)
    unet, encoder = initial_unet("base", work).to(device), load_text_encoder(work).to(device)
    batch = config.STAGES["base"].batch

    def loss_of(step: int, generator: torch.Generator, draw: random.Random) -> dict[str, Tensor]:
        scenes = torch.randint(len(shards.subjects), (batch,), generator=generator)
        lit = torch.randint(LIGHTINGS, (batch,), generator=generator)
        texts = [caption(shards.subjects[n], shards.lights[n][k], draw)
                 for n, k in zip(scenes.tolist(), lit.tolist(), strict=True)]
        with torch.no_grad():
            context = encoder(tokens(texts, tokenizer).to(device)).last_hidden_state
        clean, t = latents.of("pictures", scenes, lit), timesteps(batch, generator)
        noise = torch.randn(clean.shape, generator=generator)
        noisy = _noised(clean, noise, products[t])
        predicted = unet(noisy.to(device), t.to(device), context).sample.float()
        return {"noise": _noise_loss(predicted, noise.to(device), products[t].to(device))}

    fit("base", nn.ModuleDict({"unet": unet}), loss_of, work)


def _noise_loss(predicted: Tensor, noise: Tensor, products: Tensor) -> Tensor:
    """Squared error, weighted by 1 / product up to a limit as if velocities were predicted (Salimans and Ho, 2022).

    Light, colours and what the prompt says are settled at high noise, where the plain error hardly counts.
    """
    weights = (1 / products).clamp(max=config.WEIGHT_LIMIT)
    return (weights.view(-1, 1, 1, 1) * (predicted - noise).square()).mean() / weights.mean()


def _noised(clean: Tensor, noise: Tensor, products: Tensor) -> Tensor:
    products = products.view(-1, 1, 1, 1)
    return products.sqrt() * clean + (1 - products).sqrt() * noise


def make_unet() -> UNet2DConditionModel:
    """A new UNet. On a CPU, attention over so few places learns fastest written out (a third of a step's time)."""
    unet = UNet2DConditionModel(**config.UNET)
    unet.set_attn_processor(AttnProcessor())
    return unet


def load_base(work: Path) -> UNet2DConditionModel:
    """The trained base model."""
    unet = make_unet()
    unet.load_state_dict({key.removeprefix("unet."): value for key, value in
                          load_file(work / "base.safetensors").items()})
    return unet


def initial_unet(name: str, work: Path) -> UNet2DConditionModel:
    """What a stage starts from: an adopted model's UNet if there is one, else the result of its initial stage."""
    inputs, start, initial = INPUTS.get(name, 8), work / f"start-{name}.safetensors", config.STAGES[name].initial
    if start.is_file():
        unet = widen(make_unet(), inputs)
        unet.load_state_dict(load_file(start))
    elif initial is None:
        unet = make_unet()
    elif initial == "base":
        unet = widen(load_base(work), inputs)
    else:
        unet = widen(make_unet(), inputs)
        unet.load_state_dict({key.removeprefix("unet."): value for key, value in
                              load_file(work / f"{initial}.safetensors").items()})
    return unet


def widen(unet: UNet2DConditionModel, inputs: int) -> UNet2DConditionModel:
    """Zero-pad the first convolution to so many inputs; the model then predicts what it did before."""
    first = unet.conv_in
    first.weight = nn.Parameter(pad(first.weight.detach(), (0, 0, 0, 0, 0, inputs - first.weight.shape[1])))
    first.in_channels = inputs
    return unet


def train_offsets(name: str, shards: Shards, work: Path, device: str) -> None:
    """IC-Light: the subject under another light on grey in (for fbc also the lit wall), the lit picture out.

    fc has the light-transport consistency loss, Zhang et al., ICLR 2025, section 3: the prediction under two lights
    together must be what a small network on latent pixels, here `Merger`, makes of the predictions under each. It is
    fitted to the light stage's own triples beforehand and then held, so that it cannot make the loss vacuous.
    """
    if (work / f"{name}.safetensors").is_file():
        return
    stage = config.STAGES[name]
    latents = Latents(shards, work, device, "backdrops", "foregrounds")
    tokenizer, products = clip_tokenizer(), noise_schedule()
    unet, encoder = initial_unet(name, work).to(device), load_text_encoder(work).to(device)
    merger = train_merger(latents, work, device) if name == "fc" else None

    def inputs(scenes: Tensor, lit: Tensor, source: Tensor, noisy: Tensor) -> Tensor:
        parts = [noisy, latents.of("foregrounds", scenes, source)]
        if name == "fbc":
            parts.append(latents.of("backdrops", scenes, lit))
        return torch.cat(parts, 1).to(device)

    def loss_of(step: int, generator: torch.Generator, draw: random.Random) -> dict[str, Tensor]:
        # With the consistency loss a third of the batch each is lit by a, by b and by both, with the same noise.
        groups = 3 if merger and step % config.CONSISTENCY_EVERY == 0 else 1
        count = stage.batch // groups
        scenes = torch.randint(len(shards.subjects), (count,), generator=generator).repeat(groups)
        lit = torch.arange(3).repeat_interleave(count) if groups == 3 else \
            torch.randint(LIGHTINGS, (count,), generator=generator)
        source = torch.where(lit == 3, torch.randint(3, (count,), generator=generator).repeat(groups), 3) \
            if groups == 3 else (lit + torch.randint(1, LIGHTINGS, (count,), generator=generator)) % LIGHTINGS
        texts = [caption(shards.subjects[n], shards.lights[n][k], draw)
                 for n, k in zip(scenes.tolist(), lit.tolist(), strict=True)]
        with torch.no_grad():
            context = encoder(tokens(texts, tokenizer).to(device)).last_hidden_state
        clean = latents.of("pictures", scenes, lit)
        t = timesteps(count, generator).repeat(groups)
        noise = torch.randn(clean[:count].shape, generator=generator).repeat(groups, 1, 1, 1)
        share = products[t].view(-1, 1, 1, 1)
        noisy = _noised(clean, noise, products[t])
        predicted = unet(inputs(scenes, lit, source, noisy), t.to(device), context).sample.float()
        terms = {"noise": _noise_loss(predicted, noise.to(device), products[t].to(device))}
        if groups == 3:
            shares = share.to(device)
            seen = (noisy.to(device) - (1 - shares).sqrt() * predicted) / shares.sqrt()
            under_a, under_b, under_both = seen.chunk(3)
            # A squared error of clean latents is product / (1 - product) of noise's; weighted as that, it is about 1.
            weight = (shares / (1 - shares) * (1 / shares).clamp(max=config.WEIGHT_LIMIT))[:count].clamp(max=1)
            error = (under_both - merger(under_a, under_b)).square() * latents.masks[scenes[:count]].to(device)
            terms["consistency"] = config.CONSISTENCY_WEIGHT * (weight * error).mean()
        return terms

    fit(name, nn.ModuleDict({"unet": unet}), loss_of, work)


class Merger(nn.Module):
    """The paper's small network on latent pixels: latents under a and under b -> the latent under both, [B, 4, h, w].

    The paper feeds it noise predictions that share one noisy latent; ours come from three latents of equal noise, so it
    gets the clean latents that they stand for. Symmetric in a and b, as light is.
    """

    def __init__(self) -> None:
        super().__init__()
        width, layers = config.MERGER_WIDTH, config.MERGER_LAYERS
        sizes = [8, *[width] * (layers - 1)]
        body = [part for low, high in pairwise(sizes) for part in (nn.Conv2d(low, high, 1),
                                                                                      nn.SiLU())]
        self.layers = nn.Sequential(*body, nn.Conv2d(width, 4, 1))

    def forward(self, under_a: Tensor, under_b: Tensor) -> Tensor:
        """See the class."""
        both = [self.layers(torch.cat(pair, 1)) for pair in ((under_a, under_b), (under_b, under_a))]
        return (both[0] + both[1]) / 2


def train_merger(latents: Latents, work: Path, device: str) -> Merger:
    """Fit a merger to the data's own triples; it is held fixed afterwards."""
    torch.manual_seed(config.SEED + 3)
    merger, path = Merger().to(device), work / "merger.safetensors"
    if path.is_file():
        merger.load_state_dict(load_file(path))
        return merger.eval().requires_grad_(False)
    optimizer = torch.optim.Adam(merger.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(config.SEED + 4)
    bar = tqdm(range(config.MERGER_STEPS), desc="merger", mininterval=10)
    for step in bar:
        optimizer.param_groups[0]["lr"] = 2e-3 * (1 - step / config.MERGER_STEPS)
        scenes = torch.randint(len(latents), (16,), generator=generator)
        a, b, both = (latents.of("pictures", scenes, torch.full((16,), lit)).to(device) for lit in range(3))
        loss = mse_loss(merger(a, b), both)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        bar.set_postfix(loss=f"{loss.item():.4f}", refresh=False)
    save_file(merger.state_dict(), path)
    return merger.eval().requires_grad_(False)


if __name__ == "__main__":
    main()
