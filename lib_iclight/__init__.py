"""IC-Light relighting for Stable Diffusion WebUIs and the command line."""

__version__ = "0.1.0"
