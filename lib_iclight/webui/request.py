"""What a page or an API client asks for, as Settings: the first step of the way to a relit picture."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ..errors import SettingsError
from ..settings import FIELDS, Settings

ARGUMENTS = tuple(field.name for field in FIELDS)
"""the order in which the panel's values arrive"""


def read_settings(p: Any, arguments: Iterable[Any]) -> Settings:
    """The settings of a request: the API's one object, or the panel's values; X/Y/Z overrides on top.

    p: the host's processing. arguments: what the host hands to the script's hooks. Raises SettingsError.
    """
    values = list(arguments)
    if values and isinstance(values[0], dict):
        given = values[0]
        settings = Settings.from_dict(given)
        if given and "enabled" not in given:
            raise SettingsError("the IC-Light object does not say whether to relight. Add \"enabled\": true.")
    else:
        named = dict(zip(ARGUMENTS, values, strict=False))
        settings = Settings.from_dict(named) if named.get("enabled") else Settings()
    overrides = getattr(p, "iclight_overrides", None)
    if overrides and not settings.enabled:
        raise SettingsError("an X/Y/Z axis is one of IC-Light's, but IC-Light is not enabled. Open its panel first.")
    return settings.replace(**overrides) if overrides else settings
