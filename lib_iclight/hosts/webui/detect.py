"""Which WebUI this is, told by what it can do rather than by its name."""

from __future__ import annotations

import importlib
import logging
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch

from ...errors import HostError
from ...job import Encoder
from ...weights import Layout, Offsets
from ..base import Applied, Host

log = logging.getLogger("iclight")


@dataclass(frozen=True)
class Family:
    """WebUIs that one adapter serves."""

    adapter: str
    """the adapter's module beside this one"""
    maker: str
    """its class"""
    needs: tuple[str, ...]
    """modules of the host that are there in every member of the family, and not in families further down"""


FAMILIES = (
    Family("forge", "ForgeHost", ("backend.sampling.condition", "backend.memory_management")),
    Family("ldm", "LdmHost", ("ldm_patched.modules.conds", "modules_forge.unet_patcher")),
    Family("a1111", "A1111Host", ("modules.sd_unet", "modules.sd_hijack_unet")),
)


@dataclass(frozen=True)
class Unsupported:
    """A host that no adapter serves: every relit job is refused with a sentence. See `hosts.base.Host`."""

    name: str
    reason: str
    """the sentence"""
    adapter: str = "none"
    layout: Layout = "ldm"

    def check_checkpoint(self, sd_model: Any) -> None:
        """Refuse."""
        raise HostError(self.reason)

    def encoder(self, sd_model: Any) -> Encoder:
        """Refuse."""
        raise HostError(self.reason)

    def apply(self, p: Any, offsets: Offsets, concat: torch.Tensor) -> Applied:
        """Refuse."""
        raise HostError(self.reason)

    def release(self) -> None:
        """Nothing is kept."""


def detect() -> Host:
    """The adapter of the WebUI in whose process this runs; says so in the log, in one line.

    An ImportError of this project's own is raised. One of the host's means that it is not as its family was.
    """
    name = _name()
    found: Host = Unsupported(name, (
        f"IC-Light does not know this WebUI ({name}), so it stays switched off here. It runs in Forge, Forge Neo, "
        "reForge, Forge Classic and AUTOMATIC1111's WebUI 1.10."))
    if _has_hook():
        for family in FAMILIES:
            if all(_there(module) for module in family.needs):
                found = _adapter(family, name)
                break
    if isinstance(found, Unsupported):
        log.error("IC-Light: host %s: %s", name, found.reason)
    else:
        log.info("IC-Light: host %s, adapter %s", name, found.adapter)
    return found


def _adapter(family: Family, name: str) -> Host:
    try:
        module = importlib.import_module(f".{family.adapter}", __package__)
    except ImportError as error:
        if (error.name or "").split(".")[0] == __name__.split(".")[0]:
            raise
        return Unsupported(name, f"IC-Light does not fit this version of the WebUI ({name}: {error}), so it stays "
                           "switched off. Update the extension, or report this sentence with the WebUI's version.")
    made: Host = getattr(module, family.maker)(name)
    return made


def _there(module: str) -> bool:
    """Whether a module can be imported; its parents are, the module itself is not."""
    try:
        return module in sys.modules or find_spec(module) is not None
    except ModuleNotFoundError:
        return False


def _has_hook() -> bool:
    """Whether the host tells scripts before each sampling; WebUIs before 2024 did not."""
    from modules.scripts import Script

    return hasattr(Script, "process_before_every_sampling")


def _name() -> str:
    """The host's name and version as far as it tells them."""
    version = _attribute("modules_forge.forge_version", "version")
    if version == "classic":
        return "Forge Classic"
    if version == "neo":
        return f"Forge Neo {_attribute('modules_forge.forge_version', 'release') or ''}".rstrip()
    if version and _there("ldm_patched.modules.conds"):
        return f"reForge {version}"
    if version:
        return f"Forge {version}"
    tag = _attribute("modules.launch_utils", "git_tag")
    return f"WebUI {tag() if callable(tag) else 'of unknown version'}"


def _attribute(module: str, name: str) -> Any:
    """A module's attribute, None if either is missing."""
    return getattr(importlib.import_module(module), name, None) if _there(module) else None
