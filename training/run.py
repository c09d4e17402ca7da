"""One training run: its folders, its budget, what has been published, and the loop that every stage goes through."""

from __future__ import annotations

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor, nn
from tqdm import tqdm

from . import config
from .muon import Muon
from .pool import write_tensors

PART_LIMIT = 16 * 2**20 - 2**16
"""bytes of a published file"""
READ_EVERY = 20
"""steps between looks at the clock and at the losses, which make a GPU wait"""
LEAST_STEPS = 3
"""of a stage, however small the budget is"""
CURVE_POINTS = 200
Loss = Callable[[int, torch.Generator], dict[str, Tensor]]
"""(step, generator on the device, seeded for it) -> the terms of its loss, of which the sum is minimised"""


@dataclass
class Run:
    """A run in `work`: checkpoints in `work/state`; what came of it in `out`, a few files, each whole at any time."""

    work: Path
    out: Path
    device: torch.device
    budget: float
    """seconds for all stages together, see `clock`"""
    size: int = config.SIZE
    compiled: bool = False
    """whether the UNets are compiled for training"""
    manifest: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.work / "state").mkdir(parents=True, exist_ok=True)
        self.out.mkdir(parents=True, exist_ok=True)
        self.read_manifest()
        if self.manifest.get("size", self.size) != self.size:
            raise SystemExit(f"{self.out} is of a run with {self.manifest['size']} pixels. "
                             f"Go on with --size {self.manifest['size']}, or in another folder.")
        if self.device.type == "cuda":
            self.device = torch.device("cuda", torch.cuda.current_device())
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU"
        self.manifest = {"stages": {}, "figures": {}, "files": {}} | self.manifest | {
            "size": self.size, "budget": self.budget, "device": name, "torch": torch.__version__,
            "unet": config.UNET, "vae": config.VAE, "text_encoder": config.TEXT_ENCODER}
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")

    @property
    def rank(self) -> int:
        """Which of the processes that train together this one is; the first does all writing."""
        return dist.get_rank() if dist.is_initialized() else 0

    @property
    def processes(self) -> int:
        """How many train together, each with its part of every batch."""
        return dist.get_world_size() if dist.is_initialized() else 1

    @property
    def kind(self) -> config.Device:
        """What depends on the kind of device."""
        return config.DEVICES[self.device.type]

    @property
    def data(self) -> Path | None:
        """Where rendered chunks are kept, if they are."""
        return self.work / "data" if self.kind.keep else None

    def autocast(self) -> torch.autocast:
        """bfloat16 where it is safe."""
        return torch.autocast(self.device.type, torch.bfloat16)

    def clock(self) -> float:
        """Seconds that count for the budget: on the CPU those that it gave us, so that a busy machine costs nothing."""
        return time.monotonic() if self.device.type == "cuda" else time.process_time() / torch.get_num_threads()

    def batch(self, stage: str, half: bool = False) -> int:
        """This process's part of a batch: of whole pictures fewer, the larger they are. half: of half the size."""
        batch = config.STAGES[stage].batches[self.device.type] / self.processes
        if stage in ("vae", "text"):
            return max(1, round(batch))
        return max(3, round(batch * (config.SIZE / self.size) ** 2)) * (4 if half else 1)

    def generator(self, *numbers: int) -> torch.Generator:
        """A generator on the device, seeded by these numbers."""
        seed = config.SEED
        for number in numbers:
            seed = (seed * 1_000_003 + number) % 2**62
        return torch.Generator(self.device).manual_seed(seed)

    def average(self, tensors: Sequence[Tensor]) -> None:
        """Make each the mean over the processes."""
        if self.processes > 1:
            flat = torch.cat([one.flatten() for one in tensors]) / self.processes
            dist.all_reduce(flat)
            for one, mean in zip(tensors, flat.split([one.numel() for one in tensors]), strict=True):
                one.copy_(mean.view_as(one))

    def agreed(self, numbers: Sequence[float]) -> list[float]:
        """The means over the processes, so that all decide alike."""
        found = torch.tensor(numbers, dtype=torch.float64)
        self.average([found])
        return found.tolist()

    def wait(self) -> None:
        """Until all processes are here."""
        if self.processes > 1:
            dist.barrier()

    # --- what is published ---

    def done(self, stage: str) -> bool:
        """Whether a stage has had its share of the budget, in this run or in the one that `out` is of."""
        record = self.manifest["stages"].get(stage)
        if not record or not record["ended"]:
            return False
        return bool(config.STAGES[stage].like) or record["seconds"] >= 0.98 * self.seconds(stage)

    def taken_over(self, stage: str) -> bool:
        """Whether a later stage goes on with this one's weights and has replaced them, see `publish`."""
        return any(config.STAGES[later].initial == stage and config.PARTS[later] == config.PARTS[stage]
                   for later in self.manifest["stages"])

    def seconds(self, stage: str) -> float:
        """A stage's share of the budget."""
        return config.STAGES[stage].share * self.budget

    def weights(self, stage: str) -> dict[str, Tensor] | None:
        """A stage's published weights, float32, if there are any."""
        if stage not in self.manifest["stages"]:
            return None
        found = {}
        for path in sorted(self.out.glob(f"{config.PARTS[stage]}*.safetensors")):
            if stage in self.manifest["files"].get(path.name, {"stages": ()})["stages"]:
                found.update({key.removeprefix(f"{stage}."): value.float() for key, value in load_file(path).items()
                              if key.startswith(f"{stage}.")})
        return found or None

    def publish(self, stage: str, state: Mapping[str, Tensor], record: dict[str, Any]) -> None:
        """Write a stage's weights, fp16, in parts of at most 16 MB, and the manifest.

        They replace those of the stage that it started from, if these are in the same file.
        """
        if not self.rank:
            self._write(stage, state)
            self.manifest["stages"][stage] = record
            self.write_manifest()
        self.wait()
        if self.rank:
            self.read_manifest()

    def _write(self, stage: str, state: Mapping[str, Tensor]) -> None:
        part = config.PARTS[stage]
        kept: dict[str, Tensor] = {}
        for path in self.out.glob(f"{part}*.safetensors"):
            if path.stem == part or path.stem.removeprefix(f"{part}.").isdigit():
                kept.update(load_file(path))
        replaced = (stage, config.STAGES[stage].initial)
        kept = {key: value for key, value in kept.items() if key.split(".")[0] not in replaced}
        kept.update({f"{stage}.{key}": value.detach().half().contiguous().cpu() for key, value in state.items()})
        groups: list[dict[str, Tensor]] = [{}]
        room = PART_LIMIT
        for key, value in sorted(kept.items()):
            if value.nbytes + 256 > room and groups[-1]:
                groups.append({})
                room = PART_LIMIT
            groups[-1][key] = value
            room -= value.nbytes + 256
        for index, group in enumerate(groups):
            path = self.out / (f"{part}.safetensors" if index == 0 else f"{part}.{index}.safetensors")
            write_tensors(group, path)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            self.manifest["files"][path.name] = {"bytes": path.stat().st_size, "sha256": digest,
                                                "stages": sorted({name.split(".")[0] for name in group})}

    def read_manifest(self) -> None:
        """Take what the written manifest says, if there is one."""
        path = self.out / "manifest.json"
        if path.is_file():
            self.manifest = json.loads(path.read_text("utf-8"))

    def write_manifest(self) -> None:
        """Write what the manifest says now."""
        if self.rank:
            return
        part = self.out / "manifest.json.part"
        part.write_text(json.dumps(self.manifest, indent=1), "utf-8")
        part.replace(self.out / "manifest.json")


