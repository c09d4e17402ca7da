"""The same folder through one or more running WebUIs: each is kept busy, and what one of them loses another makes."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import HostError
from .claims import Claims
from .local import Listen
from .order import Order
from .recipe import Pictures
from .remote import FailedError, GoneError, RefusedError, Remote
from .report import MADE, THERE, Report, Row, Tally
from .talk import Wish, keep, wish
from .worker import FATAL, failed

SLOTS = 2
"""requests that each WebUI has at once: it makes one picture after the other, and never waits for us between them"""
TRIES = 2
"""WebUIs that may fail over one picture"""
DEATHS = 4
"""times that a WebUI may go away over one picture, before the picture is left alone: it may be what kills them"""
PATIENCE = 300.0
"""seconds that the batch waits while no WebUI answers at all"""
PAUSE = 2.0
"""seconds between two looks at a WebUI that does not answer, or a picture that another process is at"""
PATH = "/sdapi/v1/txt2img"


@dataclass
class _Job:
    """A picture that is to be asked for."""

    name: str
    wish: Wish | None = None
    """once it is read and claimed"""
    failed_at: set[str] = field(default_factory=set)
    """WebUIs that failed over it"""
    deaths: int = 0
    """how often a WebUI went away over it"""
    started: float = 0.0


def check(remotes: Sequence[Remote], payload: Mapping[str, Any]) -> tuple[list[Remote], str, list[str]]:
    """The WebUIs that answer, the checkpoint that they work with, and what to know, in sentences.

    Raises HostError where none answers, and for one that answers and cannot relight.
    """
    there, notes, titles = [], [], []
    for remote in remotes:
        try:
            remote.check()
        except GoneError as error:
            notes.append(f"{error}. The others go on without it.")
        else:
            there.append(remote)
            titles.append(remote.checkpoint())
    if not there:
        raise HostError("none of the WebUIs answers: " + ", ".join(remote.name for remote in remotes)
                        + ". Start them with --api, and look at the addresses.")
    chosen = (payload.get("override_settings") or {}).get("sd_model_checkpoint")
    if chosen:
        return there, str(chosen), notes
    if len(set(titles)) > 1:
        named = ", ".join(f"{remote.name} {title or 'unknown'}" for remote, title in zip(there, titles, strict=True))
        raise HostError(f"the WebUIs have different checkpoints loaded ({named}). Load the same one, or name it in the "
                        "payload's override_settings as sd_model_checkpoint.")
    return there, titles[0], notes


class Pool:
    """WebUIs at work on one batch.

    stop: set, it lets those at work finish, and takes up nothing more. patience: see `PATIENCE`. pause: see `PAUSE`.
    """

    def __init__(self, order: Order, remotes: Sequence[Remote], claims: Claims, report: Report, *,
                 payload: Mapping[str, Any], checkpoint: str, stop: threading.Event | None = None,
                 listen: Listen = lambda tally, row: None, patience: float = PATIENCE, pause: float = PAUSE) -> None:
        self._order, self._remotes, self._claims, self._report = order, tuple(remotes), claims, report
        self._payload, self._checkpoint = payload, checkpoint
        self._stop = stop or threading.Event()
        self._listen, self._patience, self._pause = listen, patience, pause
        self._pictures = Pictures()
        self._change = threading.Condition()
        """guards all below, and is told when any of it changes"""
        self._todo: deque[_Job] = deque()
        self._later: deque[_Job] = deque()
        """another process is at them"""
        self._at_work = 0
        self._down: dict[str, float] = {}
        """WebUIs that do not answer, and since when"""
        self._error: BaseException | None = None
        self._broken_off = False
        self._tally = Tally(0)

    def run(self, names: Sequence[str]) -> Tally:
        """Have all pictures of these names made that are not there; returns what became of them.

        Raises HostError where no WebUI answers for too long, and BatchError where the disk refuses. On an interrupt the
        WebUIs are told to end what they are at, and what they have of it is not kept.
        """
        self._todo.extend(_Job(name) for name in names)
        self._tally = Tally(len(names))
        self._listen(self._tally, None)
        threads = [threading.Thread(target=self._serve, args=(remote,), name=f"batch-{remote.name}", daemon=True)
                   for remote in self._remotes for _ in range(SLOTS)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join(0.2)
        except BaseException:
            self._break_off(threads)
            raise
        if self._error is not None:
            raise self._error
        return self._tally

    def _break_off(self, threads: Sequence[threading.Thread]) -> None:
        """Interrupt the WebUIs until nothing is at work in them: each has another request waiting.

        Its thread may be gone before that request begins, so each WebUI is interrupted once for each slot at least.
        """
        self._broken_off = True
        self._stop.set()
        until, rounds = time.monotonic() + 30.0, 0
        while (rounds < SLOTS or any(thread.is_alive() for thread in threads)) and time.monotonic() < until:
            rounds += 1
            for remote in self._remotes:
                if remote.name not in self._down:
                    remote.interrupt()
            time.sleep(0.5)

    def _serve(self, remote: Remote) -> None:
        """One slot of a WebUI: take a picture, have it made, tell, until there is nothing left."""
        try:
            while (job := self._next(remote)) is not None:
                with self._working():
                    self._treat(remote, job)
        except BaseException as error:  # raised again in `run`
            with self._change:
                self._error = self._error or error
                self._stop.set()
                self._change.notify_all()

    def _next(self, remote: Remote) -> _Job | None:
        """What the WebUI is to do next, counted as at work; None where all is done, or is to end."""
        with self._change:
            while not self._stop.is_set():
                if remote.name in self._down:
                    self._wait_for(remote)
                    continue
                for queue in (self._todo, self._later):
                    for _ in range(len(queue)):
                        job = queue.popleft()
                        if remote.name not in job.failed_at or not self._others(job):
                            self._at_work += 1
                            return job
                        queue.append(job)
                if not self._at_work and not self._todo and not self._later:
                    return None
                self._change.wait(self._pause)
        return None

    def _others(self, job: _Job) -> list[str]:
        """WebUIs that answer and have not failed over the picture."""
        return [remote.name for remote in self._remotes
                if remote.name not in job.failed_at and remote.name not in self._down]

    def _wait_for(self, remote: Remote) -> None:
        """Look whether a WebUI that went is there again; raise HostError where all are gone for too long."""
        left = len(self._todo) + len(self._later) + self._at_work
        if not left:
            self._stop.set()
            return
        if len(self._down) == len(self._remotes) and time.monotonic() - max(self._down.values()) > self._patience:
            raise HostError(f"no WebUI answers any more, and {left} pictures are left. Start one again and run the "
                            "batch again: it goes on where it was.")
        self._change.release()
        try:
            self._stop.wait(self._pause)
            there = remote.is_there()
        finally:
            self._change.acquire()
        if there:
            self._down.pop(remote.name, None)
            self._change.notify_all()

    @contextlib.contextmanager
    def _working(self) -> Iterator[None]:
        try:
            yield
        finally:
            with self._change:
                self._at_work -= 1
                self._change.notify_all()

    def _treat(self, remote: Remote, job: _Job) -> None:
        """One picture at one WebUI: its row, or back in the queue."""
        if job.wish is None:
            row = self._ready(job)
            if row is not None:
                self._tell(row)
                self._claims_back(row.key)
            if job.wish is None:
                return
        made = job.wish
        try:
            answer = remote.ask(PATH, made.body)
            if self._broken_off:
                return
            row = self._row(made, MADE, job, remote, keep(made, answer))
        except GoneError as error:
            job.deaths += 1
            with self._change:
                self._down.setdefault(remote.name, time.monotonic())
                if job.deaths < DEATHS:
                    self._todo.appendleft(job)
                    return
            gone = HostError(f"{DEATHS} times a WebUI went away over this picture, at last: {error}")
            row = failed(job.name, gone, time.monotonic() - job.started, made.target.key, remote.name)
        except FailedError as error:
            job.failed_at.add(remote.name)
            with self._change:
                if self._others(job) and len(job.failed_at) < TRIES:
                    self._todo.appendleft(job)
                    return
            row = failed(job.name, HostError(str(error)), time.monotonic() - job.started, made.target.key, remote.name)
        except FATAL:
            raise
        except Exception as error:
            told = HostError(str(error)) if isinstance(error, RefusedError) else error
            row = failed(job.name, told, time.monotonic() - job.started, made.target.key, remote.name)
        self._tell(row)
        self._claims_back(made.target.key)

    def _ready(self, job: _Job) -> Row | None:
        """Read and claim a picture; its row where nothing is to be made of it, None where it is ours or another's."""
        job.started = time.monotonic()
        try:
            made = wish(self._order, job.name, self._pictures, self._payload, self._checkpoint)
        except Exception as error:  # whatever a broken file makes of a decoder: the others go on
            return failed(job.name, error, time.monotonic() - job.started)
        if not self._claims.claim(made.target.key):
            self._stop.wait(self._pause)
            with self._change:
                self._later.append(job)
            return None
        if made.is_done:
            return self._row(made, THERE, job)
        job.wish = made
        return None

    def _row(self, made: Wish, state: str, job: _Job, remote: Remote | None = None,
             warnings: tuple[str, ...] = ()) -> Row:
        output = made.target.place.relative_to(self._order.out).as_posix()
        seconds = None if remote is None else round(time.monotonic() - job.started, 3)
        return Row(made.name, state, output, seconds, None, made.target.key, warnings,
                   None if remote is None else remote.name)

    def _tell(self, row: Row) -> None:
        self._report.add(row)
        with self._change:
            self._tally.count(row)
            self._listen(self._tally, row)

    def _claims_back(self, key: str | None) -> None:
        if key is not None:
            self._claims.release(key)
