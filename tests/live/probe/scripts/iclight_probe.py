"""Watches a host from inside for the live cases, and plays an extension that does harm. Loaded by nothing else."""

import errno
import hashlib
import importlib
import inspect
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from copy import copy
from functools import partial
from typing import Any

import torch
from fastapi import Body
from modules import processing, script_callbacks, scripts, shared
from modules.processing import StableDiffusionProcessingImg2Img, process_images
from modules.sd_models import model_data

HOOKS = ("process", "before_process_init_images", "process_before_every_sampling", "postprocess_image", "postprocess")
HARMLESS = {"record": True, "raise_at": 0, "interrupt_at": 0, "drop_unet": False, "shrink_latent": False,
            "second_pass": "", "break_in": "", "break_with": "RuntimeError"}
BREAKS: dict[str, Callable[[str], Exception]] = {
    "RuntimeError": RuntimeError, "MemoryError": MemoryError, "OutOfMemoryError": torch.cuda.OutOfMemoryError,
    "OSError": partial(OSError, errno.ENOSPC), "FileNotFoundError": partial(FileNotFoundError, errno.ENOENT)}


class Probe:
    """What was asked for by /probe/arm, and what has been seen since."""

    def __init__(self) -> None:
        self.armed = False
        self.sigma = 0.0
        self._broken: tuple[Any, str, Any] | None = None
        self.arm({})
        self.armed = False

    def arm(self, options: dict[str, Any]) -> None:
        assert not set(options) - set(HARMLESS), options
        self.options = {**HARMLESS, **options}
        self.armed = True
        self.calls = 0
        self.passes: list[dict[str, Any]] = []
        self.hooks: dict[str, list[float]] = {name: [] for name in HOOKS}
        self._second_pass_runs = False
        self._break()
        for runner in (scripts.scripts_txt2img, scripts.scripts_img2img):
            for script in runner.alwayson_scripts if runner else []:
                if script.title() == "IC-Light" and not hasattr(script, "probe_times_it"):
                    self._time(script)

    def _break(self) -> None:
        """Have `break_in`, MODULE:FUNCTION of the extension, raise `break_with` instead, while the probe is armed."""
        if self._broken is not None:
            setattr(*self._broken)
            self._broken = None
        if not self.options["break_in"]:
            return
        module, _, path = self.options["break_in"].partition(":")
        owner: Any = importlib.import_module(module)
        *parts, name = path.split(".")
        for part in parts:
            owner = getattr(owner, part)
        own = getattr(owner, name)

        def broken(*args: Any, **kwargs: Any) -> Any:
            if self.armed:
                raise BREAKS[self.options["break_with"]]("injected")
            return own(*args, **kwargs)

        self._broken = owner, name, own
        setattr(owner, name, broken)

    def _time(self, script: Any) -> None:
        """Note how long each hook of the extension takes."""
        script.probe_times_it = True
        for name in HOOKS:
            setattr(script, name, self._timed(name, getattr(script, name)))

    def _timed(self, name: str, hook: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            started = time.perf_counter()
            try:
                return hook(*args, **kwargs)
            finally:
                self.hooks[name].append(time.perf_counter() - started)

        return timed

    def begin_pass(self, p: Any, noise: torch.Tensor) -> None:
        """A sampling is about to begin. Hires fix announces it twice."""
        if self.passes and not self.passes[-1]["channels"]:
            self.passes.pop()
        self.passes.append({"hires": bool(getattr(p, "is_hr_pass", False)), "noise": noise.cpu().clone(),
                            "channels": []})
        unet = unet_of(p.sd_model)
        if not hasattr(unet, "probe_is_here"):
            unet.probe_is_here = True
            unet.register_forward_pre_hook(self._before, with_kwargs=True)
            unet.input_blocks[0][0].register_forward_hook(self._first_convolution)
            unet.register_forward_hook(self._after, with_kwargs=True)

    def _first_convolution(self, convolution: Any, args: tuple[Any, ...], output: torch.Tensor) -> None:
        """What lies beside the latent may be put there as late as here."""
        if self.armed:
            self.passes[-1]["channels"].append(args[0].shape[1])
            if self.options["record"]:
                self.x = args[0].cpu().clone()

    def _before(self, unet: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if not self.armed:
            return
        self.calls += 1
        if self.calls == self.options["interrupt_at"]:
            shared.state.interrupt()
        if self.calls == self.options["raise_at"]:
            raise RuntimeError("the probe was asked to fail here")

    def _after(self, unet: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: torch.Tensor) -> None:
        seen = self.passes[-1] if self.armed else None
        if seen is None or "x" in seen or not self.options["record"]:
            return
        options = kwargs.get("transformer_options")
        seen |= {"x": self.x, "timesteps": args[1].cpu().clone(), "output": output.cpu().clone(),
                 "context": kwargs["context"].cpu().clone(),
                 "sigma": float(options["sigmas"][0]) if options else self.sigma,
                 "first_conv": tuple(unet.input_blocks[0][0].weight.shape)}

    def second_pass(self, p: Any, picture: Any) -> Any:
        """Another img2img inside the job, as ADetailer does: with the job's own scripts, `own`: without IC-Light."""
        if self._second_pass_runs or not self.options["second_pass"]:
            return picture
        self._second_pass_runs = True
        inner = StableDiffusionProcessingImg2Img(
            init_images=[picture], denoising_strength=0.4, prompt=p.prompt, negative_prompt=p.negative_prompt,
            seed=p.seeds[p.batch_index], steps=p.steps, width=p.width, height=p.height, cfg_scale=p.cfg_scale,
            sampler_name=p.sampler_name, do_not_save_samples=True, do_not_save_grid=True, override_settings={})
        if hasattr(p, "scheduler"):  # else it is in the sampler's name
            inner.scheduler = p.scheduler
        inner.scripts = copy(p.scripts)
        inner.script_args = copy(p.script_args)
        if self.options["second_pass"] == "own":
            inner.scripts.alwayson_scripts = [script for script in p.scripts.alwayson_scripts
                                              if script.title() != "IC-Light"]
        try:
            with closing(inner):
                return process_images(inner).images[0]
        finally:
            self._second_pass_runs = False

    def spoil(self, p: Any) -> None:
        """Be an extension that does not get along with others."""
        if self.options["drop_unet"]:
            p.sd_model.forge_objects.unet = p.sd_model.forge_objects_after_applying_lora.unet
        if self.options["shrink_latent"]:
            if isinstance(p, StableDiffusionProcessingImg2Img):
                again = p.sampler.sample_img2img
                p.sampler.sample_img2img = lambda p, x, noise, *args, **kwargs: again(
                    p, x[..., :-2], noise[..., :-2], *args, **kwargs)
            else:
                sample = p.sampler.sample
                p.sampler.sample = lambda p, x, *args, **kwargs: sample(p, x[..., :-2], *args, **kwargs)


PROBE = Probe()


class ProbeScript(scripts.Script):  # type: ignore[misc]
    sorting_priority = 1000

    def title(self) -> str:
        return "IC-Light probe"

    def show(self, is_img2img: bool) -> Any:
        return scripts.AlwaysVisible

    def process_before_every_sampling(self, p: Any, *args: Any, noise: torch.Tensor, **kwargs: Any) -> None:
        if PROBE.armed:
            PROBE.begin_pass(p, noise)
            PROBE.spoil(p)

    def postprocess_image(self, p: Any, pp: Any, *args: Any) -> None:
        if PROBE.armed:
            pp.image = PROBE.second_pass(p, pp.image)


def unet_of(sd_model: Any) -> Any:
    """The UNet itself: Forge and its relatives keep it in a patcher."""
    objects = getattr(sd_model, "forge_objects", None)
    return (objects.unet if objects else sd_model).model.diffusion_model


def note_sigma(params: Any) -> None:
    """A1111 does not tell its UNet."""
    PROBE.sigma = float(params.sigma[0])


def arm(options: dict[str, Any] = Body({})) -> None:  # noqa: B008  FastAPI's way
    PROBE.arm(options)


def disarm() -> None:
    PROBE.armed = False


def records() -> dict[str, Any]:
    PROBE.armed = False
    handle, path = tempfile.mkstemp(suffix=".pt", prefix="iclight-probe-")
    os.close(handle)
    torch.save(PROBE.passes, path)
    return {"path": path, "calls": PROBE.calls, "hooks": PROBE.hooks}


def state() -> dict[str, str]:
    """A hash over the UNet's weights as they are now."""
    digest = hashlib.sha256()
    with torch.inference_mode():
        for key, value in sorted(unet_of(model_data.sd_model).state_dict().items()):
            digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.cpu().contiguous().view(torch.uint8).numpy())
    return {"hash": digest.hexdigest(), "dtype": str(value.dtype)}


def outlook(settings: dict[str, Any] = Body({})) -> dict[str, Any]:  # noqa: B008  FastAPI's way
    """What the extension's session says of a job before it runs."""
    script = next(script for script in scripts.scripts_txt2img.alwayson_scripts if script.title() == "IC-Light")
    session = script.panel.session
    kind = importlib.import_module(type(session).__module__.removesuffix("session") + "settings").Settings
    return dict(session.outlook(kind.from_dict({"enabled": True, **settings}))._asdict())


def memory() -> dict[str, int]:
    """Bytes: resident now, of these anonymous and mapped from files, and the highest since /probe/memory/reset."""
    with open("/proc/self/status") as status:
        fields = dict(line.split(":", 1) for line in status)
    return {name: int(fields[key].split()[0]) * 1024 for name, key in
            (("resident", "VmRSS"), ("anonymous", "RssAnon"), ("mapped", "RssFile"), ("peak", "VmHWM"))}


def seconds() -> dict[str, float]:
    """Processor time that this process has used."""
    return {"seconds": time.process_time()}


def reset_memory() -> None:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def storage(dtype: str = "") -> None:
    """Keep the UNet in another dtype from the next job on; empty: as the host chooses."""
    if hasattr(model_data, "forge_loading_parameters"):
        model_data.forge_loading_parameters = {**model_data.forge_loading_parameters,
                                               "unet_storage_dtype": getattr(torch, dtype) if dtype else None}
        processing.need_global_unload = True
    elif hasattr(model_data.sd_model, "forge_objects"):  # their flags for it, and no checkpoint that is loaded already
        from ldm_patched.modules import model_management

        model_management.args.unet_in_fp16 = dtype == "float16"
        model_management.args.unet_in_fp8_e4m3fn = dtype == "float8_e4m3fn"
        getattr(model_management.unet_dtype, "cache_clear", lambda: None)()
        model_data.sd_model.filename = ""
    else:
        shared.opts.set("fp8_storage", "Enable" if dtype else "Disable", is_api=True)


def short_of_memory(on: bool = False) -> bool:
    """Let the host find no room for the UNet from the next one it loads on; says whether it knows how to go on then."""
    patcher: Any = type(getattr(getattr(model_data.sd_model, "forge_objects", None), "unet", None))
    if not hasattr(patcher, "partially_load"):
        return False
    if on:
        load = patcher.load
        patcher.load = lambda self, device=None, lowvram_model_memory=0, force_patch_weights=False, full_load=False: (
            load(self, device, 1, force_patch_weights))
    elif "load" in vars(patcher):
        del patcher.load
    return True


def signatures(names: list[str] = Body([])) -> dict[str, Any]:  # noqa: B008  FastAPI's way
    """module:name -> the names of its parameters in order, with their stars; None for what is not here."""
    return {name: parameters(name) for name in names}


def parameters(name: str) -> list[str] | None:
    module, _, path = name.partition(":")
    try:
        found = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError):
        return None
    kinds: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*{}", inspect.Parameter.VAR_KEYWORD: "**{}",
                             inspect.Parameter.KEYWORD_ONLY: "{}="}
    return [kinds.get(one.kind, "{}").format(one.name)
            for one in inspect.signature(behind(found)).parameters.values()]


