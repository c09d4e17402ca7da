"""Faults injected into relit jobs, in the doubles of WebUIs and in the standalone session, and what must hold after.

A fault is raised where a function of the library is entered (WebUIs) or at one of its lines (the standalone session,
where Ctrl+C may come at any), at a step of the sampling, or in what of the host the library calls. A step may also be
interrupted or skipped by the person. Whatever happens: it is told, or the result is the undisturbed one; nothing of
ours stays on `p`, its sampler or the model; the next plain picture and the next relit one are what they would be.
`tests/test_faults.py` runs some of them, `benchmarks/faults.py` all and the same in a real Forge.
"""

from __future__ import annotations

import errno
import hashlib
import importlib
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType, SimpleNamespace
from typing import Any, NamedTuple

import fake_a1111
import fake_webui
import numpy as np
import pytest
import torch
from fake_modules import put_modules
from fake_webui import base64_of, picture
from miniature import Miniature
from PIL import Image

from lib_iclight.errors import HostError
from lib_iclight.folders import Folders
from lib_iclight.generation import Generation
from lib_iclight.session import Session
from lib_iclight.settings import Settings

HERE = Path(__file__).resolve().parent
LIBRARY = str(HERE.parent / "lib_iclight") + "/"
DOUBLES = str(HERE) + "/"
HOST_FUNCTIONS = ("clone", "add_patches", "add_conditioning_modifier", "encode", "process_in", "infotext",
                  "network_apply_weights", "encode_first_stage", "get_closet_checkpoint_match")
"""functions of the doubles that the library calls: a fault in one is the host's own failing"""
SPARED = ("hooks.py:begin", "hooks.py:prepare", "hooks.py:before_sampling", "hooks.py:finish", "hooks.py:end",
          "hooks.py:run_of", "hooks.py:_release", "hooks.py:_take_on", "run.py:__init__",
          "run.py:keeping_errors", "run.py:let_go_of_sampler", "run.py:failure", "replacing.py:",
          "errors.py:", "a1111/weights.py:_leave", "a1111/weights.py:forget")
"""where none is raised at the entry: what catches errors, and what sets attributes back. Theirs would be faults of
Python itself; what they call is not spared"""
ERRORS: Mapping[str, Callable[[], BaseException]] = {
    "an error": lambda: RuntimeError("injected"),
    "a named error": lambda: HostError("injected"),
    "no memory": lambda: MemoryError("injected"),
    "no GPU memory": lambda: torch.cuda.OutOfMemoryError("injected"),
    "disk full": lambda: OSError(errno.ENOSPC, "injected"),
    "file gone": lambda: FileNotFoundError(errno.ENOENT, "injected"),
    "Ctrl+C": lambda: KeyboardInterrupt("injected"),
}
STOPS = ("interrupted", "skipped")
"""the person's own: the host's sampler ends with what it has"""


class Fault(NamedTuple):
    """One fault: where, and which."""

    world: str
    site: str
    """`call FILE:FUNCTION`, `line FILE:FUNCTION` or `step`"""
    number: int
    """which call, line or step of all, from 0 on"""
    error: str
    """a key of ERRORS, or one of STOPS"""

    def __str__(self) -> str:
        return f"{self.world}: {self.error} at {self.site} ({self.number})"


class Watch:
    """Counts the events at which a fault may be raised; raises one at `at`."""

    def __init__(self, at: int = -1, error: str = "", spared: Sequence[str] = SPARED) -> None:
        self.sites: list[str] = []
        self.error = error
        self._at, self._spared = at, spared
        self._known: dict[CodeType, str] = {}

    def calls(self, frame: FrameType, event: str, arg: object) -> None:
        """For sys.setprofile: functions as they are entered. Generators are not, they would lose their `finally`."""
        if event == "call" and self._name(frame.f_code) and not frame.f_code.co_flags & 0x20:
            self._meet("call " + self._known[frame.f_code])

    def lines(self, frame: FrameType, event: str, arg: object) -> Any:
        """For sys.settrace: every line of the library."""
        name = self._name(frame.f_code)
        if not name or not frame.f_code.co_filename.startswith(LIBRARY):
            return None
        if event == "line":
            self._meet("line " + name)
        return self.lines

    def step(self, *step: object) -> None:
        """For a sampler: each step."""
        self._meet("step")

    def _name(self, code: CodeType) -> str:
        if code not in self._known:
            name, where = code.co_name, code.co_filename
            known = ""
            if where.startswith(LIBRARY) and (not name.startswith("<") or name == "<lambda>"):
                known = f"{where[len(LIBRARY):]}:{name}"
            elif where.startswith(DOUBLES + "fake_") and name in HOST_FUNCTIONS:
                known = f"the host:{name}"
            self._known[code] = "" if any(one in known for one in self._spared) else known
        return self._known[code]

    def _meet(self, site: str) -> None:
        self.sites.append(site)
        if len(self.sites) - 1 == self._at:
            sys.setprofile(None)
            sys.settrace(None)
            if self.error in STOPS:
                setattr(sys.modules["modules.shared"].state, self.error, True)
            else:
                raise ERRORS[self.error]()