@dataclass
class Progress:
    """How far a stage is; `seconds` are those of all runs."""

    step: int = 0
    seconds: float = 0.0
    steps: int | None = None
    """how many it is to run, where not the clock decides"""
    speed: float = 1.0
    """of learning; it is halved when the loss stops being a number"""


class Training:
    """What a stage trains and how far it is, with its checkpoints."""

    def __init__(self, run: Run, stage: str, modules: nn.Module, steps: int | None) -> None:
        self.run, self.stage, self.modules = run, stage, modules
        self.choice, self.path = config.STAGES[stage], run.work / "state" / f"{stage}.pt"
        self.average = copy.deepcopy(modules).requires_grad_(False)
        self.optimizers = _optimizers(modules, self.choice.muon)
        self.progress, self.curve = Progress(steps=steps), list[dict[str, float]]()
        if not self.restore() and stage in run.manifest["stages"]:
            old = run.manifest["stages"][stage]  # only published weights are there: they are what `modules` begin as
            self.progress, self.curve = Progress(old["step"], old["seconds"], steps), old["curve"]
        new = not self.path.is_file()
        run.wait()
        if new:
            self.save(ended=False)

    @property
    def share(self) -> float:
        """How much of the stage is done, 0..1."""
        progress = self.progress
        return progress.step / progress.steps if progress.steps else progress.seconds / self.run.seconds(self.stage)

    @property
    def rate(self) -> float:
        """The learning rate of this step."""
        falling = max((1 - self.share) / self.choice.cooldown, 0.01)
        return self.progress.speed * self.choice.rates[self.run.device.type] * min(
            1, (self.progress.step + 1) / self.choice.warmup, falling)

    def restore(self) -> bool:
        """Go back to the last checkpoint, if there is one."""
        if not self.path.is_file():
            return False
        state = torch.load(self.path, map_location=self.run.device, weights_only=True)
        for target, name in ((self.modules, "weights"), (self.average, "average")):
            target.load_state_dict(state[name])
        for optimizer, known in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(known)
        self.progress, self.curve = Progress(**state["progress"]), state["curve"]
        return True

    def save(self, ended: bool) -> None:
        """A checkpoint to go on from, and the averaged weights to be used."""
        progress, part = self.progress, self.path.with_suffix(".part")
        if not self.run.rank:
            torch.save({"weights": self.modules.state_dict(), "average": self.average.state_dict(), "curve": self.curve,
                        "optimizers": [one.state_dict() for one in self.optimizers], "progress": vars(progress)}, part)
            part.replace(self.path)
        self.run.publish(self.stage, self.average.state_dict(), {
            "step": progress.step, "seconds": round(progress.seconds, 1), "ended": ended, "speed": progress.speed,
            "batch": self.run.batch(self.stage), "curve": _thinned(self.curve)})

    def step(self, loss_of: Loss) -> dict[str, Tensor]:
        """One step; returns the terms of the loss."""
        progress = self.progress
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["speed"] * self.rate
        numbers = (sorted(config.STAGES).index(self.choice.like or self.stage), progress.step,
                   *([self.run.rank] if self.run.rank else []))
        with self.run.autocast():
            terms = loss_of(progress.step, self.run.generator(*numbers))
        loss = torch.stack([term.float() for term in terms.values()]).sum()
        self.modules.zero_grad()
        loss.backward()
        self.run.average([weight.grad for weight in self.modules.parameters() if weight.grad is not None])
        nn.utils.clip_grad_norm_(self.modules.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        decay = min(self.choice.average, (progress.step + 1) / (progress.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(list(self.average.parameters()), list(self.modules.parameters()), 1 - decay)
        progress.step += 1
        return {key: term.detach() for key, term in terms.items()}


def fit(run: Run, stage: str, modules: nn.Module, loss_of: Loss, steps: int | None = None) -> nn.Module:
    """Minimise the loss over the module's weights, for `steps` or until the stage's share of the budget is over.

    Returns the module with the moving average of its weights, which is published with every checkpoint. When the loss
    stops being a number, it goes back to the last checkpoint and learns half as fast.
    """
    training, sums = Training(run, stage, modules.train(), steps), dict[str, list[Tensor]]()
    before = saved = training.progress.seconds
    started = run.clock()
    every = READ_EVERY if run.device.type == "cuda" else 1
    bar = tqdm(desc=stage, initial=training.progress.step, mininterval=10)
    while training.share < 1 or training.progress.step < LEAST_STEPS:
        for key, term in training.step(loss_of).items():
            sums.setdefault(key, []).append(term)
        bar.update()
        step = training.progress.step
        if step % READ_EVERY == 0 or step == LEAST_STEPS:
            means = dict(zip(sums, run.agreed([float(torch.stack(values).float().mean()) for values in sums.values()]),
                             strict=True))
            sums.clear()
            bar.set_postfix({key: f"{value:.4f}" for key, value in means.items()}, refresh=False)
            if not all(math.isfinite(value) for value in means.values()):
                speed = training.progress.speed / 2
                training.restore()
                training.progress.speed = speed
                if speed < 1 / 64:
                    raise SystemExit(f"{stage}: the loss stops being a number again and again. {run.out} has the "
                                     "weights of the last checkpoint. Choose a lower rate in config.py.")
            else:
                training.curve.append({"step": step, **means})
        if step % every == 0:
            training.progress.seconds = before + run.agreed([run.clock() - started])[0]
            if training.progress.seconds - saved > run.kind.save_every and not sums:
                training.save(ended=False)
                saved = training.progress.seconds
    training.progress.seconds = before + run.agreed([run.clock() - started])[0]
    training.save(ended=True)
    bar.close()
    return training.average


def _optimizers(modules: nn.Module, muon: bool) -> list[torch.optim.Optimizer]:
    """AdamW, and with `muon` Muon for the matrices within the network; what takes the conditions in learns faster."""
    weights: tuple[dict[float, list[nn.Parameter]], ...] = ({}, {})
    """AdamW's and Muon's, by how many times faster they learn"""
    for key, weight in modules.named_parameters():
        if weight.requires_grad:
            inner = muon and weight.ndim > 1 and not any(part in key for part in config.OUTER)
            speed = next((factor for part, factor in config.FAST.items() if part in key), 1.0)
            weights[inner].setdefault(speed, []).append(weight)
    others, matrices = ([{"params": params, "speed": speed} for speed, params in own.items()] for own in weights)
    adamw = torch.optim.AdamW(others, weight_decay=1e-4, betas=(0.9, 0.99), fused=True)
    return [adamw, Muon(matrices)] if matrices else [adamw]


def _thinned(curve: list[dict[str, float]]) -> list[dict[str, float]]:
    """At most `CURVE_POINTS` of a curve's points, rounded."""
    every = -(-len(curve) // CURVE_POINTS) or 1
    return [{key: round(value, 6) for key, value in row.items()} for row in curve[::every]]
