"""settings: the settings' JSON schema."""

from __future__ import annotations

import argparse
import json

from ..settings import schema

HELP = "print the settings' JSON schema"


def add(command: argparse.ArgumentParser) -> None:
    """There are no flags."""


def run(args: argparse.Namespace) -> None:
    """Print it."""
    print(json.dumps(schema(), indent=2, ensure_ascii=False))
