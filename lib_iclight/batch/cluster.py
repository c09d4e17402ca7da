"""The same folder on many machines, through Ray Data: the only file that knows Ray.

Names go over the wire and rows come back; pictures are read from and written to folders that every machine sees by the
same paths. Each actor has a session of its own. What an actor or a machine that is lost was at, Ray gives to another;
what it had written is found there and not made again.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import BatchError
from ..files import reason
from .claims import Claims
from .local import Listen, rows
from .order import Order
from .report import Report, Row, Tally
from .worker import Worker

LOCAL = "local"
"""in an address's place: a cluster of this machine alone, for the time of the batch"""
PATIENCE = 10.0
"""seconds within which an address has to take a connection"""
JOINED = 60.0
"""seconds within which a process has to have joined the cluster; a few where there is one"""
JOIN = """
import sys
try:
    import ray
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level="CRITICAL")
except Exception as error:
    sys.stdout.write(next(iter(str(error).splitlines()), "") or type(error).__name__)
    sys.exit(1)
"""
"""a program that joins the cluster at its argument; it ends with 1 and a line where it cannot"""
BLOCK = 8
"""pictures that an actor is given at a time; rows come back, and are reported, when all of them are done"""


class Maker:
    """An actor: makes the pictures that it is given."""

    def __init__(self, order: Order) -> None:
        self._worker = Worker(order, Claims(order.out))
        self._worker.check()
        self._host = os.uname().nodename if hasattr(os, "uname") else ""

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[str]]:
        """{"name": names as bytes} -> {"row": rows as JSON}."""
        names = [os.fsdecode(bytes(name)) for name in batch["name"]]
        made = rows(self._worker, names, threading.Event())
        return {"row": [json.dumps({**vars(row), "host": self._host}) for row in made]}


def run(order: Order, names: Sequence[str], report: Report, address: str, *, actors: int | None = None,
        stop: threading.Event | None = None, listen: Listen = lambda tally, row: None) -> Tally:
    """Have all pictures of these names made that are not there; returns what became of them.

    address: a cluster's, such as 10.0.0.1:6379, "auto" for the one that this machine is part of, or `LOCAL`.
    actors: how many sessions there are; None: one for each GPU, without GPUs one.
    stop: set, it ends the batch at once; pictures in work are made anew the next time.
    Raises BatchError where Ray is missing or does not answer, and what stands in the way of every picture.
    """
    ray = _ray()
    stop = stop or threading.Event()
    tally = Tally(len(names))
    listen(tally, None)
    try:
        _connect(ray, address, stop)
        for row in () if stop.is_set() else _rows(ray, order.absolute(), names, actors, stop):
            report.add(row)
            tally.count(row)
            listen(tally, row)
    except ray.exceptions.RayError as error:
        raise _told(error) from error
    finally:
        ray.shutdown()
    return tally


def _rows(ray: Any, order: Order, names: Sequence[str], actors: int | None, stop: threading.Event) -> Iterator[Row]:
    """Rows as they come back."""
    gpus = int(ray.cluster_resources().get("GPU", 0))
    count = actors or gpus or 1
    data = ray.data.from_items([{"name": os.fsencode(name)} for name in names],
                               override_num_blocks=max(1, -(-len(names) // BLOCK)))
    # A share of a GPU where there are more actors than GPUs, and none on a cluster without.
    made = data.map_batches(Maker, fn_constructor_args=(order,), batch_size=None, concurrency=count,
                            num_gpus=min(1.0, gpus / count) if gpus else None)
    for told in made.iter_rows():
        yield Row(**{**(values := json.loads(told["row"])), "warnings": tuple(values["warnings"])})
        if stop.is_set():
            return


def _ray() -> Any:
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise BatchError(f"--ray needs Ray, which cannot be imported ({error}). Install it with: pip install -r "
                         "requirements/cluster.txt. Never into a WebUI's environment: it moves protobuf.") from error
    return ray


def _connect(ray: Any, address: str, stop: threading.Event) -> None:
    """Join the cluster, unless asked to stop meanwhile. Raises BatchError where there is none."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if address != LOCAL:
        _reach(address)
        _try(address, stop)
    if stop.is_set():
        return
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    try:
        # `LOCAL` is Ray's own word; without an address it would join any cluster that runs on this machine.
        ray.init(address=address, log_to_driver=False, logging_level="ERROR",
                 **({"include_dashboard": False} if address == LOCAL else {}))
    except Exception as error:  # Ray has no kind of its own for it
        told = next(iter(str(error).splitlines()), "")[:200] or type(error).__name__
        raise _absent(address, told) from error


def _reach(address: str) -> None:
    """See that somebody listens at host:port: Ray itself tries for minutes (2.60). Raises BatchError."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon or not port.isdecimal():  # `LOCAL`, "auto"
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
    except (OSError, OverflowError, UnicodeError) as error:
        told = reason(error) if isinstance(error, OSError) else "it is no address"
        raise _absent(address, told) from error


def _try(address: str, stop: threading.Event) -> None:
    """Join the cluster in a process of its own, which can be ended.

    Where a port listens and is no cluster's, Ray tries for minutes and takes no time limit (2.60). Raises BatchError.
    """
    end = time.monotonic() + JOINED
    with subprocess.Popen([sys.executable, "-c", JOIN, address], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, encoding="utf-8", errors="replace") as process:
        try:
            while process.poll() is None and not stop.wait(0.05):
                if time.monotonic() > end:
                    raise _absent(address, f"something listens there, and lets nobody join within {JOINED:.0f} seconds")
        finally:
            process.kill()
        told = process.stdout.read() if process.stdout else ""
    if process.returncode and not stop.is_set():
        raise _absent(address, told.strip()[:200] or f"joining it ended with {process.returncode}")


def _absent(address: str, told: str) -> BatchError:
    return BatchError(f"no Ray cluster answers at {address} ({told.rstrip('.')}). Start one with `ray start "
                      "--head`, or give --ray local.")


def _told(error: Exception) -> Exception:
    """What went wrong in an actor, as it was raised there; else that Ray failed."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, BatchError) or type(cause).__module__.startswith("lib_iclight"):
            return cause if isinstance(cause, Exception) else error
        cause = getattr(cause, "cause", None) or cause.__cause__
    line = next((one for one in reversed(str(error).splitlines()) if one.strip()), type(error).__name__)
    return BatchError(f"Ray ended the batch: {line.strip()[:300]}. Run it again: it goes on where it was.")
