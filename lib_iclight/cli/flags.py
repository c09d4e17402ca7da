"""Flags that keep in `given` that they were given, and how they are told of where they changed nothing."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from ..session import POCKET, Session


class _Kept(argparse.Action):
    """Adds the flag's name to `given` of the parsed arguments, once for each time that it is given; one of which all
    values count only once.
    """

    often = False

    def __call__(self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any,
                 option_string: str | None = None) -> None:
        """What argparse calls when it meets the flag."""
        if option_string is not None:
            given: tuple[str, ...] = getattr(namespace, "given", ())
            namespace.given = given if self.often and self.dest in given else (*given, self.dest)
        super().__call__(parser, namespace, values, option_string)


class Once(_Kept, argparse._StoreAction):
    """A flag with a value."""


class OnceTrue(_Kept, argparse._StoreTrueAction):
    """A flag that switches something on."""


class Switch(_Kept, argparse.BooleanOptionalAction):
    """--x and --no-x."""


class Often(_Kept, argparse._AppendAction):
    """A flag that may be given several times."""

    often = True


def spelt(name: str) -> str:
    """A flag as people write it."""
    return "--" + name.replace("_", "-")


def twice(args: argparse.Namespace) -> list[str]:
    """The flags that are given more than once though the last one counts, as of all programs, in sentences."""
    return [f"{spelt(name)} is given twice: the last one counts." for name in dict.fromkeys(args.given)
            if args.given.count(name) > 1]


def idle_flags(args: argparse.Namespace, session: Session) -> list[str]:
    """What was given about models and has changed nothing, in sentences, once the session's work is done."""
    told = []
    if not session.cutter.asked:
        told += _unused(args, ("matting_dir", "matting_device"), "nothing was to be cut out by a model.")
    if args.given and getattr(args, "checkpoint", None) == POCKET:
        told += _unused(args, ("weights_dir",), "the pocket model brings its own weights.")
    return told


def _unused(args: argparse.Namespace, names: Sequence[str], why: str) -> list[str]:
    return [f"{spelt(name)} is not used: {why}" for name in names if name in args.given]
