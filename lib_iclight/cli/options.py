"""The flags that commands have in common, and what they say."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import files
from ..errors import SettingsError, shown
from ..fields import Bool, Choice, Kind, Light, List, Name, Number, Picture
from ..folders import Folders
from ..frame import Frame, fit
from ..generation import SAMPLERS, Generation
from ..imaging import contain, read_picture
from ..imaging.load import upright_size
from ..imaging.save import WRITABLE
from ..imaging.save_photo import DEPTHS, PROFILES, PhotoForm
from ..session import POCKET, Session
from ..settings import FIELDS, RECOMMENDED, Field, Settings
from .flags import Switch, spelt

if TYPE_CHECKING:
    from ..hosts.standalone.controlnet import Control
    from ..hosts.standalone.host import Options
    from ..hosts.standalone.loras import Lora
    from ..progress import Progress

FLAGLESS = ("enabled", "foreground", "stage")
"""settings that are no flags: the command itself says them"""
_HELP = {
    "light_denoise": "How freely the picture leaves the light map: lower keeps more of it.",
    "start": "What the first latent is made of. auto: the light map when there is a light in fc and fcon, else noise. "
             "image: the foreground. sketch: the subject under the light as far as it can be worked out, over the "
             "light map."}
"""of settings whose own help speaks of a WebUI's tabs"""


def add_output(command: argparse.ArgumentParser, endings: Iterable[str] = WRITABLE, more: str = "") -> None:
    """-o; an existing file is replaced, but never a picture that is read."""
    command.add_argument("-o", "--output", metavar="OUT", type=Path, required=True,
                         help=f"the picture to write ({', '.join(endings)})" + (f"; {more}" if more else ""))


def add_field(group: Any, field: Field) -> None:
    """The flag of a setting. Its value is checked by `Settings`, as everywhere."""
    options = _OPTIONS[type(field.kind)](field.kind, field.default)
    more = f" {options.pop('more')}" if "more" in options else ""
    group.add_argument(spelt(field.name), help=_HELP.get(field.name, field.help).replace("%", "%%") + more, **options)


_OPTIONS: dict[type[Kind], Callable[[Any, Any], dict[str, Any]]] = {
    Bool: lambda kind, default: {"action": Switch, "default": default},
    Choice: lambda kind, default: {"metavar": "{" + ",".join(kind.choices) + "}", "default": default,
                                   "more": f"(default: {default})"},
    Name: lambda kind, default: {"metavar": "NAME", "default": default, "more": f"(default: {default})"},
    Number: lambda kind, default: {"type": kind.text_type, "metavar": "N", "default": default,
                                   "more": f"{kind.minimum:g} to {kind.maximum:g} (default: {default:g})"},
    Picture: lambda kind, default: {"type": Path, "metavar": "PICTURE"},
    Light: lambda kind, default: {"metavar": "LIGHT", "default": default,
                                  "more": f"Presets: {', '.join(kind.choices)} (default: {default})"},
    List: lambda kind, default: {"type": kind.from_text, "metavar": "A,B", "default": default,
                                 "more": f"{', '.join(kind.choices)}; separated by commas, saved beside the "
                                         "result as OUT-cutout.png, of a stage as cutout.png in its folder, ..."}}
"""kind of setting -> (kind, default) -> what argparse is told of its flag; `more` ends the help"""

_OWN = "; with the pocket model what suits it)"


def add_size(group: Any, default: str = "what suits the picture and the model; with the pocket model, whose own side "
             "is 256, some 256 x 256 pixels in the picture's shape") -> None:
    """--width and --height."""
    group.add_argument("--width", type=int, metavar="PIXELS", help=f"a multiple of 8 (default: {default})")
    group.add_argument("--height", type=int, metavar="PIXELS", help=f"a multiple of 8 (default: {default})")


