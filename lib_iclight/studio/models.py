"""What the studio's page offers to choose from: checkpoints, LoRAs and ControlNets, by name and never by path."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import files
from ..errors import CheckpointError, SettingsError, hint, shown
from ..hosts.standalone.checkpoint import Checkpoint, open_checkpoint
from ..panel import texts
from ..session import Session

if TYPE_CHECKING:
    from ..hosts.standalone.controlnet import Control

UNUSED_CONTROL = "The ControlNet's picture is not used: no ControlNet is chosen."


class Models:
    """The models in a session's folders. They are looked for when the page is built; only headers are read."""

    def __init__(self, session: Session) -> None:
        own = session.checkpoint
        self._checkpoints: dict[str, Checkpoint] = {} if own is None else {own.name: own}
        for path in files.walk(session.folders.checkpoints):
            if path.suffix.casefold() == ".safetensors":
                try:
                    found = open_checkpoint(path)
                except CheckpointError:  # of another kind
                    continue
                self._checkpoints.setdefault(found.name, found)
        self._nets = _by_name(session.folders.controlnets)
        self.loras = list(_by_name(session.folders.loras))
        """names, as prompts have them"""
        self.chosen = own
        """the checkpoint that the page shows"""

    @property
    def checkpoints(self) -> list[str]:
        """Names, the session's own first."""
        return list(self._checkpoints)

    @property
    def controlnets(self) -> list[str]:
        """Names, after the one for none."""
        return [texts.NO_CONTROLNET, *self._nets]

    def checkpoint(self, name: Any) -> Checkpoint | None:
        """The checkpoint of that name; None stands for the session's own. Raises SettingsError."""
        if name is None:
            return next(iter(self._checkpoints.values()), None)
        found: Checkpoint = _one_of(self._checkpoints, name, "checkpoint")
        return found

    def controls(self, name: Any, picture: object, strength: Any) -> tuple[list[Control], list[str]]:
        """The ControlNet that is chosen, if any, and what to tell. Raises ICLightErrors."""
        from ..hosts.standalone.controlnet import Control

        if name in (None, texts.NO_CONTROLNET):
            return [], [] if picture is None else [UNUSED_CONTROL]
        path = _one_of(self._nets, name, "ControlNet")
        if isinstance(strength, bool) or not isinstance(strength, int | float) or not 0 <= strength <= 2:
            raise SettingsError(f"the ControlNet's strength must be a number from 0 to 2, not {shown(strength)}.")
        return [Control(path, picture, float(strength))], []


def with_lora(prompt: str, name: str) -> str:
    """The prompt with a LoRA's tag at its end."""
    return f"{prompt.rstrip()} <lora:{name}:1>".lstrip()


def _by_name(folders: Sequence[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in files.walk(folders):
        if path.suffix.casefold() == ".safetensors":
            found.setdefault(files.shown_name(path.with_suffix("")), path)
    return found


def _one_of(known: dict[str, Any], name: Any, what: str) -> Any:
    if not isinstance(name, str) or name not in known:
        raise SettingsError(f"there is no {what} {shown(name)} here. {hint(name, known)}")
    return known[name]
