"""What every case must hold to, and the count of how it ended."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from hypothesis import HealthCheck, settings

from lib_iclight.errors import LONGEST, ICLightError

SECONDS, BYTES = 5.0, 10**9
LONG = "ICLIGHT_FUZZ_LONG"
"""set by `python run.py fuzz`: many more cases of another seed in each round"""
COUNTS: Counter[str] = Counter()
"""how cases ended: normal, or the kind of named error; anything else is "other" and fails its test"""


def cases(count: int) -> settings:
    """So many cases, the same ones every time; forty times as many of a new seed in a long campaign."""
    long = bool(os.environ.get(LONG))
    return settings(max_examples=count * (40 if long else 1), derandomize=not long, deadline=None, database=None,
                    suppress_health_check=list(HealthCheck))


def holds(call: Callable[[], object], *also: type[Exception]) -> object:
    """The call's result, or the named error that it raised: a sentence that can be printed and sent.

    `also`: further kinds that the callee documents. Bounded in time (this process's, so that a busy machine does not
    count) and memory. Whatever else it raises, fails the test.
    """
    begun, before = time.process_time(), _resident()
    try:
        result = call()
        COUNTS["normal"] += 1
    except ICLightError as error:
        sentence = error.sentence
        assert str(error).strip() and len(str(error)) <= LONGEST
        assert sentence.encode("utf-8") and "Traceback" not in sentence
        COUNTS[type(error).__name__] += 1
        result = error
    except also as error:
        COUNTS[type(error).__name__] += 1
        result = error
    except BaseException:
        COUNTS["other"] += 1
        raise
    assert time.process_time() - begun < SECONDS
    assert _peak() - before < BYTES or _resident() - before < BYTES
    return result


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 if os.path.exists("/proc/self/statm") else 0


def _peak() -> int:
    """The most that this process ever held, in bytes; 0 where the system does not tell."""
    try:
        import resource
    except ImportError:
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
