"""Relighting without any WebUI: Stable Diffusion 1.5 through diffusers, offline.

`generation` (what to sample; imports nothing heavy), `checkpoint` (the models), `loras`, `unet` (the UNet with
IC-Light's offsets), `prompts`, `samplers`, and `host`, which joins them.
"""
