"""Adapters between a relight job and the programs that run the diffusion."""
