"""The conformance subject of `GroupBy`: parameters to try, random requests, and its oracle's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from midflight.primitives import GroupBy, Verdict, int_
from midflight.primitives.oracles.groupby import Pair, Switch
from midflight.testbed.conformance.network import EPOCH, MEMBERS
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject, number

__all__ = ["SUBJECT"]


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    """Yield packets of a few workers with few keys: lost, duplicated, late, of another job, and invalid ones."""
    workers, lanes, cells, window = (parameters[each] for each in ("workers", "lanes", "cells", "window"))
    start = random.choice((1, 2**31 - 3, 2**32 - 3))
    job = random.choice((0, 1, 2**15 - 1, 2**16 - 1))
    keys = [0, 2**64 - 1, *(random.getrandbits(64) for _ in range(3))]
    placed: list[tuple[int, Request]] = []
    for place in range(random.randint(10, 22)):
        worker = random.randrange(workers)
        fields = {
            "command": random.choices((GroupBy.PUT, GroupBy.FLUSH, 2), (16, 4, 1))[0],
            "worker": random.choices((worker, workers, 255), (30, 1, 1))[0],
            "job": (job + (place > 12)) % 2**16,
            "epoch": 0,
            "present": random.choice((2**lanes - 1, random.getrandbits(16))),
            "cell": random.choices((random.randrange(cells), cells), (20, 1))[0],
            "keys": [random.choice(keys) for _ in range(lanes)],
            "values": [number(random, int_[32]) for _ in range(lanes)],
        }
        sequence = (start + place // workers) % 2**32
        for _ in range(random.choice((0, 1, 1, 1, 1, 2, 3))):
            late = random.choice((0, 0, 0, random.randint(0, 3), random.randint(0, 4 * window)))
            placed.append((place + late, Request(MEMBERS[worker % len(MEMBERS)], sequence, fields)))
    for _, request in sorted(placed, key=lambda each: each[0]):
        yield request
        if random.random() < 0.1:
            yield _stray(random, window, request)


def _stray(random: Random, window: int, before: Request) -> Request:
    """Return what no host sends after a packet: the same from far ahead or behind, or without a number."""
    half = 2**47
    far = random.choice((half - window, half, half + window, 2**46, 2**32, -window, window))
    chunk = (before.fields["job"] << 32 | before.sequence) + far
    fields = {**before.fields, "job": chunk >> 32 & 0xFFFF}
    return Request(before.host, random.choice((0, *[chunk % 2**32] * 5)), fields)


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    switch = Switch(parameters["operation"], parameters["cells"], parameters["window"])
    return [_answer(parameters, switch, each.sequence, dict(each.fields)) for each in requests]


def _answer(parameters: Parameters, switch: Switch, sequence: int, fields: dict[str, Any]) -> Answer:
    known = fields["worker"] < parameters["workers"] and fields["cell"] < parameters["cells"]
    if not known or sequence == 0 or fields["command"] not in (GroupBy.PUT, GroupBy.FLUSH):
        return Answer(Verdict.DROP)
    lanes = range(parameters["lanes"])
    packet = (fields["worker"], fields["job"] << 32 | sequence)
    flush = fields["command"] == GroupBy.FLUSH
    if flush:
        left = switch.flush(*packet, fields["cell"], len(lanes))
    else:
        pairs: list[Pair | None] = [
            (fields["keys"][lane], fields["values"][lane]) if fields["present"] >> lane & 1 else None for lane in lanes
        ]
        left = switch.put(*packet, pairs)
    if left is None:
        return Answer(Verdict.DROP)
    fields |= {
        "epoch": EPOCH,
        "present": sum(1 << lane for lane, pair in enumerate(left) if pair is not None),
        "keys": [0 if pair is None else pair[0] for pair in left],
        "values": [0 if pair is None else pair[1] for pair in left],
    }
    return Answer(Verdict.FORWARD if fields["present"] and not flush else Verdict.REPLY, fields)


SUBJECT = Subject(
    primitive=GroupBy,
    parameters=(
        {"workers": 2, "cells": 3, "lanes": 2, "window": 2},
        *({"workers": 2, "operation": each, "cells": 2, "window": 4} for each in ("min", "max", "count")),
        {"workers": 1, "cells": 1, "window": 1},
    ),
    requests=_requests,
    oracle=_oracle,
)