def add_generation(group: Any) -> None:
    fc, fbc = RECOMMENDED["fc"], RECOMMENDED["fbc"]
    group.add_argument("--prompt", default=Generation.prompt, metavar="TEXT",
                       help="as long as you like; (word:1.3), [word], BREAK, textual inversions by name and "
                       "<lora:name:0.8> are read as WebUIs do (default: %(default)s)")
    group.add_argument("--negative-prompt", default=Generation.negative_prompt, metavar="TEXT",
                       help="what to keep away from (default: %(default)s)")
    group.add_argument("--prompt-syntax", default=Generation.prompt_syntax, metavar="{webui,plain}",
                       help="plain: take every letter of both prompts as text (default: %(default)s)")
    add_size(group)
    group.add_argument("--steps", type=int, metavar="N", help=f"steps of each pass (default: {fc.steps}, "
                       f"in fbc {fbc.steps}{_OWN}")
    group.add_argument("--cfg", type=float, metavar="N", help="how strictly to follow the prompt "
                       f"(default: {fc.cfg:g}, in fbc {fbc.cfg:g}{_OWN}")
    group.add_argument("--guidance-end", type=float, default=Generation.guidance_end, metavar="N",
                       help="share of the steps after which the prompt is followed without cfg, in half the time a "
                       "step; 1 = never (default)")
    group.add_argument("--seed", type=int, default=-1, metavar="N", help="of the first picture, the next has one more; "
                       "-1 = a random one (default)")
    group.add_argument("--sampler", metavar="NAME", help=f"{', '.join(SAMPLERS)} (default: "
                       f"{Generation.sampler}{_OWN}")
    group.add_argument("--hires-scale", type=float, default=Generation.hires_scale, metavar="N",
                       help="a second pass at so many times the size; 1 = none (default), 1.5 is usual")
    group.add_argument("--hires-denoise", type=float, default=Generation.hires_denoise, metavar="N",
                       help="strength of the second pass (default: %(default)s)")
    group.add_argument("--batch", type=int, default=Generation.batch, metavar="N",
                       help="number of pictures (default: 1)")


def add_models(group: Any, loras: bool = True) -> None:
    group.add_argument("--checkpoint", default=POCKET, metavar="PATH",
                       help="an SD 1.5 .safetensors file or a diffusers folder (default: pocket, the tiny model that "
                       "comes with the program and knows rendered objects only)")
    if loras:
        group.add_argument("--lora", action="append", default=[], metavar="FILE:STRENGTH",
                           help="a LoRA file; may be given several times (strength when left out: 1)")
        group.add_argument("--lora-dir", action="append", type=Path, metavar="FOLDER",
                           help="where the LoRAs lie that prompts name; may be given several times (default: Lora and "
                           "loras beside models/ic-light)")
        group.add_argument("--embeddings-dir", action="append", type=Path, metavar="FOLDER",
                           help="where textual inversions lie; may be given several times (default: models/embeddings "
                           "and embeddings)")
        group.add_argument("--controlnet", action="append", default=[], metavar="FILE:PICTURE:STRENGTH",
                           help="a ControlNet for SD 1.5 and the picture that it was trained to see; may be given "
                           "several times (strength when left out: 1)")
    group.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    group.add_argument("--memory", default="auto", metavar="{auto,high,low,fp8}",
                       help="low: as little as possible at once; fp8: less still, and less exact; auto: by what is "
                       "free (default: auto)")
    group.add_argument("--compile", action="store_true",
                       help="let torch.compile make the UNet faster; costs minutes the first time")
    group.add_argument("--weights-dir", action="append", type=Path, metavar="FOLDER",
                       help="where IC-Light's weights are, missing ones go to the first; may be given several times "
                       "(default: models/ic-light in ICLIGHT_HOME or, without it, in the current folder)")
    add_matting(group)


def add_matting(group: Any) -> None:
    group.add_argument("--matting-dir", action="append", type=Path, metavar="FOLDER",
                       help="where cut-out models are, missing ones go to the first; may be given several times "
                       "(default: models/matting beside models/ic-light)")
    group.add_argument("--matting-device", default="cpu", metavar="{cpu,gpu}",
                       help="what cut-out models run on; gpu needs an onnxruntime with GPU support (default: cpu)")


def add_settings(command: argparse.ArgumentParser, without: Iterable[str] = (), **defaults: Any) -> None:
    """All that a relight can be told: settings, generation and models, in groups of the help.

    without: settings that the command has no use for. defaults: those of settings, where it has others than the table.
    """
    settings = command.add_argument_group("how to relight")
    for field in FIELDS:
        if field.name not in (*FLAGLESS, *without):
            add_field(settings, dataclasses.replace(field, default=defaults.get(field.name, field.default)))
    add_generation(command.add_argument_group("what to generate"))
    add_models(command.add_argument_group("models"))


def settings_of(args: argparse.Namespace, **more: Any) -> Settings:
    """The settings that a command's flags say; pictures are read."""
    given = {field.name: getattr(args, field.name) for field in FIELDS if field.name in args}
    pictures = {name: read_picture(path, name) for name, path in given.items() if isinstance(path, Path)}
    return Settings(**given | pictures | more)


