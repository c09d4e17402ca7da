"""Replaces a method on one object, never on its class, and keeps what stood there to call it or to put it back.

A host runs what it finds on an object: `p.sample`, `p.sampler.sample`. Some of its hooks are called twice for one pass,
and some objects serve several passes. So a replacement remembers the method behind it: replacing ours again replaces
it, and does not stack upon it; the method behind stays the host's own (or another extension's, which replaced it
before us).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Method = Callable[..., Any]
_MARK = "iclight_behind"
"""the attribute of our functions that holds what stands behind them"""


@dataclass(frozen=True)
class _Behind:
    method: Method
    of_object: bool
    """whether it was the object's own attribute rather than its class's"""


def original(owner: Any, name: str) -> Method:
    """The method of `owner` that is not ours: the one behind our replacement, or the one there."""
    behind = _behind(getattr(owner, name))
    return getattr(owner, name) if behind is None else behind.method


def replace(owner: Any, name: str, function: Method) -> None:
    """Have `owner` call `function` for its method. `original` and `restore` know what stood there before ours.

    function: made for this call; a function that has already replaced something cannot be used again.
    """
    behind = _behind(getattr(owner, name)) or _Behind(getattr(owner, name), name in vars(owner))
    setattr(function, _MARK, behind)
    setattr(owner, name, function)


def restore(owner: Any, name: str) -> None:
    """Put back what stood on `owner` before `replace`; nothing if it is not ours that stands there now.

    So a replacement that another extension has wrapped stays, for what it wraps is no longer ours to take away.
    """
    behind = _behind(vars(owner).get(name))
    if behind is None:
        return
    if behind.of_object:
        setattr(owner, name, behind.method)
    else:
        delattr(owner, name)


def _behind(function: object) -> _Behind | None:
    """What stands behind a replacement of ours; None for any other function."""
    behind = getattr(function, _MARK, None)
    return behind if isinstance(behind, _Behind) else None
