"""Workers that are configured by tickets, on loopback, without a switch or server that computes for them."""

from __future__ import annotations

import json
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from midflight.errors import DeviceError, MidflightError
from midflight.runtime.endpoint.reliable import NoAnswerError, Timing
from midflight.runtime.endpoint.ticket import TicketWorker, worker_from_ticket
from midflight.runtime.endpoint.worker import Worker

QUICK = Timing(initial=5_000_000, minimum=5_000_000, maximum=20_000_000)


@pytest.fixture
def tickets() -> list[dict[str, Any]]:
    """Tickets in JSON form for two workers on two addresses of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.2", 0))
        port = probe.getsockname()[1]
    addresses = ["127.0.0.2", "127.0.0.3"]
    peers = tuple((each, port) for each in addresses)
    made = [
        Worker("h", port, 1, number, 2, lanes=4, slots=4, server=("127.0.0.4", port), peers=peers)
        for number in range(2)
    ]
    return [
        dict(json.loads(json.dumps({**asdict(each), "address": address})))
        for each, address in zip(made, addresses, strict=True)
    ]


def test_workers_sum_one_array_after_another(tickets: list[dict[str, Any]], tmp_path: Path) -> None:
    files = [tmp_path / f"{number}.json" for number in range(2)]
    for file, ticket in zip(files, tickets, strict=True):
        file.write_text(json.dumps(ticket))
    arrays = [np.arange(24, dtype=np.int32).reshape(4, 6), np.full((4, 6), 100, np.int32)]
    with ExitStack() as stack, ThreadPoolExecutor(2) as pool:
        workers = [stack.enter_context(TicketWorker.read(each, QUICK)) for each in files]
        for times in (1, 2):
            sums = [*pool.map(lambda worker, array: worker.sum(array), workers, [times * each for each in arrays])]
            assert all((each == times * (arrays[0] + arrays[1])).all() for each in sums)
        assert workers[0].statistics.rounds == 2
    with pytest.raises(MidflightError, match="has ended"):
        workers[0].sum(arrays[0])


def test_a_worker_reports_peers_that_never_answer(tickets: list[dict[str, Any]]) -> None:
    impatient = Timing(initial=1_000_000, minimum=1_000_000, maximum=2_000_000, patience=20_000_000)
    with TicketWorker(tickets[0], impatient) as worker:
        with pytest.raises(NoAnswerError):
            worker.sum(np.ones(4, np.int32))
        with pytest.raises(MidflightError, match="has ended"):
            worker.sum(np.ones(4, np.int32))


def test_an_invalid_ticket_is_rejected(tickets: list[dict[str, Any]], tmp_path: Path) -> None:
    with pytest.raises(MidflightError, match="is not a worker's ticket: KeyError"):
        worker_from_ticket({each: value for each, value in tickets[0].items() if each != "lanes"})
    with pytest.raises(MidflightError, match="is not a worker's ticket"):
        worker_from_ticket({**tickets[0], "peers": ["h1"]})
    for wrong in ({"worker": "one"}, {"lanes": 0}, {"operation": "avg"}, {"port": 70_000}, {"token": None}):
        with pytest.raises(MidflightError, match=f"is not a worker's ticket: .*{next(iter(wrong))}"):
            worker_from_ticket({**tickets[0], **wrong})
    with pytest.raises(DeviceError, match="cannot listen"):
        TicketWorker({**tickets[0], "address": "192.0.2.1"})
    file = tmp_path / "ticket.json"
    file.write_text("[]")
    with pytest.raises(MidflightError, match="holds no ticket"):
        TicketWorker.read(file)