def add_form(command: argparse.ArgumentParser) -> None:
    """How files of results at the photo's own size are written."""
    group = command.add_argument_group("the files of --size original")
    group.add_argument("--depth", type=int, choices=DEPTHS, default=PhotoForm.depth,
                       help="bits of a value; 16 for .png and .tif (default: %(default)s)")
    group.add_argument("--profile", choices=PROFILES, default=PhotoForm.profile,
                       help="keep: in the photo's own colours, with its profile; srgb: converted "
                       "(default: %(default)s)")
    group.add_argument("--gps", action="store_true", help="keep in the EXIF where the photo was taken")


def form_of(args: argparse.Namespace, settings: Settings) -> PhotoForm | None:
    """What those flags say; None where results are as generated. Raises SettingsError for flags that act on nothing."""
    form = PhotoForm(args.depth, args.profile, args.gps)
    if settings.size == "original":
        return form
    for name in ("depth", "profile", "gps"):
        if getattr(form, name) != getattr(PhotoForm, name):
            raise SettingsError(f"--{name} is for results at the photo's own size. Add --size original.")
    return None


def seen_of(settings: Settings, size: tuple[int, int]) -> tuple[int, int]:
    """Width and height of results of `size`: where they come back as the photo, what the frame shows of it."""
    if settings.size != "original":
        return size
    own = size_of(settings)
    place = contain if settings.fit == "contain" else fit
    left, top, right, bottom = Frame(*size).lie(own, place).seen(own, *size)
    return right - left, bottom - top


def size_of(settings: Settings) -> tuple[int, int]:
    """Width and height of the foreground, that `settings_of` has read, upright. Raises ImageError."""
    assert isinstance(settings.foreground, bytes)
    return upright_size(settings.foreground, "foreground")


def generation_of(args: argparse.Namespace, settings: Settings, session: Session) -> Generation:
    """What to generate on the session; the size follows the foreground where no flag says it."""
    given = {field.name: getattr(args, field.name) for field in dataclasses.fields(Generation)}
    if args.seed == -1:
        given["seed"] = random.SystemRandom().randrange(2**32)
    follows = args.width is None and args.height is None and settings.foreground is not None
    return session.suited(given, settings.mode, picture=size_of(settings) if follows else None)


def session_of(args: argparse.Namespace, progress: Progress) -> Session:
    """The session that a command's flags ask for; those it has not take their defaults. Raises ICLightErrors."""
    given = vars(args)
    return Session.open(given.get("checkpoint", POCKET), folders=folders_of(args), device=given.get("device", "auto"),
                        loras=[lora(text) for text in given.get("lora", ())], matting_device=args.matting_device,
                        progress=progress, options=running_of(args) if "memory" in given else None)


def running_of(args: argparse.Namespace) -> Options:
    """How the flags want the checkpoint to run."""
    from ..hosts.standalone.host import Options

    return Options(memory=args.memory, compile=args.compile)


def controls_of(args: argparse.Namespace) -> list[Control]:
    """The ControlNets that the flags ask for, with their pictures. Raises ICLightErrors."""
    from ..hosts.standalone.controlnet import Control

    return [Control(file, read_picture(picture, "ControlNet's picture"), strength)
            for file, picture, strength in map(control_parts, args.controlnet)]


def control_parts(text: str) -> tuple[Path, Path, float]:
    """`FILE:PICTURE:STRENGTH` or `FILE:PICTURE`; the paths may have colons. Raises SettingsError."""
    paths, strength = text, 1.0
    front, _, number = text.rpartition(":")
    with contextlib.suppress(ValueError):
        strength = float(number)
        paths = front
    splits = [(Path(paths[:at]), Path(paths[at + 1:])) for at, letter in enumerate(paths) if letter == ":"]
    if not splits:
        raise SettingsError(f"--controlnet takes FILE:PICTURE:STRENGTH, not {shown(text)}.")
    file, picture = next((split for split in splits if files.exists(split[0])), splits[0])
    return file, picture, strength


def folders_of(args: argparse.Namespace) -> Folders:
    """Where a command's flags have model files looked for."""
    default, given = Folders.under(), vars(args)
    return Folders(*(tuple(given.get(flag) or known) for flag, known in (
        ("weights_dir", default.weights), ("matting_dir", default.matting), ("lora_dir", default.loras),
        ("embeddings_dir", default.embeddings))))


def lora(text: str) -> Lora:
    """`FILE:STRENGTH` or `FILE`; the file's own path may have a colon, as after a Windows drive's letter."""
    from ..hosts.standalone.loras import Lora

    file, colon, strength = text.rpartition(":")
    if colon and file:
        with contextlib.suppress(ValueError):
            return Lora(Path(file), float(strength))
    return Lora(Path(text))