@contextmanager
def watching(watch: Watch, kind: str) -> Iterator[None]:
    """Have the watch see calls or lines; as it was, coverage included, afterwards."""
    before: Any = sys.getprofile() if kind == "call" else sys.gettrace()
    put: Any = sys.setprofile if kind == "call" else sys.settrace
    try:
        if kind != "step":
            put(watch.calls if kind == "call" else watch.lines)
        yield
    finally:
        if kind != "step":
            put(before)


def places(kinds: Iterable[str], undisturbed: Callable[[Watch, str], object]) -> dict[str, list[str]]:
    """kind -> the places in an undisturbed job where a fault can be raised."""
    watches = {kind: Watch() for kind in kinds}
    for kind, watch in watches.items():
        undisturbed(watch, kind)
    return {kind: watch.sites for kind, watch in watches.items()}


def differing(one: Sequence[Any], other: Sequence[Any]) -> bool:
    """Whether two results, lists of pictures and texts, differ."""
    return len(one) != len(other) or any(first != second for first, second in zip(one, other, strict=True))


# --- WebUIs -------------------------------------------------------------------------------------------------------


class ForgeSampler(fake_webui.Sampler):
    """Makes a latent of all that reached the UNet."""

    def _run(self, x: torch.Tensor, entrance: str, initial: torch.Tensor | None, steps: int | None) -> torch.Tensor:
        super()._run(x, entrance, initial, steps)
        seen = self.p.passes[-1]
        result: torch.Tensor = 0.3 * x + seen.taken
        if initial is not None:
            result = result + seen.strength * initial
        for concat in seen.concats:
            if concat is not None:
                result = result + concat.mean(1, keepdim=True)
        for patches in self.p.sd_model.forge_objects.unet.patches.values():
            for _, (weight, _) in patches.values():
                result = result + weight.mean()
        latents: torch.Tensor = result
        self.p.latents = latents
        return latents


