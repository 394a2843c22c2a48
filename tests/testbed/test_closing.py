"""Networks and devices that a program leaves open are closed by garbage collection, and at any end of the program."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from midflight.closing import Closer
from midflight.testbed.fabric.janitor import NETNS
from midflight.workers import Workers
from tests.bmv2 import BMV2, ROOT

TIMEOUT = 120.0  # seconds; long enough for a busy machine, as only a program that hangs takes longer

BEGIN = """
import gc, os, signal, sys, threading
import numpy as np
from midflight.primitives import Aggregate, Filter, Program
from midflight.runtime.devices import open_device
from midflight.testbed import Star

signal.signal(signal.SIGINT, signal.default_int_handler)  # which background jobs begin without
program = Program(Filter("f", keep="a > 3"), Aggregate("g", workers=2))


def use(net):
    net.send("h1", "f", a=5)
    assert len(net.received("h2")) == 1


def closed():
    "Wait for what is closed as garbage."
    gc.collect()
    for each in threading.enumerate():
        if each.name == "closing":
            each.join()
    return not any(each.name.startswith("p4runtime") for each in threading.enumerate())
"""

NETWORK = "net = Star(hosts=3, program=program)\nuse(net)\n"
NAMESPACES = 'net = Star(hosts=3, program=program, fabric="netns")\nuse(net)\nprint(net.fabric.run.id)\n'
SESSION = 'device = open_device("host")\nsession = device.session()\n'


@pytest.fixture
def folder() -> Iterator[Path]:
    """Return an empty folder with a short name, for sockets."""
    with tempfile.TemporaryDirectory(prefix="mf-") as name:
        yield Path(name)


def run(folder: Path, script: str) -> subprocess.CompletedProcess[str]:
    """Run a program whose temporary files go to a folder, and check that none of its processes remains."""
    command = [sys.executable, "-X", "dev", "-c", BEGIN + script]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT, env={**os.environ, "TMPDIR": str(folder)}
    )
    assert list(folder.iterdir()) == []
    mark = f"TMPDIR={folder}".encode()
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                assert mark not in (process / "environ").read_bytes(), (process / "cmdline").read_bytes()
            except OSError:
                continue  # it has ended, or belongs to another user
    for word in done.stdout.split():
        assert not list(NETNS.glob(f"mf-{word}-*")), "a namespace is left"
    assert "it is pending" not in done.stderr, "a task was destroyed"
    assert "ResourceWarning" not in done.stderr
    return done


@pytest.mark.parametrize(
    ("end", "status", "error"),
    [
        ("", 0, ""),
        ("1 / 0", 1, "ZeroDivisionError: division by zero"),
        ("sys.exit(3)", 3, ""),
        ("os.kill(os.getpid(), signal.SIGINT)\nthreading.Event().wait()", -2, "KeyboardInterrupt"),
        ("sys.exit('nothing to do')", 1, "nothing to do"),
        ("def fail():\n    raise SystemExit(4)\nfail()", 4, ""),
    ],
)
def test_a_program_that_does_not_close_its_network_ends(folder: Path, end: str, status: int, error: str) -> None:
    done = run(folder, NETWORK + end)
    assert (done.returncode, done.stderr.splitlines()[-1:]) == (status, [error] if error else []), done.stderr


@pytest.mark.parametrize(
    ("opened", "end", "status"),
    [
        pytest.param(
            NAMESPACES, "os.kill(os.getpid(), signal.SIGINT)\nthreading.Event().wait()", -2, marks=ROOT, id="Ctrl-C"
        ),
        pytest.param(
            NAMESPACES + 'net.group("g", net.hosts[:2]).allreduce([np.ones(9), np.ones(9)])\n',
            "sys.exit(3)",
            3,
            marks=ROOT,
            id="namespaces, workers",
        ),
        pytest.param(
            NETWORK.replace("program=program", 'program=program, device="bmv2"'),
            "",
            0,
            marks=BMV2,
            id="bmv2",
        ),
        pytest.param(SESSION, "1 / 0", 1, id="device and session"),
        pytest.param(SESSION + "device.close()\n", "sys.exit(3)", 3, id="session with a device that is gone"),
        pytest.param('device = open_device("bmv2")\n', "1 / 0", 1, marks=BMV2, id="bmv2 alone"),
        pytest.param("nets = [Star(hosts=2, program=program) for _ in range(3)]\n", "", 0, id="several"),
        pytest.param(NETWORK + "loop = [net]\nloop.append(loop)\n", "del net, loop", 0, id="a cycle"),
    ],
)
def test_a_program_ends_with_every_kind_of_open_object(folder: Path, opened: str, end: str, status: int) -> None:
    done = run(folder, opened + end)
    assert done.returncode == status, done.stderr


@pytest.mark.parametrize("fabric", ["sim", pytest.param("netns", marks=ROOT)])
def test_a_thread_may_open_and_use_a_network_after_the_main_one_has_ended(folder: Path, fabric: str) -> None:
    script = f"""
