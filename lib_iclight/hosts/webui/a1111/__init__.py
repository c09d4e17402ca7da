"""Stable Diffusion web UI (A1111): the live UNet is IC-Light's for the length of one sampling, and itself again after.

This host has no patches of its own. So the sampler of one pass is wrapped (`adapter`): before it runs, the offsets are
put into the UNet (`weights`), with the host's LoRAs written first (`loras`), and the conditioning beside its input
(`conditioning`); after it, however it ends, all of that is taken out again.
"""

from .adapter import A1111Host

__all__ = ["A1111Host"]
