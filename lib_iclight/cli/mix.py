"""mix: a stage's pictures added up to another light."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

from ..errors import SettingsError, StageError
from ..files import reason
from ..files import text as text_of
from ..imaging import fit, load_image, split_alpha
from ..imaging.outputs import plan_outputs
from ..stage import Stage, from_names, mix_codes, over, read_mix, to_names, weights_of
from ..stage.weights import Weights
from .console import say
from .options import add_output
from .sets import add_environment, add_stage, environment_of, exposure_of, read_stage, sources_of

HELP = "mix another light from a light stage"


def add(command: argparse.ArgumentParser) -> None:
    """The command's flags."""
    add_stage(command)
    add_output(command)
    light = command.add_mutually_exclusive_group(required=True)
    light.add_argument("--light", metavar="LIGHT", help="a preset's name, or a light spec as JSON")
    light.add_argument("--weights", metavar="JSON", help="how much of each of the stage's lights, as one number or as "
                       "red, green and blue in linear light: {\"left\": [1, 0.5, 0.2], \"ambient\": 0.3}")
    light.add_argument("--mix", type=Path, metavar="FILE", help="what the desk saved with \"Save mix\": a light or "
                       "weights, and the exposure")
    add_environment(light)
    command.add_argument("--rotate", type=float, metavar="DEG", help="turn the environment: what lies behind the "
                         "subject goes to the right (default: 0)")
    command.add_argument("--exposure", metavar="EV", help="stops, or auto: as bright as the stage's pictures are on "
                         "average (default: auto; a saved mix has its own)")
    command.add_argument("--background", type=Path, metavar="PICTURE", help="set the subject before this picture")


def run(args: argparse.Namespace) -> None:
    """Mix it, and write it."""
    stage = read_stage(args)
    given = [args.background, args.mix, None if args.environment is None else Path(args.environment)]
    outputs = plan_outputs(args.output, [""], [*sources_of(args, stage), *given])
    weights, exposure = _mixed(args, stage)
    codes = mix_codes(stage, weights, exposure).astype(np.uint8, copy=False)
    if args.background is not None:
        if stage.alpha is None:
            raise SettingsError("this stage has no alpha: the whole picture is its subject, and no background shows. "
                                "Leave --background out, or make the stage of a cut-out.")
        behind, _ = split_alpha(load_image(args.background, "background"))
        codes = over(codes, stage.subject, fit(behind, stage.width, stage.height))
    text = f"IC-Light mix: {json.dumps(to_names(weights, stage.lamps))}, exposure {exposure}"
    say(outputs.save("", Image.fromarray(codes), text))


def _mixed(args: argparse.Namespace, stage: Stage) -> tuple[Weights, float | str]:
    """The weights and the exposure."""
    if args.rotate is not None and args.environment is None:
        raise SettingsError("--rotate turns an environment, and there is none. Give --environment.")
    if args.mix is None:
        return _weights(args, stage), exposure_of("auto" if args.exposure is None else args.exposure)
    if args.exposure is not None:
        raise SettingsError("a saved mix has its own exposure. Leave --exposure out, or give what the mix holds by "
                            "--light or --weights.")
    try:
        text = text_of(args.mix)
    except (OSError, ValueError) as error:
        why = reason(error) if isinstance(error, OSError) else "it is no text"
        raise StageError(f"the mix {args.mix.name} cannot be read ({why}). Save it anew in the desk.") from error
    return read_mix(text, stage.lamps, stage.width / stage.height)


def _weights(args: argparse.Namespace, stage: Stage) -> Weights:
    if args.environment is not None:
        return environment_of(args.environment).turned(args.rotate or 0.0).weights(stage.lamps)
    if args.weights is not None:
        return from_names(args.weights, stage.lamps)
    return weights_of(args.light, stage.lamps, stage.width / stage.height)