class NeoUnet(fake_webui.Unet):
    """Tells sets of patches apart by an id that is new at every `add_patches`."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.object_patches: dict[str, Any] = {}
        self.patches_uuid = object()

    def clone(self) -> NeoUnet:
        twin = NeoUnet(self.model)
        twin.patches, twin.patches_uuid = dict(self.patches), self.patches_uuid
        twin.model_options = {"conditioning_modifiers": list(self.model_options["conditioning_modifiers"])}
        return twin

    def add_patches(self, *, filename: str, patches: dict[str, Any], strength_patch: float = 1.0,
                    strength_model: float = 1.0, online_mode: bool = False) -> None:
        self.patches[filename] = patches
        self.patches_uuid = object()


class A1111Model(fake_a1111.SdModel):
    """The live UNet."""

    def reset(self) -> None:
        """This host resets nothing before a sampling."""


class A1111Sampler(fake_a1111.Sampler):
    """Samples with the live UNet; the person may stop it before a step."""

    def __init__(self, p: Any) -> None:
        super().__init__(p.sd_model)
        self.p = p
        self.model_wrap_cfg = SimpleNamespace(init_latent=None)
        self.at_step = self._at_step

    def _at_step(self, step: int) -> None:
        self.p.at_step(len(self.p.passes), step)
        state = sys.modules["modules.shared"].state
        if state.interrupted or state.skipped:
            raise fake_a1111.InterruptedException

    def _run(self, x: torch.Tensor, image_conditioning: torch.Tensor | None) -> torch.Tensor:
        self.p.passes.append(x)
        self.sd_model.unet.seen.clear()
        if image_conditioning is None:
            image_conditioning = torch.zeros(x.shape[0], 5, 1, 1)
        result = super()._run(x, image_conditioning)
        self.p.latents = result[:x.shape[0]] + (0 if result is x else self.p.denoising_strength)
        return result[:x.shape[0]]


SUBJECT = np.zeros((48, 64, 3), np.uint8)
SUBJECT[...] = np.arange(64, dtype=np.uint8)[None, :, None] * 3 + 20
SUBJECT[8:40, 16:48, 1] = 220
MASK = np.zeros((48, 64), np.uint8)
MASK[8:40, 16:48] = 255
PHOTO, CUT = base64_of(Image.fromarray(SUBJECT)), base64_of(Image.fromarray(MASK))
FC = {"foreground": PHOTO, "mask": CUT, "matting": "none", "light": "left", "keep_background": True,
      "preserve_color": 0.5, "outputs": ["raw", "cutout", "mask", "lightmap"], "fit": "contain"}
FBC = {"foreground": PHOTO, "mask": CUT, "matting": "none", "mode": "fbc", "background": base64_of(picture(40)),
       "harmonise": 0.5, "preserve_detail": 0.5, "start": "background"}
KEEP = torch.zeros(4, 8, 8)
KEEP[:, :, 4:] = 1
JOBS: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "fc, hires": (FC, {"hires": (12, 12)}),
    "fbc, two batches": (FBC, {"n_iter": 2, "batch_size": 2}),
    "img2img, inpainting": ({"light": "ambient", "matting": "none", "preserve_color": 1.0},
                            {"init_images": [picture(90)], "mask": KEEP}),
    "img2img, from noise": ({"start": "noise", "matting": "none", "keep_background": True, "outputs": ["mask"],
                             "mask": CUT}, {"init_images": [Image.fromarray(SUBJECT)], "n_iter": 2}),
    "a light stage": ({**FBC, "stage": "4", "start": "auto", "background": None, "harmonise": 0.0,
                       "outputs": ["normals"]}, {}),
}
"""name -> settings, and what the host's processing is told"""
HOSTS = ("forge", "neo", "a1111", "a1111 with a LoRA")


