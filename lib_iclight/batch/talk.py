"""What is said to a WebUI's API about one picture of a batch, and what its answer means."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from ..errors import HostError, SettingsError
from ..generation import Generation
from ..imaging import fit_alpha, load_image, read_picture
from ..imaging.outputs import name_of
from ..imaging.save import clear_parts
from ..settings import FIELDS, PICTURES, STAGES, Settings
from ..stage import StageWriter, rig
from .order import Order
from .plan import MARKER, Target, key_of, seed_of, target_of, with_key
from .recipe import GENERATION, Pictures, check_name
from .worker import save, writing

SCRIPT = "IC-Light"
OURS = {"prompt": "prompt", "negative_prompt": "negative_prompt", "width": "width", "height": "height",
        "steps": "steps", "cfg": "cfg_scale", "seed": "seed", "hires_denoise": "denoising_strength",
        "batch": "n_iter"}
"""generation value -> its name in the API; the sampler and hires fix take several"""
KARRAS = " Karras"
LIGHTS = "IC-Light stage lights"
"""key of the API's info, as `webui.stages` writes it"""
OUTPUT = "IC-Light output: "
"""what the infotext of a picture beside the results has at its end"""


@dataclass(frozen=True)
class Wish:
    """One picture, and the request that asks for it."""

    name: str
    settings: Settings
    generation: Generation
    target: Target
    body: Mapping[str, Any]

    @property
    def is_done(self) -> bool:
        """Whether all that it becomes is there."""
        return all(path.exists() for path in self.target.needed)


