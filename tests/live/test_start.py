"""What a host says of the extension as it starts."""

from __future__ import annotations

import os
import re
from pathlib import Path

ADAPTERS = {"forge": "forge", "neo": "forge", "neo-2025": "forge", "reforge": "ldm", "classic": "ldm",
            "a1111": "a1111"}


def test_one_line_names_the_host_and_the_adapter(host: str) -> None:
    said = Path(os.environ["ICLIGHT_LIVE_LOG"]).read_text(encoding="utf-8", errors="replace")
    assert re.findall(r"^IC-Light: host .+, adapter (\w+)$", said, re.MULTILINE) == [ADAPTERS[host]]
