"""torch.compile for the UNet."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ...errors import HostError


def compiled(model: Any) -> Callable[..., Any]:
    """The model's forward, compiled when it is first called, and again for each new size of picture.

    Its weights may be written anew meanwhile. Raises HostError where there is nothing to compile with.
    """
    forward: Callable[..., Any] = torch.compile(model)

    def call(*args: Any, **named: Any) -> Any:
        try:
            return forward(*args, **named)
        except Exception as error:
            if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
                raise HostError("torch.compile does not work here, which mostly means that there is no C++ compiler or "
                                "no Triton. Leave --compile out.") from error
            raise

    return call