class WebUI:
    """A double of a WebUI, and in it one relit job."""

    kinds = ("call", "step")

    def __init__(self, host: str, job: str, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.name = f"{host}, {job}"
        self._host, (self._settings, self._options) = host, JOBS[job]
        fake_webui.install(monkeypatch, models)
        module = fake_webui.load_script()
        if host.startswith("a1111"):
            module.HOST = self._install_a1111(monkeypatch)
            monkeypatch.setattr(fake_webui, "Sampler", A1111Sampler)
        else:
            monkeypatch.setattr(fake_webui, "Sampler", ForgeSampler)
        self._module, self._script = module, module.ICLightScript()
        monkeypatch.setattr(module.SESSION, "resolve_weights", lambda settings, progress=None: settings.mode)
        monkeypatch.setattr(module.SESSION, "map_offsets", lambda kind, layout: self._offsets(kind))
        self.reset()
        self._plain, self._relit = self.plain(), self.relight()
        assert not differing(self._relit, self.relight()), "or nothing is proved"
        assert differing(self._plain, self._relit[:len(self._plain)])

    def _install_a1111(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        shared = sys.modules["modules.shared"]
        networks = fake_a1111.Networks()
        monkeypatch.setitem(sys.modules, "networks", networks)
        shared.opts.lora_functional, shared.device = False, torch.device("cpu")  # type: ignore[attr-defined]
        more: dict[str, dict[str, Any]] = {"devices": {"dtype_vae": torch.float32}, "sd_unet": {"current_unet": None}}
        for name, members in more.items():
            put_modules(monkeypatch, {f"modules.{name}": members})
        if "LoRA" in self._host:
            networks.choose(a=0.5)
        return importlib.import_module("lib_iclight.hosts.webui.a1111").A1111Host("A1111")

    def _offsets(self, kind: str) -> Any:
        inputs, generator = 12 if kind == "fbc" else 8, torch.Generator().manual_seed(len(kind))
        if not self._host.startswith("a1111"):
            tensors = {"input_blocks.0.0.weight": torch.randn(320, inputs, 3, 3, generator=generator)}
        else:
            tensors = {}
            for name, parameter in self._shapes.items():
                shape = (parameter[0], inputs, *parameter[2:]) if name == "input_blocks.0.0.weight" else parameter
                tensors[name] = torch.randn(shape, generator=generator).half()
        return SimpleNamespace(name=f"iclight-{kind}", tensors=tensors)

    def reset(self) -> None:
        """A model as from the disk, and nothing in any cache."""
        session = self._module.SESSION
        session.latents.clear()
        session.cutter = type(session.cutter)(session.folders.matting)
        self._module.HOST.release()
        self._model: Any
        if self._host.startswith("a1111"):
            self._model = A1111Model()
            self._model.opts.lora_functional = False
            self._shapes = {name: tuple(one.shape) for name, one in self._model.unet.named_parameters()}
        else:
            self._model = fake_webui.SdModel()
            if self._host == "neo":
                self._model.original.unet = NeoUnet(self._model.original.unet.model)
                self._model.reset()
        self._go_on()

    def run(self, watch: Watch, kind: str) -> str:
        """The job with a fault in it, in a fresh WebUI: how it ended. Raises AssertionError for what must not be."""
        self.reset()
        plain, mark = self.plain(), self._mark()
        assert not differing(plain, self._plain)
        p = self._job()
        ended = self._ended(p, watch, kind)
        self._go_on()
        self._check_left(p)
        if self._host.startswith("a1111"):  # the live UNet, without any other job
            assert self._mark() == mark, "the UNet's weights are others"
        assert not differing(self.plain(), self._plain), "the next plain picture is another"
        assert self._mark() == mark, "something stays on the model"
        assert not differing(self.relight(), self._relit), "the next relit picture is another"
        self.plain()
        assert self._mark() == mark, "something stays on the model after the next job"
        return ended

    def sites(self) -> dict[str, list[str]]:
        """See `places`."""
        def job(watch: Watch, kind: str) -> None:
            self.reset()
            self._ended(self._job(), watch, kind)

        return places(self.kinds, job)

    def plain(self) -> list[Any]:
        """The pictures of the job without IC-Light."""
        return self._result(self._job(enabled=False))

    def relight(self) -> list[Any]:
        """The pictures and texts of the job."""
        return self._result(self._job())

    def _ended(self, p: Any, watch: Watch, kind: str) -> str:
        if kind == "step":
            p.at_step = watch.step
        try:
            with watching(watch, kind):
                result = self._result(p)
        except BaseException as error:
            assert is_injected(error), f"it ended with another error: {error!r}"
            return "raised"
        if watch.error in STOPS:
            assert not p.swallowed, f"stopping is no error: {p.swallowed}"
            return "stopped"
        assert not p.swallowed, f"only the host's console says it: {p.swallowed}"
        assert not differing(result, self._relit), "another result, and nobody was told"
        return "absorbed"

    def _job(self, enabled: bool = True) -> Any:
        values = {"enabled": enabled, **self._settings}
        if "init_images" in self._options:
            p: Any = fake_webui.ProcessingImg2Img(self._model, self._script, [values], **self._options)
        else:
            p = fake_webui.Processing(self._model, self._script, [values], **self._options)
        p.upscale = lambda image: drawn(p.latents[p.batch_index])  # what the double paints, from its latents
        p.outpath_samples = None
        return p

    def _result(self, p: Any) -> list[Any]:
        torch.manual_seed(1)
        processed = fake_webui.process_images(p)
        pictures = [(image.size, image.convert("RGB").tobytes()) for image in processed.images]
        return [*pictures, *processed.infotexts, dict(p.extra_generation_params)]

    def _check_left(self, p: Any) -> None:
        on_sampler = {"sample", "sample_img2img"} & set(vars(p.sampler)) if p.sampler is not None else set()
        assert not on_sampler, f"on the sampler stays {on_sampler}"
        assert p.denoising_strength == 0.4
        run = p.iclight_run if hasattr(p, "iclight_run") else None
        assert run is None or "sample" in vars(p)
        p.script_args[0] = {"enabled": False}  # the same object once more, as the batch tab does
        self._result(p)
        assert p.n_iter == self._options.get("n_iter", 1), "the number of batches stays multiplied"
        assert "sample" not in vars(p) and getattr(p, "iclight_run", None) is None, "on the processing stays ours"

    def _mark(self) -> Any:
        """What of the model must be the same after a plain job."""
        if self._host.startswith("a1111"):
            hooks = [name for name, one in self._model.model.named_modules()
                     if one._forward_pre_hooks or one._forward_hooks]
            return self._model.hash(), hooks
        unet, vae = self._model.original.unet, self._model.original.vae
        return (dict(unet.patches), {key: list(value) for key, value in unet.model_options.items()},
                getattr(unet, "patches_uuid", None), type(vae.first_stage_model).__name__,
                sorted({"encode", "clone", "add_patches"} & (set(vars(vae)) | set(vars(unet)))))

    @staticmethod
    def _go_on() -> None:
        vars(sys.modules["modules.shared"].state).update(interrupted=False, skipped=False)


def drawn(latent: torch.Tensor) -> Image.Image:
    """A latent [4, h, w] as a picture of eight times the size."""
    values = (latent[:3].movedim(0, -1) * 40 + 128).clip(0, 255).numpy().astype(np.uint8)
    return Image.fromarray(values.repeat(8, 0).repeat(8, 1))


def is_injected(error: BaseException | None) -> bool:
    """Whether an error is an injected one, or was raised because of one."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        if "injected" in str(error) or "injected" in str(getattr(error, "detail", "")):
            return True
        error = error.__cause__ or error.__context__
    return False


# --- the standalone session ---------------------------------------------------------------------------------------


class Alone:
    """A standalone session with the miniature, and in it one job."""

    kinds = ("line", "step")

    def __init__(self, name: str, models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.name = f"standalone, {name}"
        settings: dict[str, Any] = {**FC, "foreground": SUBJECT, "mask": MASK}
        if name == "fbc":
            settings = {**FBC, "foreground": SUBJECT, "mask": MASK, "background": SUBJECT[::-1].copy()}
        self._settings = Settings(enabled=True, **settings)
        self._generation = Generation(width=64, height=64, steps=2, hires_scale=1 if name == "fbc" else 1.5)
        self._other = Settings(enabled=True, foreground=SUBJECT, matting="none",
                               mode="fc" if name == "fbc" else "fbc", light="right")
        self._checkpoint = Miniature()
        self._session = Session(lambda: self._checkpoint, folders=Folders.under(models), device="cpu")
        self._done = self.relight()
        self._mark = self._weights()
        self.reset()
        self._other_done = self._result(self._other)
        self.reset()
        assert not differing(self.relight(), self._done), "or nothing is proved"

    def reset(self) -> None:
        """Nothing in any cache, and the UNet with another job's offsets."""
        self._session.latents.clear()
        self._session.cutter = type(self._session.cutter)(self._session.folders.matting)
        self._result(self._other)
        self._session.latents.clear()

    def relight(self, progress: Any = None) -> list[Any]:
        """The job's pictures and texts."""
        return self._result(self._settings, progress)

    def run(self, watch: Watch, kind: str) -> str:
        """The job with a fault in it: how it ended. Raises AssertionError for what must not be."""
        self.reset()
        ended = self._ended(watch, kind)
        assert not differing(self.relight(), self._done), "the next picture is another"
        assert self._weights() == self._mark, "the UNet's weights are others"
        assert not differing(self._result(self._other), self._other_done), "another job's next picture is another"
        return ended

    def sites(self) -> dict[str, list[str]]:
        """See `places`."""
        def job(watch: Watch, kind: str) -> None:
            self.reset()
            self._ended(watch, kind)

        return places(self.kinds, job)

    def _ended(self, watch: Watch, kind: str) -> str:
        def progress(what: str, done: int, total: int) -> None:
            if kind == "step" and what == "sampling":
                watch.step()

        try:
            with watching(watch, kind):
                result = self.relight(progress)
        except BaseException as error:
            assert is_injected(error), f"it ended with another error: {error!r}"
            return "raised"
        assert not differing(result, self._done), "another result, and nobody was told"
        return "absorbed"

    def _result(self, settings: Settings, progress: Any = None) -> list[Any]:
        made = self._session.relight(settings, self._generation, progress)
        return [*((one.name, one.number, one.picture.size, one.picture.tobytes(), one.text) for one in made.finished),
                *made.warnings]

    def _weights(self) -> str:
        [host] = self._session._hosts
        digest = hashlib.sha256()
        for name, value in host.unet.model.state_dict().items():
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.contiguous().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()


# --- which --------------------------------------------------------------------------------------------------------

World = WebUI | Alone
WORLDS: Mapping[str, Callable[[Path, pytest.MonkeyPatch], World]] = {
    **{f"{host}, {job}": lambda models, patch, host=host, job=job: WebUI(host, job, models, patch)  # type: ignore[misc]
       for host in HOSTS for job in JOBS if job != "a light stage" or host == "forge"},
    **{f"standalone, {name}": lambda models, patch, name=name: Alone(name, models, patch)  # type: ignore[misc]
       for name in ("fc, hires", "fbc")},
}
ALWAYS = ("run.py:check", "run.py:prepare", "run.py:before_sampling", "run.py:finish", "run.py:end", "adapter.py:apply",
          "forge.py:apply", "the host:encode", "weights.py:_keep", "weights.py:_memory_abounds", "weights.py:_sum",
          "unet.py:_write", "unet.py:use", "host.py:_decode")
"""places that are among the first to be chosen: every hook, and where memory runs out"""


def faults_of(world: World, count: int, seed: int = 0) -> list[Fault]:
    """So many different faults for a world, the same ones every time.

    First the person stops each step; then come errors at steps and in hooks; then any place.
    """
    chooser = random.Random(f"{world.name} {seed}")
    stopped: list[Fault] = []
    first: list[Fault] = []
    rest: list[Fault] = []
    errors = list(ERRORS)
    for kind, sites in world.sites().items():
        if kind == "step":
            both = [(number, error) for number in range(len(sites)) for error in (*STOPS, "no GPU memory", "Ctrl+C")]
            first += [Fault(world.name, "step", *one) for one in both if one[1] not in STOPS]
            if isinstance(world, WebUI):
                stopped = [Fault(world.name, "step", *one) for one in both if one[1] in STOPS]
            continue
        places: dict[str, list[int]] = {}
        for number, site in enumerate(sites):
            places.setdefault(site, []).append(number)
        for site, numbers in places.items():
            chosen = chooser.sample(numbers, min(6 if site.endswith("unet.py:_write") else 2, len(numbers)))
            which = chooser.sample(errors, len(chosen))
            (first if site.endswith(ALWAYS) else rest).extend(
                Fault(world.name, site, number, error) for number, error in zip(chosen, which, strict=True))
    chooser.shuffle(rest)
    chooser.shuffle(first)
    return (stopped + first + rest)[:count]


def try_fault(world: World, fault: Fault) -> str:
    """How the job ended: raised, stopped, absorbed; what must not be, as `FAILED: ...`."""
    kind = fault.site.split()[0]
    watch = Watch(fault.number, fault.error)
    try:
        ended = world.run(watch, kind)
    except AssertionError as error:
        return f"FAILED: {str(error).splitlines()[0] if str(error) else 'assertion'}"
    return ended if len(watch.sites) > fault.number else "FAILED: the place was not met"


def campaign(names: Sequence[str], count: int, models: Path, seed: int = 0,
             tell: Callable[[Fault, str], None] = lambda fault, ended: None) -> dict[Fault, str]:
    """`count` faults spread over the worlds of these names, and how each ended."""
    results: dict[Fault, str] = {}
    for place, name in enumerate(names):
        share = count * (place + 1) // len(names) - count * place // len(names)
        with pytest.MonkeyPatch.context() as patch:
            world = WORLDS[name](models, patch)
            for fault in faults_of(world, share, seed):
                results[fault] = try_fault(world, fault)
                tell(fault, results[fault])
    return results


def summary(results: Mapping[Fault, str], by: Callable[[Fault], str]) -> dict[str, Counter[str]]:
    """What `by` tells of a fault -> how many jobs ended how."""
    table: dict[str, Counter[str]] = {}
    for fault, ended in results.items():
        table.setdefault(by(fault), Counter())[ended.split(":")[0]] += 1
    return dict(sorted(table.items()))
