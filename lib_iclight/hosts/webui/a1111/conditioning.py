"""IC-Light's conditioning beside the latent in A1111.

It goes in where the host lets it pass: as `image_conditioning`, which an inpainting checkpoint would use. The host
repeats and splits it along with the batch and hands it to the diffusion wrapper, which ignores it for a plain
checkpoint. A hook there takes it, and one at the first convolution puts it beside the latent, behind whatever other
extensions do to the UNet's `forward`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from ....errors import HostError
from ...base import Applied, check_pass


@contextmanager
def conditioned(model: Any, renew: Callable[[], None], applied: Applied) -> Iterator[None]:
    """Put the conditioning that the diffusion wrapper `model` is given beside the latent. `renew` runs every step."""
    unet = model.diffusion_model
    conditioning: list[torch.Tensor] = []

    def take(module: Any, args: Any, kwargs: Mapping[str, Any]) -> None:
        if args:  # with --medvram the ControlNet extension calls it in mid-step with nothing, for the sake of its hooks
            renew()
            conditioning[:] = kwargs.get("c_concat") or []

    def put(convolution: Any, args: tuple[torch.Tensor]) -> torch.Tensor:
        (x,) = args
        if not conditioning:
            raise HostError("the conditioning was lost on its way to the UNet: another extension changes how it is "
                            "called. Switch that extension off for this job.")
        # Steps that leave the negative prompt out hand over its rows of the conditioning all the same, at the end.
        concat = conditioning[0][:x.shape[0]].to(x)
        check_pass(unet, x, concat)
        applied.steps += 1
        return torch.cat([x, concat], dim=1)

    hooks = [model.register_forward_pre_hook(take, with_kwargs=True),
             unet.input_blocks[0][0].register_forward_pre_hook(put)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
