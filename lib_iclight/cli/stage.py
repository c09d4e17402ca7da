"""stage: a picture for each single light, to mix any light of afterwards."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from ..cache import content_key
from ..errors import ImageError, SettingsError, StageError
from ..files import content, is_dir, listed
from ..imaging.outputs import name_of, plan_outputs, same_file
from ..imaging.save_photo import DEPTHS
from ..jsontext import read_json
from ..made import Finished
from ..progress import Progress
from ..settings import PICTURES, STAGES
from ..stage import StageWriter, load
from ..stage.lp import export, read_lp
from .console import bars, each_of, say, tell_model, warn
from .flags import idle_flags, spelt
from .options import add_settings, control_parts, controls_of, generation_of, session_of, settings_of

HELP = "make a light stage: one picture for each single light"
RIGS = tuple(name for name in STAGES if name != "off")


def add(command: argparse.ArgumentParser) -> None:
    """The command's flags."""
    command.add_argument("foreground", metavar="PHOTO", type=Path, nargs="?", help="the picture of the subject")
    command.add_argument("-o", "--output", metavar="DIR", type=Path, required=True,
                         help="the stage's folder; what is missing of a stage that was interrupted is made; several "
                         "of --batch go to DIR/1, DIR/2, ...")
    command.add_argument("--rig", default=RIGS[-1], metavar="{" + ",".join(RIGS) + "}", help="4: the four sides and "
                         f"ambient; 8: the corners too (default: {RIGS[-1]})")
    command.add_argument("--from-lp", metavar="FILE", type=Path, help="make no pictures: bring photographs and the "
                         "light positions of this .lp file into the folder")
    command.add_argument("--to-lp", metavar="SET", type=Path, help="make no pictures: copy this stage into the folder "
                         "as JPEGs and an .lp file, in the form that the RTI tool relight reads")
    add_settings(command, without=("light", "light_map", "light_map_blur"), mode="fbc")
    command.add_argument("--depth", type=int, choices=DEPTHS, default=8,
                         help="with --size original, bits of a value in the stage's pictures (default: %(default)s)")


def run(args: argparse.Namespace) -> None:
    """Make the stage, or bring photographs into one."""
    if args.from_lp is not None or args.to_lp is not None:
        _check_alone(args)
        with bars() as progress:
            if args.to_lp is None:
                _bring(args.from_lp, args.output, progress)
            else:
                out = export(load(args.to_lp), args.output, progress)
                warn(f"{name} has no direction, so it was left out." for name in out)
        say(args.output)
        return
    if args.foreground is None:
        raise SettingsError("there is neither a photo nor --from-lp. Give one of them.")
    if args.rig not in RIGS:
        raise SettingsError(f"--rig must be {' or '.join(RIGS)}, not {args.rig!r}.")
    _check_apart(args.output, [*(path for name in PICTURES if (path := getattr(args, name, None)) is not None),
                               *(control_parts(text)[1] for text in args.controlnet)], args.batch)
    settings = settings_of(args, enabled=True)
    if args.depth != 8 and settings.size != "original":
        raise SettingsError("--depth is for pictures at the photo's own size. Add --size original.")
    with bars() as progress:
        session = session_of(args, progress)
        generation = generation_of(args, settings, session)
        if args.seed == -1:
            generation = dataclasses.replace(generation, seed=_begun(args.output, generation.seed))
        made = session.stage(settings, generation, args.output, args.rig, controls=controls_of(args), depth=args.depth)
    saved, failed = each_of(partial(_save, args.output, extra, generation.batch) for extra in made.extras)
    warn([*made.warnings, *idle_flags(args, session), *map(str, failed[:-1])])
    tell_model(session)
    for path in (*made.folders, *saved):
        say(path)
    if failed:
        raise failed[-1]


def _save(folder: Path, extra: Finished, batch: int) -> Path:
    """Write one of the pictures beside the stage's own. Raises ImageError."""
    target = folder / f"{name_of(extra.name, extra.number, batch)}.png"
    return plan_outputs(target, [""]).save("", extra.picture, extra.text)


def _begun(folder: Path, otherwise: int) -> int:
    """The seed of a stage that is there already, so that it is gone on with; else the other one."""
    for path in (folder / "stage.json", folder / "1" / "stage.json"):
        try:
            seed = read_json(content(path), path.name, StageError, "")["seed"]
        except (OSError, StageError, KeyError, TypeError):
            continue
        if type(seed) is int and 0 <= seed < 2**32:
            return seed
    return otherwise


def _check_apart(folder: Path, sources: Iterable[Path], batch: int = 1) -> None:
    """Raise ImageError for a file to read in the folder that pictures are written to, by whatever name or link: it
    might be written over.
    """
    of_batch = [folder / str(number) for number in range(1, min(batch, 1000) + 1)]
    entries = [entry for place in (folder, *of_batch) if is_dir(place) for entry in listed(place)]
    for source in sources:
        above = {*source.resolve().parents, *(source.parent.resolve() / source.name).parents}
        if folder.resolve() in above or any(same_file(entry, source) for entry in entries):
            raise ImageError(f"{source} lies in the stage's folder, where pictures are written to. "
                             "Choose another folder.")


def _check_alone(args: argparse.Namespace) -> None:
    """Raise SettingsError for what is given beside --from-lp or --to-lp: it all is of relighting."""
    chosen = "from_lp" if args.from_lp is not None else "to_lp"
    given = [spelt(name) for name in args.given if name not in ("output", chosen)]
    if args.foreground is not None:
        given.insert(0, "PHOTO")
    if given:
        word, brings = given[0], "brings photographs" if chosen == "from_lp" else "copies a stage"
        raise SettingsError(f"{word} does not go with {spelt(chosen)}, which {brings} as they are. Leave it away.")


def _bring(file: Path, folder: Path, progress: Progress) -> None:
    """Copy the photographs of an .lp file into a stage. Raises StageError."""
    stage = read_lp(file)
    _check_apart(folder, [file, *stage.paths])
    sizes = [path.stat().st_size for path in stage.paths]
    about = {"from": file.name, "pictures": content_key(content(file), *sizes)}
    writer = StageWriter(folder, stage.lamps, settings=about)
    missing = writer.missing
    for done, lamp in enumerate(missing):
        progress("copying", done, len(missing))
        writer.add(lamp.name, stage.codes(stage.index(lamp.name)))