def work():
    threading.main_thread().join()
    net = Star(hosts=3, program=program, fabric={fabric!r})
    use(net)
    print("used")

threading.Thread(target=work).start()
"""
    done = run(folder, script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "used\n", "")


def test_an_ending_fork_does_not_affect_its_parents_network() -> None:
    script = """
if (child := os.fork()) == 0:
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
net.send("h1", "f", a=5)
assert len(net.received("h2")) == 2
"""
    command = [sys.executable, "-c", BEGIN + NETWORK + script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT)
    assert done.returncode == 0, done.stderr  # gRPC may have its say about forks on standard error


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(f"{NETWORK}net = None\nassert closed()\n", id="a name is used again"),
        pytest.param(
            f"def cell():\n    {NETWORK.replace(chr(10), chr(10) + '    ')}\ncell()\nassert closed()\n", id="a cell"
        ),
        pytest.param(f"{SESSION}del session\nassert not closed()\ndel device\nassert closed()\n", id="a session"),
        pytest.param(f"{NETWORK}net.self = net\ndel net\nassert closed()\n", id="a cycle"),
        pytest.param(
            f'{NETWORK}group = net.group("g", net.hosts[:2])\ndel net\nassert not closed()\n'
            "group.allreduce([np.ones(9), np.ones(9)])\ndel group\nassert closed()\n",
            id="a group is still used",
        ),
        pytest.param(
            f'{NAMESPACES}run = net.fabric.run\nnet.group("g", net.hosts[:2]).allreduce([np.ones(9), np.ones(9)])\n'
            "del net\nassert closed()\nassert run.janitor == 0\n",
            id="namespaces",
            marks=ROOT,
        ),
    ],
)
def test_garbage_is_closed_while_the_program_runs(folder: Path, script: str) -> None:
    done = run(folder, script)
    assert (done.returncode, done.stderr) == (0, "")


class Owner:
    pass


def test_a_closer_closes_once() -> None:
    calls: list[str] = []
    owner = Owner()
    closer = Closer(owner, lambda: calls.append("closed"))
    closer()
    closer()
    del owner
    assert calls == ["closed"]


def test_garbage_is_closed_in_a_separate_thread() -> None:
    lock, done = threading.Lock(), threading.Event()

    def close() -> None:
        with lock:
            done.set()

    owner = Owner()
    Closer(owner, close)
    with lock:
        del owner  # as where garbage is collected while a thread holds a lock
        assert not done.is_set()
    assert done.wait(TIMEOUT)


def test_workers_run_a_limited_number_of_functions_at_once() -> None:
    workers, gate, lock, running, peak = Workers(2, "test"), threading.Barrier(2), threading.Lock(), 0, 0

    def work(number: int) -> int:
        nonlocal running, peak
        with lock:
            running += 1
            peak = max(peak, running)
        gate.wait(TIMEOUT)  # so that two run at once, and no third one meanwhile
        with lock:
            running -= 1
        return number

    results = [workers.submit(work, number) for number in range(8)]
    failing = workers.submit(lambda: 1 // 0)
    workers.close()
    assert [each.result() for each in results] == list(range(8))
    assert isinstance(failing.exception(), ZeroDivisionError)
    assert peak == 2
    with pytest.raises(RuntimeError, match="closed"):
        workers.submit(work, 8)


def test_workers_skip_cancelled_functions() -> None:
    workers, gate, done = Workers(1, "test"), threading.Event(), list[int]()
    first = workers.submit(gate.wait, TIMEOUT)
    unwanted, wanted = workers.submit(done.append, 1), workers.submit(done.append, 2)
    assert unwanted.cancel()
    gate.set()
    workers.close()
    assert first.result()
    assert wanted.done()
    assert done == [2]
