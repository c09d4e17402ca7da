"""The command line: iclight COMMAND, or python -m lib_iclight COMMAND; one module a command.

Results go to standard output, progress, warnings and errors to standard error. Exit codes: 0 done, 1 nobody reads
what is said or the doctor found something wrong, 2 a person's mistake (one line says which, and no picture was written)
or a picture that could not be written where it should (the lines say where it lies), 3 some pictures of a batch failed,
130 interrupted.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import os
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from .. import __version__
from ..console import printable
from ..errors import ICLightError, SettingsError
from .console import warn
from .flags import Often, Once, OnceTrue, twice

PROGRAM = "python -m lib_iclight"
INSTALLED = "iclight"
"""what `pip install` calls it"""
COMMANDS = ("relight", "batch", "preview", "stage", "mix", "normals", "albedo", "depth", "animate", "desk", "lightmap",
            "lightfrom", "cutout", "info", "weights", "settings", "doctor")
"""each is a module beside this one, with `HELP`, `add(parser)` and `run(arguments)`, which may tell an exit code"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # other packages' deprecations are not for the person at the console
            args = parser_of_all().parse_args(_checked(sys.argv[1:] if argv is None else argv))
            warn(twice(args))
            code: int | None = args.run(args)
    except ICLightError as error:
        print(printable(" ".join(error.report.split()), sys.stderr), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read what we say has gone; pictures are written before they are told of
        with contextlib.suppress(OSError, ValueError):  # or Python would complain once more at its end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code or 0


def _checked(argv: Sequence[str]) -> Sequence[str]:
    """The words, of which none gives a flag the value `--`: argparse makes an empty list of that."""
    for word in argv:
        if word.startswith("--") and word.endswith("=--"):
            raise SettingsError(f"{word.removesuffix('=--')} is given -- as its value, which is none.")
    return argv


class _Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, like all others here, and which keeps what was given."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        for name, action in (("store", Once), (None, Once), ("store_true", OnceTrue), ("append", Often)):
            self.register("action", name, action)

    def error(self, message: str) -> NoReturn:
        """Raises SettingsError."""
        raise SettingsError(f"{message}. See {self.prog} --help.")


def parser_of_all() -> argparse.ArgumentParser:
    """The parser of all commands; docs/cli.md is written from it too."""
    parser = _Parser(prog=INSTALLED if Path(sys.argv[0]).stem == INSTALLED else PROGRAM, allow_abbrev=False,
                     description="IC-Light: relight pictures without a WebUI.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = importlib.import_module(f".{name}", __name__)
        command = commands.add_parser(name, help=module.HELP, allow_abbrev=False,
                                      description=module.HELP[0].upper() + module.HELP[1:] + ".")
        module.add(command)
        command.set_defaults(run=module.run, given=())
    return parser
