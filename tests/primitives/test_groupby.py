"""GroupBy: invalid parameters, and correct totals of the server under network faults."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

import pytest

from midflight.errors import KernelError
from midflight.primitives import REQUEST, GroupBy, Message, Verdict

LANES, WINDOW = 2, 4
Pair = tuple[int, int]
OPERATIONS: tuple[Literal["sum", "min", "max", "count"], ...] = ("sum", "min", "max", "count")


@pytest.mark.parametrize(
    ("wrong", "reported"),
    [
        ({"workers": 257}, "workers must be 1 to 256, not 257"),
        ({"operation": "mean"}, "operation must be sum, min, max or count, not 'mean'"),
        ({"lanes": 17}, "lanes must be 1 to 16, not 17"),
        ({"cells": 0}, "cells must be 1 to 1048576, not 0"),
        ({"window": 12}, "window must be a power of two, not 12"),
    ],
)
def test_parameters_out_of_range_are_rejected(wrong: dict[str, Any], reported: str) -> None:
    with pytest.raises(KernelError, match=reported):
        GroupBy("words", **{"workers": 2} | wrong)


@dataclass
class Host:
    """Sends its packets in order with a window, and retransmits each until it is answered."""

    number: int
    packets: list[dict[str, Any]]
    answered: set[int] = field(default_factory=set)

    def due(self) -> list[Message]:
        """Return all packets in the window."""
        open_ = [number for number in range(1, len(self.packets) + 1) if number not in self.answered]
        return [
            Message(REQUEST, "words", number, self.packets[number - 1])
            for number in open_
            if number <= WINDOW or all(each in self.answered for each in range(1, number - WINDOW + 1))
        ]


@dataclass
class Server:
    """Counts the pairs of each packet once."""

    operation: str
    totals: dict[int, int] = field(default_factory=dict)
    taken: set[tuple[int, int]] = field(default_factory=set)

    def take(self, message: Message) -> None:
        """Process a packet."""
        fields: Any = message.fields
        if (fields["worker"], message.sequence) in self.taken:
            return
        self.taken.add((fields["worker"], message.sequence))
        for lane in range(LANES):
            if fields["present"] >> lane & 1:
                key, value = int(fields["keys"][lane]), int(fields["values"][lane])
                self.totals[key] = joined(self.operation, self.totals.get(key), value)


def joined(operation: str, old: int | None, value: int) -> int:
    if old is None:
        return value
    match operation:
        case "min":
            return min(old, value)
        case "max":
            return max(old, value)
        case _:
            return old + value


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("seed", range(5))
def test_the_servers_totals_are_correct_under_network_faults(
    operation: Literal["sum", "min", "max", "count"], seed: int
) -> None:
    random = Random(seed)
    cells = random.choice((1, 5, 16))
    switch = GroupBy("words", workers=3, operation=operation, lanes=LANES, cells=cells, window=WINDOW).reference()
    server, truth = Server(operation), dict[int, int]()
    workers = [Host(number, [put(random, number) for _ in range(40)]) for number in range(2)]
    for packet in (each for worker in workers for each in worker.packets):
        for lane in range(LANES):
            if packet["present"] >> lane & 1:
                key, value = packet["keys"][lane], packet["values"][lane]
                truth[key] = joined(operation, truth.get(key), 1 if operation == "count" else value)

    def exchange(hosts: list[Host], flushing: bool) -> None:
        way: deque[Message] = deque()
        while any(len(each.answered) < len(each.packets) for each in hosts):
            way.extend(each for host in hosts for each in host.due())
            random.shuffle(way)
            for _ in range(len(way) - random.randint(0, 5)):  # some remain in flight
                message = way.popleft()
                for _ in range(random.choice((0, 1, 1, 2))):  # to the switch
                    outcome = switch.process(message)
                    if outcome.verdict == Verdict.FORWARD and random.random() < 0.7:  # to the server
                        server.take(outcome.message)
                    elif outcome.verdict != Verdict.REPLY:
                        continue
                    if random.random() < 0.7:  # the answer
                        if flushing:
                            server.take(outcome.message)
                        host = next(each for each in hosts if each.number == message.fields["worker"])
                        host.answered.add(message.sequence)

    exchange(workers, flushing=False)
    exchange([Host(2, [flush(cell) for cell in range(cells)])], flushing=True)
    assert server.totals == truth
    assert all(value == 0 for lane in range(LANES) for value in switch.registers["cell_keys"][lane].written.values())


def put(random: Random, worker: int) -> dict[str, Any]:
    header = {"command": GroupBy.PUT, "worker": worker, "job": 1, "epoch": 0, "cell": 0}
    pairs = {"keys": [random.randrange(20) for _ in range(LANES)]}
    pairs["values"] = [random.choice((1, 7, -3, 2**31 - 1, -(2**31))) for _ in range(LANES)]
    return {**header, "present": random.getrandbits(LANES), **pairs}


def flush(cell: int) -> dict[str, Any]:
    header = {"command": GroupBy.FLUSH, "worker": 2, "job": 1, "epoch": 0, "cell": cell, "present": 0}
    return {**header, "keys": [0] * LANES, "values": [0] * LANES}
