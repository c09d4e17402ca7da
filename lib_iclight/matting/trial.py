"""A cut-out model that nobody knows, tried out where it can do no harm: in a process of its own, with a time limit.

An ONNX file is a program. It may loop for ever, ask for all memory, or meet an assertion in onnxruntime, which ends the
whole process; that process shall not be a WebUI.
"""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from pathlib import Path

from .. import files
from ..errors import MattingError
from .registry import WAY_OUT

TIME_LIMIT = 180.0
"""seconds; the largest known model needs some 40 for loading and one picture on two slow cores"""
MEMORY = 16 * 2**30
"""bytes of address space, where the system can limit it"""

log = logging.getLogger("iclight")

_PROGRAM = """
import json, sys
import numpy
try:
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[3]), int(sys.argv[3])))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
except (ImportError, OSError, ValueError):
    pass
try:
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.enable_cpu_mem_arena = False
    model = sys.argv[1]
    if not model.isprintable():
        model = open(model, "rb").read()
    session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    kinds = {"tensor(float)": numpy.float32, "tensor(float16)": numpy.float16}
    if len(session.get_inputs()) == 1 and source.type in kinds and len(source.shape) == 4 and all(
            not isinstance(side, int) or low <= side <= high
            for side, low, high in zip(source.shape, (1, 3, 16, 16), (1, 3, 4096, 4096))):
        shape = [side if isinstance(side, int) else other
                 for side, other in zip(source.shape, (1, 3, int(sys.argv[2]), int(sys.argv[2])))]
        session.run([session.get_outputs()[0].name], {source.name: numpy.zeros(shape, kinds[source.type])})
    fault = ""
except Exception as error:
    fault = str(error) or type(error).__name__
print(json.dumps(fault))
"""


def try_out(path: Path, side: int) -> None:
    """Load the model and show it one black picture (`side` to a side where it leaves that open).

    Only an end that would take this process along is an error: Raises MattingError for a model that takes too long or
    ends its process. What else may be wrong shows itself, and is named, when the model is used. Where no second process
    can be started, as in frozen programs, a line in the log says that nothing was tried.
    """
    name = files.shown_name(path)
    try:
        done = subprocess.run([sys.executable, "-c", _PROGRAM, str(path), str(side), str(MEMORY)], timeout=TIME_LIMIT,
                              capture_output=True, stdin=subprocess.DEVNULL, check=False)
    except subprocess.TimeoutExpired:
        raise _refused(f"{name} took more than {TIME_LIMIT:g} seconds for one picture", path) from None
    except (OSError, ValueError) as error:
        log.warning("%s is used untried: no second process can be started (%s)", name, files.reason(error))
        return
    try:
        fault = str(json.loads(done.stdout.splitlines()[-1]))
    except (ValueError, IndexError):
        raise _refused(f"{name} made onnxruntime end its process (exit {done.returncode})", path) from None
    if "bad_alloc" in fault or "Failed to allocate" in fault or "bad allocation" in fault:
        raise _refused(f"{name} asks for more memory than there is", path)


def _refused(why: str, path: Path) -> MattingError:
    return MattingError(f"{why}, so it is not used. Choose another cut-out model. {WAY_OUT}", path=path)
