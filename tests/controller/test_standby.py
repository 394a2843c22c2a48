"""A standby that takes over from a controller that hangs: one that is stopped, but alive."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from midflight.errors import MidflightError
from midflight.runtime.controller.folder import StateFolder
from midflight.runtime.controller.holder import Holder
from midflight.runtime.controller.service.client import CommandClient
from midflight.runtime.controller.standby import Standby
from midflight.runtime.controller.store import Store
from tests.cli.run import process
from tests.controller.lab import Lab
from tests.controller.processes import processes

HOLDER = """
import os, signal, sys
from pathlib import Path
from midflight.runtime.controller.folder import StateFolder
from midflight.runtime.controller.store import Store
folder = StateFolder(Path(sys.argv[1]))
assert folder.hold()
store = Store(folder.path)
store.save({"epoch": 7})
with store._transaction():
    store._file.execute("UPDATE desired SET document = ?", ['{"epoch": 8}'])
    print("held", flush=True)
    os.kill(os.getpid(), signal.SIGSTOP)
"""


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@contextmanager
def holder(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Run a process that holds a folder and stops in the middle of a transaction."""
    command = [sys.executable, "-c", HOLDER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        try:
            yield process
        finally:
            process.kill()


def test_a_stopped_holder_is_killed_and_its_transaction_rolled_back(tmp_path: Path) -> None:
    path, clock = tmp_path / "state", Clock()
    with holder(path) as held, StateFolder(path) as folder:
        standby = Standby(folder, patience=3.0, now=clock)
        for clock.now in (0.4, 0.9, 1.4, 1.9, 2.4, 2.9):
            assert standby.attempt() == ""
        clock.now = 100.0  # this process was stopped itself, so that counts as half a second
        assert standby.attempt() == ""
        held.wait()
        assert held.returncode == -signal.SIGKILL
        assert standby.attempt() == f"process {held.pid} did not respond for 3 s and was killed"
        with Store(path) as store:
            assert store.desired == {"epoch": 7}
            store.save({"epoch": 9})


def test_a_holder_that_sends_heartbeats_is_left_alone(tmp_path: Path) -> None:
    path, clock = tmp_path / "state", Clock()
    with holder(path) as held, StateFolder(path) as folder:
        standby = Standby(folder, patience=1.0, now=clock)
        for step in range(10):
            clock.now += 0.4
            assert standby.attempt() == ""
            os.utime(path / "lock", ns=(step, step))
        assert held.poll() is None
        assert standby.problem == ""


def test_a_holder_that_cannot_be_identified_is_reported(tmp_path: Path) -> None:
    path, clock = tmp_path / "state", Clock()
    with holder(path) as held, StateFolder(path) as folder:
        for written in (f"{held.pid} 1 pid:[1]", f"{held.pid}", "", f"{os.getpid()} 1"):
            (path / "lock").write_text(written)
            standby = Standby(folder, patience=1.0, now=clock)
            for _ in range(3):
                clock.now += 0.5
                assert standby.attempt() == ""
            assert "does not respond and cannot be killed from here" in standby.problem
        assert held.poll() is None


def test_a_process_that_holds_a_folder_sends_heartbeats(tmp_path: Path) -> None:
    path = tmp_path / "state"
    with StateFolder(path) as folder, StateFolder(path) as other:
        assert folder.hold()
        assert not other.hold()
        assert other.holder == Holder.of_this_process()
        for _ in range(2):
            os.utime(path / "lock", ns=(0, 0))
            beaten = threading.Event()
            while other.beat == 0:
                beaten.wait(0.01)
        assert not other.holder.kill(), "a process does not kill itself"


def test_no_write_of_a_stopped_controller_is_taken_after_a_takeover(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    with closing(Lab(tmp_path)) as lab, processes(lab) as deploy:
        state = ("--state", str(lab.folder / "state"))
        first = deploy(str(lab.file))
        first.until("ready")
        assert process("admit", "hot", "--switch", "s2", *state).returncode == 0
        standby = deploy("--standby")
        standby.until("standby")
        first.process.send_signal(signal.SIGSTOP)
        with (
            CommandClient(lab.folder / "state") as client,
            pytest.raises(MidflightError, match="ended before it answered"),
        ):
            client.call("admit", application="store", switch="s1")  # which the stopped process never reads
        took = standby.until("took-over")
        assert f"process {first.process.pid} did not respond for 5 s and was killed" in took
        assert first.process.wait(20) == -signal.SIGKILL
        standby.until("ready")
        assert sum("switch-adopted" in line for line in standby.read) == 2
        for name, admitted in (("s1", 0), ("s2", 1)):
            with lab.devices[name].session() as session:
                assert len(session.read_table("ingress.admission")) == admitted
        assert process("withdraw", "hot", *state).returncode == 0
        with lab.devices["s2"].session() as session:
            assert session.read_table("ingress.admission") == []
        standby.end(signal.SIGINT)
