"""Aggregation of pairs by key over a network with loss, duplication and reordering: each pair counts once."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Literal

import pytest

from midflight.errors import MidflightError
from midflight.primitives import GroupBy, Program, Schema
from midflight.primitives.wire import UDP_PORT
from midflight.runtime.endpoint.grouping import GroupByServer, GroupByWorker
from midflight.testbed import Star
from tests.testbed.coordination import TIMING, address, admit, listen, run

WORKERS, SERVER = 3, 3
JOIN: dict[str, Callable[[list[int]], int]] = {"sum": sum, "count": len, "min": min, "max": max}


def draw(random: Random) -> tuple[int, int]:
    """Return a pair. Most keys occur repeatedly."""
    key = random.randrange(2**64) if random.random() < 0.1 else random.randrange(30)
    return key, random.randint(-(2**31), 2**31 - 1)


def holds_pairs(net: Star) -> bool:
    """Return whether the switch holds any pairs."""
    return any(any(row) for row in net.state("words").cell_keys.read())


@pytest.mark.parametrize("switch", [True, False], ids=["in the switch", "at the server alone"])
@pytest.mark.parametrize("operation", JOIN)
def test_the_totals_are_correct(operation: Literal["sum", "min", "max", "count"], switch: bool) -> None:
    random = Random(operation)
    groups = GroupBy("words", workers=WORKERS + 1, operation=operation, lanes=2, cells=8, window=4)
    program = Program(groups)
    schema = Schema(program.schema())
    pairs = [[draw(random) for _ in range(101)] for _ in range(WORKERS)]
    with Star(WORKERS + 1, program=program, seed=3, loss=0.1, duplicate=0.1, reorder=0.2) as net:
        if switch:
            admit(net, "words", range(WORKERS + 1), epoch=5)
        # The server listens on the port of requests, where results of its own requests arrive as well.
        server = GroupByServer(groups, schema, address(net, SERVER, UDP_PORT), WORKERS, timing=TIMING)
        there = listen(net, SERVER, server, UDP_PORT)
        workers = [
            GroupByWorker(groups, schema, address(net, SERVER, UDP_PORT), number, timing=TIMING)
            for number in range(WORKERS)
        ]
        for number, worker in enumerate(workers):
            worker.put(pairs[number][:50])
            worker.put(pairs[number][50:])
            listen(net, number, worker)
        run(net)
        assert all(worker.idle for worker in workers)
        assert holds_pairs(net) == switch
        server.flush()
        there.pump()
        run(net)
        assert server.idle
        assert not holds_pairs(net)
        assert {epoch for worker in workers for epoch in worker.epochs} == ({5} if switch else set())
    values: dict[int, list[int]] = {}
    for key, value in (each for row in pairs for each in row):
        values.setdefault(key, []).append(value)
    assert server.totals == {key: JOIN[operation](each) for key, each in values.items()}


def test_values_that_do_not_fit_are_rejected_and_malformed_messages_counted() -> None:
    groups = GroupBy("words", workers=2)
    schema = Schema(Program(groups).schema())
    with pytest.raises(MidflightError, match="no worker 2, only 0 to 1"):
        GroupByWorker(groups, schema, ("10.0.0.9", 1), 2)
    worker = GroupByWorker(groups, schema, ("10.0.0.9", 1), 1)
    for wrong in ((-1, 0), (2**64, 0), (0, 2**31)):
        with pytest.raises(MidflightError, match="does not fit"):
            worker.put([(1, 1), wrong])
    assert worker.poll(0) == []
    worker.receive(("10.0.0.9", 1), b"nonsense", 0)
    server = GroupByServer(groups, schema, ("10.0.0.9", 1), 0)
    server.receive(("10.0.0.1", 1), b"", 0)
    assert (worker.refused.malformed, server.refused.malformed) == (1, 1)
