"""What the commands on a light stage have in common."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import StageError
from ..files import content
from ..jsontext import read_json
from ..stage import SKIES, Environment, Stage, load, load_environment, sky
from ..stage.store import LIST


def add_stage(command: argparse.ArgumentParser) -> None:
    """The stage to read."""
    command.add_argument("stage", metavar="DIR", type=Path, help="a stage's folder, its stage.json or an .lp file")


def add_environment(group: argparse._ActionsContainer) -> None:
    """--environment."""
    group.add_argument("--environment", metavar="FILE", help="the light of a panorama: .hdr, .exr (needs the package "
                       f"OpenEXR), any picture, or one of the skies {', '.join(SKIES)}")


def read_stage(args: argparse.Namespace) -> Stage:
    """The stage that a command is given. Raises StageError."""
    return load(args.stage)


def sources_of(args: argparse.Namespace, stage: Stage) -> list[Path]:
    """Every file that the command reads of the stage: none of them is to be written over."""
    folder = args.stage if args.stage.is_dir() else args.stage.parent
    return [*stage.paths, *folder.glob("alpha*"), *folder.glob("stage.*"), *_mask_of(folder)]


def _mask_of(folder: Path) -> list[Path]:
    """The file of the stage's alpha, whatever its list calls it."""
    try:
        name = read_json(content(folder / LIST), LIST, StageError, "")["alpha"]
    except (OSError, StageError, KeyError, TypeError):
        return []  # made from an .lp file, or without an alpha
    return [folder / name] if isinstance(name, str) else []


def environment_of(name: str) -> Environment:
    """A sky by its name, or the panorama in a file. Raises StageError."""
    return sky(name) if name in SKIES else load_environment(Path(name))


def exposure_of(text: str) -> float | str:
    """`auto`, or stops. Raises StageError."""
    if text == "auto":
        return text
    try:
        return float(text)
    except ValueError as error:
        raise StageError(f"exposure must be auto or a number of stops, not {text!r:.40}.") from error
