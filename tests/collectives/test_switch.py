"""The processes around a switch for ranks, and what ranks know of each other."""

from __future__ import annotations

import logging
import os
import select
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from queue import SimpleQueue

import pytest

from midflight.collectives.local import card
from midflight.collectives.program import MOST_RANKS, OPERATIONS, program
from midflight.collectives.supervisor import SupervisedSwitch, main
from midflight.collectives.watch import Member, StoreWatch
from midflight.errors import MidflightError


class Store:
    """A store of one process."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self.broken = False

    def set(self, key: str, value: str) -> None:
        self._check()
        self.values[key] = value.encode()

    def get(self, key: str) -> bytes:
        self._check()
        return self.values[key]

    def check(self, keys: list[str]) -> bool:
        self._check()
        return all(each in self.values for each in keys)

    def _check(self) -> None:
        if self.broken:
            raise ConnectionError("gone")


def ended(pid: int) -> bool:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    found = bool(poll.poll(60_000))
    os.close(descriptor)
    return found


class Said(logging.Handler):
    """What the log says, as it comes."""

    def __init__(self) -> None:
        super().__init__()
        self._messages: SimpleQueue[str] = SimpleQueue()

    def emit(self, record: logging.LogRecord) -> None:
        self._messages.put(record.getMessage())

    def next(self) -> str:
        return self._messages.get(timeout=300)


def test_a_switch_is_started_again_when_it_ends_and_ends_with_its_owner() -> None:
    said = Said()
    logging.getLogger("midflight").addHandler(said)
    cards = [card(rank) for rank in range(2)]
    with SupervisedSwitch([each.bound for each in cards]) as switch:
        started = switch.started
        assert {name: len(each) for name, each in started.workers.items()} == dict.fromkeys(OPERATIONS, 2)
        assert len({*started.addresses, *(each.bound for each in cards)}) == 4
        os.kill(started.pid, signal.SIGKILL)
        assert said.next() == "the switch has ended and is started again"
        news = said.next()
        assert news.startswith("the switch runs again after ")
        again = int(news.rpartition(" ")[2])
        assert again != started.pid
        os.kill(started.supervisor, signal.SIGKILL)
        assert said.next() == "the supervisor of the switch has ended with signal SIGKILL"
    assert ended(again)
    logging.getLogger("midflight").removeHandler(said)
    for each in cards:
        each.close()


def test_a_group_that_is_too_large_gets_the_reason() -> None:
    reason = f"a switch serves groups of 2 to {MOST_RANKS} ranks, not 65"
    with pytest.raises(MidflightError, match=reason):
        program(MOST_RANKS + 1)
    with pytest.raises(MidflightError, match=reason):
        SupervisedSwitch([("127.0.0.1", 1 + each) for each in range(65)])


def test_the_process_of_the_switch_explains_its_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--control"]) == 2
    assert "usage" in capsys.readouterr().err


def test_ranks_that_end_or_do_not_come_are_named() -> None:
    store, here = Store(), Member.here()
    assert Member.read(here.text().encode()) == here
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        members = [here, replace(here, pid=process.pid), replace(here, host="elsewhere", machine="another", pid=7)]
        watches = [StoreWatch(members, rank, store) for rank in range(3)]
        watches[0].begin(3)
        watches[1].begin(2)
        assert [each.gone() for each in watches] == ["", "", ""]
        late = f"rank 1 (process {process.pid} on {here.host}) and rank 2 (process 7 on elsewhere) have not begun it"
        assert watches[0].late(3) == late
        watches[2].begin(4)
        assert watches[2].late(1) == ""
        assert watches[0].late(3) == f"rank 1 (process {process.pid} on {here.host}) has not begun it"
        process.kill()
        process.wait()
    assert watches[0].gone() == f"rank 1 (process {process.pid} on {here.host}) has ended"
    assert "has ended" in StoreWatch(members, 0, store).gone()  # also for one that ended before
    watch = StoreWatch(members[:1], 0, store, process.pid)
    assert watch.gone() == f"the supervisor of the switch (process {process.pid}) has ended"
    store.broken = True
    assert "the group's store does not answer (gone)" in watches[0].late(3)
    assert "has ended" in watches[0].gone()
    for each in watches:
        each.close()


def test_a_store_that_does_not_answer_does_not_stop_a_rank() -> None:
    answer = threading.Event()

    class Silent(Store):
        def set(self, key: str, value: str) -> None:
            assert answer.wait(60)
            super().set(key, value)

    here, store = Member.here(), Silent()
    watch = StoreWatch([here, here], 0, store)
    watch.begin(1)
    assert watch.gone() == watch.gone() == ""
    assert not store.values
    answer.set()
    watch.close()
