"""relight: a picture under another light."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from .. import infotext
from ..errors import ImageError
from ..generation import Generation
from ..imaging.outputs import Output, Outputs, name_of, plan_outputs
from ..imaging.save_photo import PhotoForm, save_photo
from ..made import Finished
from ..settings import PICTURES, Settings
from .console import bars, each_of, say, tell_model, warn
from .flags import idle_flags
from .options import (
    add_form,
    add_output,
    add_settings,
    control_parts,
    controls_of,
    form_of,
    generation_of,
    seen_of,
    session_of,
    settings_of,
    size_of,
)

HELP = "relight a picture with Stable Diffusion 1.5"


def add(command: argparse.ArgumentParser) -> None:
    """The command's flags."""
    command.add_argument("foreground", metavar="FOREGROUND", type=Path, help="the picture of the subject")
    add_output(command, more="several pictures become OUT-1.png, OUT-2.png, ...")
    add_settings(command)
    add_form(command)


def run(args: argparse.Namespace) -> None:
    """Relight, and write every picture that was asked for."""
    settings = settings_of(args, enabled=True)
    form = form_of(args, settings)
    if form is not None:
        form.check(args.output.suffix)
    with bars() as progress:
        session = session_of(args, progress)
        generation = generation_of(args, settings, session)
        controls = controls_of(args)
        outputs = plan(args, settings, generation)
        warn(outputs.notes)
        made = session.relight(settings, generation, controls=controls,
                               depth=None if form is None else form.depth)
    saved, notes, failed = write(made.finished, outputs, generation.batch, form)  # before anything else that can fail
    warn([*made.warnings, *notes, *idle_flags(args, session), *map(str, failed[:-1])])
    tell_model(session)
    for path in saved:
        say(path)
    if failed:
        raise failed[-1]


def write(finished: Sequence[Finished], outputs: Outputs, batch: int, form: PhotoForm | None
          ) -> tuple[list[Path], list[str], list[ImageError]]:
    """Write every picture, whichever fails: the paths, notes on photos (each once), and the errors."""
    notes: dict[str, None] = {}

    def save(one: Finished) -> Path:
        name = name_of(one.name, one.number, batch)
        if one.photo is None:
            return outputs.save(name, one.picture, one.text)
        notes.update(dict.fromkeys(save_photo(one.photo, outputs.paths[name], one.text, form)))
        return outputs.paths[name]

    saved, failed = each_of(partial(save, one) for one in finished)
    return saved, list(notes), failed


def plan(args: argparse.Namespace, settings: Settings, generation: Generation) -> Outputs:
    """Where the pictures will go, each tried before the work. Raises ImageError."""
    text = infotext.write(settings.to_infotext(), generation, generation.seed, "")
    seen = seen_of(settings, generation.size)
    planned = [Output(name_of(name, number, generation.batch), size=generation.size if name == "raw" else seen,
                      text=text)
               for number in range(1, generation.batch + 1)
               for name in ("result", *({"raw"} & set(settings.outputs)))]
    planned += [Output(name, alpha=name == "cutout", size=size_of(settings) if name in ("cutout", "mask") else None)
                for name in settings.outputs if name != "raw"]
    read = [getattr(args, name, None) for name in PICTURES] + [control_parts(text)[1] for text in args.controlnet]
    return plan_outputs(args.output, planned, read)
