"""The errors that a person can meet. Every message says what is wrong and what to do next."""

from __future__ import annotations


class ICLightError(Exception):
    """Base of every error that is a person's to mend. `str(error)` is one or two plain sentences."""

    @property
    def sentence(self) -> str:
        """The message with its kind in front, as pages, the API and the command line show it."""
        return f"IC-Light: {type(self).__name__}: {self}"


class SettingsError(ICLightError):
    """A setting has an unknown name, a wrong type or a value out of range, or two settings contradict."""


class ImageError(ICLightError):
    """A picture is missing, cannot be read, or is too small, too large or empty."""


class LightError(ICLightError):
    """A light specification cannot be read."""


class StageError(ICLightError):
    """A light stage (a set of pictures, one for each light), or what is to be made of it, cannot be used as given."""


class WeightsError(ICLightError):
    """An IC-Light weights file is missing, not what it should be, or not usable with the chosen mode."""


class DownloadError(ICLightError):
    """A file could not be downloaded whole and intact, or the network may not be used."""


class MattingError(ICLightError):
    """The foreground could not be cut out."""


class CheckpointError(ICLightError):
    """The loaded checkpoint cannot be relit with: IC-Light's weights exist for plain SD 1.5 only."""


class HostError(ICLightError):
    """The host cannot do what a relight needs, or did not apply what it was given."""
