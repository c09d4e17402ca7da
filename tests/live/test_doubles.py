"""The doubles of the offline tests take what the real thing takes: the same parameters, by name and order."""

from __future__ import annotations

import inspect
from typing import Any

import fake_a1111
import fake_webui
import pytest

from .client import Forge

DOUBLES: dict[str, dict[str, Any]] = {"forge": {**fake_webui.SAME_AS, **fake_webui.SAME_AS_FORGE},
                                      "a1111": {**fake_webui.SAME_AS, **fake_a1111.SAME_AS_A1111}}
"""host -> what it has, and its double"""
STARS: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*{}", inspect.Parameter.VAR_KEYWORD: "**{}",
         inspect.Parameter.KEYWORD_ONLY: "{}="}


def test_doubles_have_the_hosts_parameters(forge: Forge, host: str) -> None:
    if host not in DOUBLES:
        pytest.skip("the doubles are of Forge and A1111")
    status, found = forge.call("/probe/signatures", list(DOUBLES[host]))
    assert status == 200
    ours = {name: [STARS.get(one.kind, "{}").format(one.name) for one in inspect.signature(double).parameters.values()]
            for name, double in DOUBLES[host].items()}
    assert {name: found[name] for name in ours if found[name] != ours[name]} == {}
    assert found == ours
