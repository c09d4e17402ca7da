"""Every double of a host's function is compared with the host's own in tests/live, or is told to be none."""

from __future__ import annotations

import inspect
from types import ModuleType
from typing import Any

import fake_a1111
import fake_webui
import pytest

OWN = {
    # what stands around the doubles
    "install", "load_script", "swallow", "with_loras", "picture", "base64_of", "job", "img2img", "latent_of",
    "text_of", "noise_of",
    "Processing.comment",
    "SdModel.hash", "SdModel.reset", "SdModel.unet", "Networks.choose",
    # made by the host in other ways, or by torch
    "SdModel.__init__", "Unet.__init__", "Vae.__init__", "Sampler.__init__", "FirstStage.__init__", "Encoder.__init__",
    "Processing.__init__", "ProcessingImg2Img.__init__", "Processed.__init__", "Networks.__init__",
    "DiffusionWrapper.__init__", "Encoder.__call__", "QuantConv.__call__",
}
"""what pretends to be nothing of a host"""


def own_functions(module: ModuleType) -> dict[str, Any]:
    """The functions of a module and of its classes, private ones aside."""
    found: dict[str, Any] = {}
    for name, value in vars(module).items():
        if getattr(value, "__module__", "") != module.__name__:
            continue
        if inspect.isclass(value):
            found |= {f"{name}.{member}": getattr(value, member) for member, part in vars(value).items()
                      if (inspect.isfunction(part) or isinstance(part, (property, staticmethod)))
                      and (not member.startswith("_") or member.startswith("__"))}
        elif inspect.isfunction(value):
            found[name] = value
    return found


@pytest.mark.parametrize(("module", "tables"), [
    (fake_webui, (fake_webui.SAME_AS, fake_webui.SAME_AS_FORGE)), (fake_a1111, (fake_a1111.SAME_AS_A1111,))],
    ids=["forge", "a1111"])
def test_no_double_is_forgotten(module: ModuleType, tables: tuple[dict[str, Any], ...]) -> None:
    compared = [double for table in tables for double in table.values()]
    functions = own_functions(module)
    assert len(functions) > 15
    assert not [name for name, function in functions.items() if name not in OWN and function not in compared]