def split_payload(payload: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """A person's request to txt2img, as (itself without IC-Light, IC-Light's object). Raises SettingsError.

    What the batch itself has to say may not be in it: a seed that changes, and pictures to start from.
    """
    if not isinstance(payload, dict):
        raise SettingsError("the payload must be one JSON object, as it is sent to /sdapi/v1/txt2img.")
    plain = dict(payload)
    if "init_images" in plain:
        raise SettingsError("the payload is one for img2img. A batch asks txt2img: take init_images out.")
    if plain.get("seed") == -1 or plain.get("subseed_strength"):
        raise SettingsError("the payload asks for a seed by chance, which a batch cannot go on with. Take seed and "
                            "subseed_strength out, and give --seed or --seed-per-file.")
    if plain.get("batch_size", 1) != 1:
        raise SettingsError("the payload has a batch_size. Give --batch, which makes one picture after the other.")
    scripts = dict(plain.get("alwayson_scripts") or {})
    own = next((name for name in scripts if name.casefold() == SCRIPT.casefold()), None)
    arguments = (scripts.pop(own) or {}).get("args") or [{}] if own is not None else [{}]
    if len(arguments) != 1 or not isinstance(arguments[0], dict):
        raise SettingsError("the payload's IC-Light must be one object: {\"args\": [{\"light\": \"left\"}]}.")
    iclight = {name: value for name, value in arguments[0].items() if name != "enabled"}
    for name in iclight:
        check_name(name, "the payload's IC-Light")
    return {**plain, "alwayson_scripts": scripts}, iclight


def wish(order: Order, name: str, pictures: Pictures, payload: Mapping[str, Any], checkpoint: str) -> Wish:
    """The picture of that name as a request. Raises ICLightErrors.

    payload: a person's own request, without IC-Light; what the recipe names comes on top of it, what neither names is
    what suits. checkpoint: what the WebUIs have loaded.
    """
    data = read_picture(order.source / name, "picture")
    recipe = order.of(name)
    settings = recipe.settings(data, pictures.read)
    generation = recipe.generation(settings.mode, picture=data)
    if order.seed_per_file:
        generation = replace(generation, seed=seed_of(data, generation.seed))
    asked = _asked(generation, recipe.generation_values, payload, order.seed_per_file)
    told = {key: value for key, value in asked.items() if key != "alwayson_scripts"}
    batch = asked.get("n_iter", 1)
    generation = replace(generation, batch=batch if isinstance(batch, int) else 1)
    key = key_of(name, data, settings, generation, f"webui {checkpoint}",
                 {"request": told, "scripts": payload.get("alwayson_scripts") or {}})
    target = target_of(name, key, order.out, order.ending, settings, generation)
    scripts = {**(payload.get("alwayson_scripts") or {}), SCRIPT: {"args": [_arguments(settings)]}}
    return Wish(name, settings, generation, target, {**asked, "alwayson_scripts": scripts})


def _asked(generation: Generation, given: Mapping[str, Any], payload: Mapping[str, Any],
           own_seed: bool) -> dict[str, Any]:
    """The request without scripts."""
    def of(names: Mapping[str, Any]) -> dict[str, Any]:
        made = {api: getattr(generation, name) for name, api in OURS.items() if name in names}
        if "sampler" in names:
            sampler = generation.sampler
            made["sampler_name"] = sampler.removesuffix(KARRAS)
            made["scheduler"] = KARRAS.strip() if sampler.endswith(KARRAS) else "Automatic"
        if "hires_scale" in names and generation.hires_scale > 1:
            made |= {"enable_hr": True, "hr_scale": generation.hires_scale, "hr_upscaler": "Lanczos"}
        return made

    asked = {**of(GENERATION), **{name: value for name, value in payload.items() if name != "alwayson_scripts"},
             **of(given)}
    if own_seed:
        asked["seed"] = generation.seed
    if asked.get("enable_hr"):
        # Forge fails without the first; its hires pass has a cfg of its own, and takes 1 for none given.
        asked = {"hr_additional_modules": ["Use same choices"], "hr_cfg": asked["cfg_scale"], **asked}
    return {**asked, "send_images": True, "save_images": False, "do_not_save_samples": True, "do_not_save_grid": True}


def _arguments(settings: Settings) -> dict[str, Any]:
    """The settings as IC-Light's one object in a request."""
    told: dict[str, Any] = {"enabled": True}
    for one in FIELDS:
        value = getattr(settings, one.name)
        if one.name in PICTURES:
            if value is not None:
                told[one.name] = base64.b64encode(value).decode() if isinstance(value, bytes) else value
        elif one.name != "enabled" and value != one.default:
            told[one.name] = one.kind.to_json(value)
    if settings.stage != "off" and "mask" not in settings.outputs:
        told["outputs"] = [*settings.outputs, "mask"]  # a stage's folder has its alpha
    return told


def keep(made: Wish, answer: Any) -> tuple[str, ...]:
    """Write what a WebUI answered; returns what it warned of. Raises HostError for what is no answer."""
    pictures, texts, about = _pictures_of(answer)
    results, extras, unknown = _sorted(pictures, texts, made)
    told = about.get("IC-Light warnings") or ()
    warnings = [told] if isinstance(told, str) else [str(one) for one in told]
    if unknown:
        warnings.append(f"{unknown} further pictures of the WebUI's are not kept, such as control maps.")
    if made.target.marker is not None:
        _keep_stage(made, results, extras, about)
        return tuple(warnings)
    if len(results) != made.generation.batch:
        raise HostError(f"the WebUI gave {len(results)} pictures back, not {made.generation.batch}.")
    raws = 0
    for name, picture, text in extras:
        raws += name == "raw"
        file = made.target.files.get(name_of(name, raws if name == "raw" else 0, made.generation.batch))
        if file is not None:
            save(file, picture, with_key(text, made.target.key))
    for number, (picture, text) in enumerate(results, 1):
        save(made.target.files[name_of("result", number, made.generation.batch)], picture,
             with_key(text, made.target.key))
    return tuple(warnings)


def _pictures_of(answer: Any) -> tuple[list[Image.Image], list[str], dict[str, Any]]:
    """The pictures of an answer, without a grid, their infotexts, and what it tells of the job."""
    try:
        info = json.loads(answer["info"])
        first = int(info.get("index_of_first_image") or 0)
        texts = [str(text) for text in info["infotexts"]][first:]
        images = [load_image(text, "result") for text in answer["images"][first:]]
        about = info.get("extra_generation_params") or {}
        return images, texts, about if isinstance(about, dict) else {}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise HostError(f"the WebUI's answer is in no form that is known ({type(error).__name__}).") from error


def _sorted(pictures: Sequence[Image.Image], texts: Sequence[str], made: Wish) -> tuple[
        list[tuple[Image.Image, str]], list[tuple[str, Image.Image, str]], int]:
    """Results, IC-Light's extras by their names, and how many are neither."""
    lights = max(1, len(STAGES[made.settings.stage]))
    wanted = made.generation.batch * lights
    results, extras, unknown = [], [], 0
    for number, picture in enumerate(pictures):
        text = texts[number] if number < len(texts) else ""
        _, found, name = text.rpartition(OUTPUT)
        if found:
            extras.append((name.strip(), picture, text))
        elif number < wanted:
            results.append((picture, text))
        else:
            unknown += 1
    return results, extras, unknown


def _keep_stage(made: Wish, results: Sequence[tuple[Image.Image, str]],
                extras: Sequence[tuple[str, Image.Image, str]], about: Mapping[str, Any]) -> None:
    """Write a light stage's folder, or those of a batch."""
    names = STAGES[made.settings.stage]
    batch, marker = made.generation.batch, made.target.marker
    assert marker is not None
    lights = about.get(LIGHTS)
    if lights != list(names) * batch or len(results) != len(names) * batch:
        raise HostError("the WebUI gave another light stage back than was asked for. Update the extension there.")
    clear_parts(made.target.place)
    mask = next((picture for name, picture, _ in extras if name == "mask"), None)
    for number in range(batch):
        folder = made.target.place if batch == 1 else made.target.place / str(number + 1)
        width, height = results[number * len(names)][0].size
        alpha = None if mask is None else _alpha(mask, made.settings.fit, width, height)
        writer = StageWriter(folder, rig(names), alpha, {"batch": made.target.key}, made.generation.seed + number)
        for light, (picture, text) in zip(names, results[number * len(names):], strict=False):
            if light in {lamp.name for lamp in writer.missing}:
                writer.add(light, np.asarray(picture.convert("RGB")), with_key(text, made.target.key))
    asked = [one for one in extras if one[0] != "mask" or "mask" in made.settings.outputs]
    count: dict[str, int] = {}
    for name, picture, text in asked:
        count[name] = count.get(name, 0) + 1
        number = 0 if name in ("cutout", "mask") or "lightmap" in name else count[name]
        save(made.target.place / f"{name_of(name, number, batch)}.png", picture, with_key(text, made.target.key))
    told = {"input": made.name, "key": made.target.key}
    writing(made.target.place / MARKER, lambda: (json.dumps(told) + "\n").encode("ascii"))


def _alpha(mask: Image.Image, fit: str, width: int, height: int) -> Any:
    """The mask of the foreground as it lies in the results, float32 [height, width] in 0..1."""
    alpha = np.asarray(mask.convert("L"), np.float32) / np.float32(255.0)
    if fit == "contain":  # cut back to the foreground's own shape
        return np.asarray(Image.fromarray(alpha).resize((width, height), Image.Resampling.BICUBIC)).clip(0.0, 1.0)
    return fit_alpha(alpha, width, height)
