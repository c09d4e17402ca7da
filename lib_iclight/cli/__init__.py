"""The command line: python -m lib_iclight relight | lightmap | cutout | weights | settings.

Results go to standard output, progress and errors to standard error. Exit codes: 0 done, 2 a person's mistake (one
line says which, and no picture was written), 130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from .. import __version__, infotext
from ..errors import ICLightError, ImageError, LightError, SettingsError
from ..fields import Bool, Choice, Kind, Light, List, Name, Number, Picture
from ..generation import SAMPLERS, Generation
from ..lights import light_map
from ..progress import Progress
from ..settings import FIELDS, RECOMMENDED, Field, Settings, schema

if TYPE_CHECKING:
    from PIL import Image
    from tqdm import tqdm

    from ..hosts.standalone.checkpoint import Checkpoint
    from ..hosts.standalone.loras import Lora
    from ..matting import Cutter
    from ..weights import Offsets

PROGRAM = "python -m lib_iclight"
POCKET = "pocket"
FORMATS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
WITH_ALPHA = {".png": "PNG", ".webp": "WEBP"}

_FLAGLESS = ("enabled", "foreground")
"""Settings that are no flags here: the command itself says them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other packages' deprecations are not for the person at the console
            args = _parser().parse_args(argv)
            args.run(args)
    except ICLightError as error:
        print(" ".join(error.sentence.split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, like all others here."""

    def error(self, message: str) -> NoReturn:
        """Raises SettingsError."""
        raise SettingsError(f"{message}. See {self.prog} --help.")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog=PROGRAM, description="IC-Light: relight pictures without a WebUI.", allow_abbrev=False)
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    relight = _command(commands, "relight", _relight, "relight a picture with Stable Diffusion 1.5")
    relight.add_argument("foreground", metavar="FOREGROUND", type=Path, help="the picture of the subject")
    _add_output(relight, FORMATS, "several pictures become OUT-1.png, OUT-2.png, ...")
    settings = relight.add_argument_group("how to relight")
    for field in FIELDS:
        if field.name not in _FLAGLESS:
            _add_field(settings, field)
    _add_generation(relight.add_argument_group("what to generate"))
    _add_models(relight.add_argument_group("models"))

    lightmap = _command(commands, "lightmap", _lightmap, "draw the light map of a light")
    _add_output(lightmap, FORMATS)
    _add_field(lightmap, _field("light"))
    lightmap.add_argument("--mode", default="fc", metavar="{fc,fcon,fbc}",
                          help="the form of the map: fbc's is softer, it serves as a background (default: fc)")
    _add_size(lightmap)

    cutout = _command(commands, "cutout", _cutout, "cut the foreground out")
    cutout.add_argument("foreground", metavar="IN", type=Path, help="the picture of the subject")
    _add_output(cutout, WITH_ALPHA)
    for field in FIELDS:
        if field.name == "matting" or field.group == "matting":
            _add_field(cutout, field)
    _add_matting(cutout)

    weights = _command(commands, "weights", _weights, "tell what a weights file is")
    weights.add_argument("file", metavar="FILE", type=Path, help="a .safetensors file")

    _command(commands, "settings", _settings, "print the settings' JSON schema")
    return parser


def _command(commands: Any, name: str, run: Callable[[argparse.Namespace], None], help: str) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        name, help=help, description=help[0].upper() + help[1:] + ".", allow_abbrev=False)
    command.set_defaults(run=run)
    return command


def _field(name: str) -> Field:
    return next(field for field in FIELDS if field.name == name)


def _add_output(command: argparse.ArgumentParser, formats: dict[str, str], more: str = "") -> None:
    endings = ", ".join(formats)
    command.add_argument("-o", "--output", metavar="OUT", type=Path, required=True,
                         help=f"the picture to write ({endings})" + (f"; {more}" if more else ""))


def _add_field(group: Any, field: Field) -> None:
    """The flag of a setting. Its value is checked by `Settings`, as everywhere."""
    options = _OPTIONS[type(field.kind)](field.kind, field.default)
    more = f" {options.pop('more')}" if "more" in options else ""
    group.add_argument("--" + field.name.replace("_", "-"), help=field.help.replace("%", "%%") + more, **options)


_OPTIONS: dict[type[Kind], Callable[[Any, Any], dict[str, Any]]] = {
    Bool: lambda kind, default: {"action": argparse.BooleanOptionalAction, "default": default},
    Choice: lambda kind, default: {"metavar": "{" + ",".join(kind.choices) + "}", "default": default,
                                   "more": f"(default: {default})"},
    Name: lambda kind, default: {"metavar": "NAME", "default": default, "more": f"(default: {default})"},
    Number: lambda kind, default: {"type": kind.text_type, "metavar": "N", "default": default,
                                   "more": f"{kind.minimum:g} to {kind.maximum:g} (default: {default:g})"},
    Picture: lambda kind, default: {"type": Path, "metavar": "PICTURE"},
    Light: lambda kind, default: {"metavar": "LIGHT", "default": default,
                                  "more": f"Presets: {', '.join(kind.choices)} (default: {default})"},
    List: lambda kind, default: {"type": kind.from_text, "metavar": "A,B", "default": default,
                                 "more": f"{', '.join(kind.choices)}; separated by commas, saved beside OUT as "
                                         "OUT-cutout.png, ..."}}
"""kind of setting -> (kind, default) -> what argparse is told of its flag; `more` ends the help"""


def _add_size(group: Any) -> None:
    group.add_argument("--width", type=int, metavar="PIXELS",
                       help=f"a multiple of 8 (default: {Generation.width}, for the pocket model 128)")
    group.add_argument("--height", type=int, metavar="PIXELS",
                       help=f"a multiple of 8 (default: {Generation.height}, for the pocket model 128)")


def _add_generation(group: Any) -> None:
    fc, fbc = RECOMMENDED["fc"], RECOMMENDED["fbc"]
    group.add_argument("--prompt", default=Generation.prompt, metavar="TEXT",
                       help="plain text, as long as you like (default: %(default)s)")
    group.add_argument("--negative-prompt", default=Generation.negative_prompt, metavar="TEXT",
                       help="what to keep away from (default: %(default)s)")
    _add_size(group)
    group.add_argument("--steps", type=int, metavar="N", help=f"steps of each pass (default: {fc.steps}, "
                       f"in fbc {fbc.steps})")
    group.add_argument("--cfg", type=float, metavar="N", help="how strictly to follow the prompt "
                       f"(default: {fc.cfg:g}, in fbc {fbc.cfg:g})")
    group.add_argument("--seed", type=int, default=-1, metavar="N", help="of the first picture, the next has one more; "
                       "-1 = a random one (default)")
    group.add_argument("--sampler", default=Generation.sampler, metavar="NAME",
                       help=f"{', '.join(SAMPLERS)} (default: %(default)s)")
    group.add_argument("--hires-scale", type=float, default=Generation.hires_scale, metavar="N",
                       help="a second pass at so many times the size; 1 = none (default), 1.5 is usual")
    group.add_argument("--hires-denoise", type=float, default=Generation.hires_denoise, metavar="N",
                       help="strength of the second pass (default: %(default)s)")
    group.add_argument("--batch", type=int, default=Generation.batch, metavar="N",
                       help="number of pictures (default: 1)")


def _add_models(group: Any) -> None:
    group.add_argument("--checkpoint", default=POCKET, metavar="PATH",
                       help="an SD 1.5 .safetensors file or a diffusers folder (default: pocket, the tiny model that "
                       "comes with the program and knows rendered objects only)")
    group.add_argument("--lora", action="append", default=[], metavar="FILE:STRENGTH",
                       help="a LoRA file; may be given several times (strength when left out: 1)")
    group.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps (default: auto)")
    group.add_argument("--weights-dir", action="append", type=Path, metavar="FOLDER",
                       help="where IC-Light's weights are, missing ones go to the first; may be given several times "
                       "(default: models/ic-light in ICLIGHT_HOME or, without it, in the current folder)")
    _add_matting(group)


def _add_matting(group: Any) -> None:
    group.add_argument("--matting-dir", action="append", type=Path, metavar="FOLDER",
                       help="where cut-out models are, missing ones go to the first; may be given several times "
                       "(default: models/matting beside models/ic-light)")
    group.add_argument("--matting-device", default="cpu", metavar="{cpu,gpu}",
                       help="what cut-out models run on; gpu needs an onnxruntime with GPU support (default: cpu)")


def _relight(args: argparse.Namespace) -> None:
    settings = _settings_of(args, enabled=True)
    reference = RECOMMENDED[settings.mode]
    generation = Generation(
        prompt=args.prompt, negative_prompt=args.negative_prompt, **_size(args),
        steps=reference.steps if args.steps is None else args.steps,
        cfg=reference.cfg if args.cfg is None else args.cfg,
        seed=random.SystemRandom().randrange(2**32) if args.seed == -1 else args.seed, sampler=args.sampler,
        hires_scale=args.hires_scale, hires_denoise=args.hires_denoise, batch=args.batch)
    target = _target(args.output, FORMATS, args.foreground, args.background, args.mask)

    # Everything heavy comes after the mistakes that can be seen without it.
    from ..hosts.standalone.host import Standalone, pick_device
    from ..job import LatentCache, Relight

    device = pick_device(args.device)
    checkpoint = _checkpoint(args.checkpoint)
    loras = [_lora(text) for text in args.lora]
    with _bars() as progress:
        job = Relight(settings, cutter=_cutter(args), latents=LatentCache(), progress=progress)
        offsets = _offsets(checkpoint, settings, _folders(args.weights_dir, "ic-light"), progress)
        progress("loading the checkpoint", 0, 1)
        host = Standalone(checkpoint, device=device, loras=loras)
        progress("loading the checkpoint", 1, 1)
        result = host.relight(job, generation, offsets, progress)
    made: list[tuple[Path, Image.Image, str]] = []
    for number, relit in enumerate(result.pictures, start=1):
        own = target if generation.batch == 1 else _beside(target, str(number))
        text = infotext.write(settings, generation, relit.seed, checkpoint.name,
                              {lora.path.stem: lora.strength for lora in loras})
        made.append((own, relit.picture, text))
        if "raw" in settings.outputs:
            made.append((_beside(own, "raw"), relit.raw, text))
    for name, picture in job.extras(result.frame):
        path = _beside(target, name)
        transparent = picture.mode == "RGBA" and path.suffix.lower() not in WITH_ALPHA
        made.append((path.with_suffix(".png") if transparent else path, picture, f"IC-Light {name}"))
    if args.checkpoint == POCKET:
        from ..hosts.standalone.pocket import NOTE

        print(f"note: this is the {NOTE}; give --checkpoint for that")
    for path, picture, text in made:
        _save(picture, path, text)


def _lightmap(args: argparse.Namespace) -> None:
    settings = Settings(mode=args.mode, light=args.light)
    generation = Generation(**_size(args))
    target = _target(args.output, FORMATS)
    pixels = light_map(settings.light, generation.width, generation.height, "fbc" if settings.mode == "fbc" else "fc")
    if pixels is None:
        raise LightError("there is no light to draw. Choose one, such as --light left.")

    from PIL import Image

    _save(Image.fromarray(pixels), target, "IC-Light lightmap")


def _cutout(args: argparse.Namespace) -> None:
    settings = _settings_of(args)
    target = _target(args.output, WITH_ALPHA, args.foreground, args.mask)

    from ..job import LatentCache, Relight

    with _bars() as progress:
        job = Relight(settings, cutter=_cutter(args), latents=LatentCache(), progress=progress)
    _save(job.subjects[0].cutout(), target, "IC-Light cutout")


def _weights(args: argparse.Namespace) -> None:
    from ..weights import OFFICIAL, hashed, identify
    from ..weights.keys import KEYS

    file = identify(args.file)
    with _bars() as progress:
        file = hashed(file, progress)
    official = next((known.name for known in OFFICIAL.values() if known.sha256 == file.sha256), None)
    for name, value in (("file", file.name), ("kind", file.kind), ("inputs", file.inputs), ("layout", file.layout),
                        ("dtype", file.dtype), ("keys", len(KEYS)), ("size", f"{file.size} bytes"),
                        ("sha256", file.sha256),
                        ("official", f"yes, {official}" if official else "no, its hash is not a published one")):
        print(f"{name + ':':<10}{value}")


def _settings(args: argparse.Namespace) -> None:
    print(json.dumps(schema(), indent=2, ensure_ascii=False))


@contextlib.contextmanager
def _bars() -> Iterator[Progress]:
    """Progress as bars on standard error, one for each thing that reports."""
    from tqdm import tqdm

    bar: tqdm[NoReturn] | None = None
    shown = ""

    def show(what: str, done: int, total: int) -> None:
        nonlocal bar, shown
        if bar is None or what != shown:
            if bar is not None:
                bar.close()
            shown = what
            bar = tqdm(desc=what, total=total or None, file=sys.stderr, leave=False, unit_scale=True, unit="")
        bar.update(done - bar.n)

    try:
        yield show
    finally:
        if bar is not None:
            bar.close()


def _settings_of(args: argparse.Namespace, **more: Any) -> Settings:
    """The settings that a command's flags say; pictures are read."""
    given = {field.name: getattr(args, field.name) for field in FIELDS if field.name in args}
    read = {name: _read(path, name) for name, path in given.items() if isinstance(path, Path)}
    return Settings(**given | read | more)


def _size(args: argparse.Namespace) -> dict[str, Any]:
    """The width and height to make: what the flags say, else what suits the model."""
    width, height = Generation.width, Generation.height
    if getattr(args, "checkpoint", None) == POCKET:
        from ..hosts.standalone.pocket import SIDE

        width = height = SIDE
    return {"width": width if args.width is None else args.width,
            "height": height if args.height is None else args.height}


def _cutter(args: argparse.Namespace) -> Cutter:
    from ..matting import DEVICES, Cutter

    if args.matting_device not in DEVICES:
        raise SettingsError(f"--matting-device must be {' or '.join(DEVICES)}, not {args.matting_device!r}.")
    return Cutter(_folders(args.matting_dir, "matting"), lambda: args.matting_device)


def _read(path: Path, what: str) -> bytes:
    """A picture file's bytes."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"the {what} {path} cannot be read ({error.strerror}). Check the file's name.") from error


def _target(path: Path, formats: dict[str, str], *sources: Path | None) -> Path:
    """The path of a picture to write, if that can be expected to succeed. Raises ImageError."""
    if path.suffix.lower() not in formats:
        raise ImageError(f"a picture cannot be written as {path.name!r}: its ending must be one of "
                         f"{', '.join(formats)}.")
    if not path.parent.is_dir():
        raise ImageError(f"{path} cannot be written: there is no folder {path.parent}. Make it first.")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise ImageError(f"{path} cannot be written. Choose another name or folder.")
    if path.exists() and any(source and path.samefile(source) for source in sources):
        raise ImageError(f"{path} is one of the pictures to read. Choose another output.")
    return path


def _beside(path: Path, name: str) -> Path:
    return path.with_name(f"{path.stem}-{name}{path.suffix}")


def _save(picture: Image.Image, path: Path, text: str) -> None:
    """Write the picture whole or not at all; a PNG carries `text` as WebUIs read it. Raises ImageError."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("parameters", text)  # iTXt where the text is not Latin-1
    form = FORMATS[path.suffix.lower()]
    options: dict[str, Any] = {"pnginfo": info} if form == "PNG" else {"quality": 95}
    part = path.with_name(f".{path.name}.part")
    try:
        picture.save(part, form, **options)
        os.replace(part, path)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise ImageError(f"{path} cannot be written ({error.strerror or error}). "
                         "Choose another folder, or free some space.") from error
    print(path)


def _folders(given: list[Path] | None, name: str) -> list[Path]:
    return given or [Path(os.environ.get("ICLIGHT_HOME") or ".").expanduser() / "models" / name]


def _checkpoint(name: str) -> Checkpoint:
    if name == POCKET:
        from ..hosts.standalone.pocket import Pocket

        return Pocket()

    from ..hosts.standalone.checkpoint import open_checkpoint

    return open_checkpoint(Path(name))


def _lora(text: str) -> Lora:
    """`FILE:STRENGTH` or `FILE`; the file's own path may have a colon, as after a Windows drive's letter."""
    from ..hosts.standalone.loras import Lora

    file, colon, strength = text.rpartition(":")
    if colon and file:
        with contextlib.suppress(ValueError):
            return Lora(Path(file), float(strength))
    return Lora(Path(text))


def _offsets(checkpoint: Checkpoint, settings: Settings, folders: list[Path], progress: Progress) -> Offsets:
    """The offsets of the job's mode: from the weights' folders, for the pocket model its own."""
    from ..hosts.standalone.pocket import Pocket
    from ..weights import OffsetCache, resolve

    if not isinstance(checkpoint, Pocket):
        return OffsetCache().get(resolve(settings.mode, settings.weights, folders, progress), "diffusers")
    if settings.weights != "auto":
        raise SettingsError("IC-Light's weights do not fit the pocket model. Give a --checkpoint, "
                            "or leave --weights out.")
    return checkpoint.offsets(settings.mode)
