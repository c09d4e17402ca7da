"""`batch --ray`: two sessions of one machine, two nodes, and what is lost with them made elsewhere.

Ray is in requirements/dev.txt. Actors are found in /proc, and Ray has several nodes on one machine on Linux only.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lib_iclight import cli
from lib_iclight.batch import cluster
from lib_iclight.batch.order import Order
from lib_iclight.batch.recipe import Recipe
from lib_iclight.batch.report import Report
from lib_iclight.errors import BatchError

from .folders import QUICK, fill, last, results, spoil

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, and several Ray nodes on one machine")
ACTOR = b"ray::MapWorker(MapBatches(Maker))"
"""the title of an actor's process"""


def order(photos: Path, out: Path) -> Order:
    return Order(photos, out, Recipe({"light": "left", "width": 64, "height": 64, "steps": 1}))


def actors() -> set[int]:
    """The processes of actors."""
    found = set()
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (place / "cmdline").read_bytes().startswith(ACTOR):
                found.add(int(place.name))
    return found


def test_without_ray_it_says_what_to_install(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    fill(photos, 1)
    monkeypatch.setitem(sys.modules, "ray", None)
    assert cli.main(["batch", str(photos), "-o", str(tmp_path / "out"), "--ray", "local", *QUICK]) == 2
    assert "BatchError: --ray needs Ray" in capsys.readouterr().err


@LINUX
def test_two_actors_make_what_one_process_makes_though_one_is_killed(photos: Path, tmp_path: Path) -> None:
    good, bad = fill(photos, 40), spoil(photos)
    flags = [*QUICK, "--recursive"]
    assert cli.main(["batch", str(photos), "-o", str(tmp_path / "here"), *flags]) == 3
    out, before = tmp_path / "there", actors()
    killed: list[int] = []

    def kill() -> None:
        while not killed:
            made = list(out.rglob("*.png")) if out.exists() else []
            if len(made) > 6:
                killed.extend(sorted(actors() - before)[:1])
                for process in killed:
                    os.kill(process, signal.SIGKILL)
            time.sleep(0.02)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    assert cli.main(["batch", str(photos), "-o", str(out), "--ray", "local", "--actors", "2", *flags]) == 3
    killer.join(5)
    assert killed
    assert set(last(out)) == {*good, *bad}
    assert results(out) == results(tmp_path / "here")
    for name in results(out):
        assert (out / name).read_bytes() == (tmp_path / "here" / name).read_bytes(), name


@pytest.fixture
def nodes() -> Iterator[Any]:
    """A cluster of two nodes on this machine."""
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.add_node(num_cpus=1)
    yield made
    made.shutdown()


@LINUX
def test_what_a_lost_node_was_at_is_made_elsewhere(photos: Path, tmp_path: Path, nodes: Any) -> None:
    good, out = fill(photos, 40), tmp_path / "out"
    lost: list[Any] = []

    def listen(tally: Any, row: Any) -> None:
        if tally.done >= 8 and not lost:
            lost.extend(nodes.worker_nodes)
            nodes.remove_node(lost[0], allow_graceful=False)

    tally = cluster.run(order(photos, out), good, Report(out), nodes.address, actors=2, listen=listen)
    assert lost and tally.failed == 0 and tally.done == 40
    assert sorted(row["output"] for row in last(out).values()) == results(out) and set(last(out)) == set(good)


@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "[::1]:9", "nowhere.invalid:6379",
                                     "127.0.0.1:99999", "a..b:6379"])
def test_a_cluster_that_is_not_there(address: str) -> None:
    """It is told before Ray is asked, which tries for minutes."""
    class Ray:
        """Must not be asked."""

    with pytest.raises(BatchError, match="no Ray cluster answers at"):
        cluster._connect(Ray, address, threading.Event())


@pytest.fixture
def deaf() -> Iterator[str]:
    """An address where connections are taken and nothing is said."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def joining(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[str]]:
    """The processes that try to join."""
    started: list[subprocess.Popen[str]] = []

    def popen(*args: Any, **options: Any) -> subprocess.Popen[str]:
        started.append(popen_of(*args, **options))
        return started[-1]

    popen_of = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", popen)
    return started


@pytest.mark.parametrize(("program", "told"), [
    ("import time; time.sleep(600)", r"\(something listens there, and lets nobody join within 1 seconds\)"),
    ("import sys; print('versions differ'); sys.exit(1)", r"\(versions differ\)"),
    ("import os; os._exit(7)", r"\(joining it ended with 7\)")])
def test_a_port_that_is_no_clusters(program: str, told: str, deaf: str, joining: list[subprocess.Popen[str]],
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "JOIN", program)
    if "sleep" in program:
        monkeypatch.setattr(cluster, "JOINED", 1.0)
    with pytest.raises(BatchError, match=f"no Ray cluster answers at {deaf} {told}"):
        cluster._connect(None, deaf, threading.Event())
    assert [process.returncode is not None for process in joining] == [True]


def test_who_waits_for_a_cluster_can_stop(deaf: str, joining: list[subprocess.Popen[str]],
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "JOIN", "import time; time.sleep(600)")
    stop = threading.Event()
    threading.Timer(0.3, stop.set).start()
    cluster._connect(None, deaf, stop)  # Ray, which is None here, is not asked
    assert [process.returncode is not None for process in joining] == [True]


def test_ray_itself_is_given_no_more_than_its_time(deaf: str, photos: Path, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    fill(photos, 1)
    monkeypatch.setattr(cluster, "JOINED", 10.0)
    assert cli.main(["batch", str(photos), "-o", str(tmp_path / "out"), "--ray", deaf, *QUICK]) == 2
    assert f"BatchError: no Ray cluster answers at {deaf}" in capsys.readouterr().err


@LINUX
def test_a_cluster_of_this_machine_alone_joins_no_other(photos: Path, tmp_path: Path, nodes: Any,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an address Ray joins the one that RAY_ADDRESS names, or the machine's latest."""
    import ray

    class JoinedError(Exception):
        """Seen enough."""

    def seen(*_: Any) -> None:
        joined.append(ray.get_runtime_context().gcs_address)
        raise JoinedError

    joined: list[str] = []
    monkeypatch.setenv("RAY_ADDRESS", nodes.address)
    monkeypatch.setattr(cluster, "_rows", seen)
    with pytest.raises(JoinedError):
        cluster.run(order(photos, tmp_path / "out"), fill(photos, 1), Report(tmp_path / "out"), cluster.LOCAL)
    assert joined and joined[0] != nodes.address
