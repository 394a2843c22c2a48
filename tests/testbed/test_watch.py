"""A process that ends by itself is noticed by everybody who waits, and is forgiven while somebody sees to it."""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from midflight.errors import DeviceError
from midflight.primitives import Aggregate, Program
from midflight.runtime.devices.process import Process
from midflight.runtime.devices.switchprocess import SwitchProcess
from midflight.runtime.endpoint.udp import drive
from midflight.testbed import Star
from midflight.testbed.fabric.watch import Watch
from tests.bmv2 import BMV2

LONG = 60.0


class Sleeper:
    """A process that does nothing."""

    def __init__(self, log: Path) -> None:
        self.process = Process(["/bin/sleep", "1000"], log)
        self.pid = self.process.pid

    def lost(self) -> DeviceError:
        assert self.process.wait(LONG)
        return DeviceError(f"the sleeper ended with {self.process.status}")

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        assert self.process.wait(LONG)


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Sleeper]:
    made = Sleeper(tmp_path / "log")
    yield made
    made.process.stop()


def test_whoever_waits_is_told(sleeper: Sleeper) -> None:
    watch, told = Watch(grace=0.0), list[str]()
    watch.add("s1", sleeper)
    assert watch.left() is None
    watch.check()

    def wait() -> None:
        with pytest.raises(DeviceError, match="the sleeper ended with signal SIGKILL") as death:
            drive([watch], lambda: False, timeout=LONG)
        told.append(death.value.message)

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for each in threads:
        each.start()
    sleeper.kill()
    for each in threads:
        each.join(LONG)
    assert len(told) == 3
    with pytest.raises(DeviceError):
        watch.check()
    watch.remove("s1")
    watch.check()
    watch.close()
    watch.close()


def test_nobody_is_told_while_there_is_grace(sleeper: Sleeper) -> None:
    watch = Watch(grace=LONG)
    watch.add("s1", sleeper)
    sleeper.kill()
    turns = 0

    def turn() -> bool:
        nonlocal turns
        turns += 1
        return False

    assert not drive([watch], turn, timeout=0.2)
    assert turns < 10, "it is polled again and again"
    assert 0 < (watch.left() or 0) <= LONG
    watch.remove("s1")  # somebody restarts it
    assert watch.left() is None
    watch.close()


def test_one_that_has_ended_before_it_is_watched_is_noticed_too(sleeper: Sleeper) -> None:
    sleeper.kill()
    watch = Watch(grace=0.0)
    watch.add("s1", sleeper)
    with pytest.raises(DeviceError, match="the sleeper"):
        watch.check()
    watch.close()


def test_its_file_is_readable_once_one_has_ended(sleeper: Sleeper) -> None:
    watch = Watch()
    watch.add("s1", sleeper)
    assert not select.select([watch], [], [], 0)[0]
    sleeper.kill()
    assert select.select([watch], [], [], LONG)[0]
    watch.close()


@pytest.mark.parametrize("kind", [pytest.param("bmv2", marks=BMV2)])
def test_a_simulated_networks_switch_that_is_a_process_dies_and_is_revived(kind: str) -> None:
    with Star(3, program=Program(Aggregate("sums", workers=2, lanes=8, slots=8)), device=kind) as net:
        group = net.group("sums", net.hosts[:2])
        assert isinstance(net.device, SwitchProcess)
        os.kill(net.device.pid, signal.SIGKILL)
        with pytest.raises(DeviceError, match="switch s1: simple_switch_grpc ended with signal SIGKILL"):
            group.allreduce([np.ones(8)] * 2)
        with pytest.raises(DeviceError, match="switch s1: simple_switch_grpc ended with signal SIGKILL"):
            net.state("sums").total.read()
        with pytest.raises(DeviceError, match="switch s1: simple_switch_grpc ended with signal SIGKILL"):
            net.run(lambda: False)
        net.revive("s1")
        assert list(group.allreduce([np.ones(8)] * 2)[0]) == [2.0] * 8