def behind(function: Any) -> Any:
    """A1111 puts a lambda in front of some of ldm's functions, which calls a CondFunc, which holds the function."""
    for cell in getattr(function, "__closure__", None) or ():
        held = getattr(cell.cell_contents, "_CondFunc__orig_func", None)
        if held is not None:
            return behind(held)
    return function


def add_routes(demo: Any, app: Any) -> None:
    app.add_api_route("/probe/signatures", signatures, methods=["POST"])
    app.add_api_route("/probe/arm", arm, methods=["POST"])
    app.add_api_route("/probe/disarm", disarm, methods=["POST"])
    app.add_api_route("/probe/records", records, methods=["GET"])
    app.add_api_route("/probe/state", state, methods=["GET"])
    app.add_api_route("/probe/outlook", outlook, methods=["POST"])
    app.add_api_route("/probe/memory", memory, methods=["GET"])
    app.add_api_route("/probe/memory/reset", reset_memory, methods=["POST"])
    app.add_api_route("/probe/seconds", seconds, methods=["GET"])
    app.add_api_route("/probe/storage", storage, methods=["POST"])
    app.add_api_route("/probe/short_of_memory", short_of_memory, methods=["POST"])


script_callbacks.on_app_started(add_routes)
script_callbacks.on_cfg_denoiser(note_sigma)
