"""The conformance subject of `SafetyStop`: parameters to try, random requests, and its oracle's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from midflight.primitives import SafetyStop, Verdict, int_
from midflight.primitives.oracles.safetystop import Cell
from midflight.testbed.conformance.network import MEMBERS, SERVER
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject, number

__all__ = ["SUBJECT"]

READING, COMMAND, REARM = 0, 1, 2
REASONS = ("passed", "outside", "stale", "stopped")


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    """Yield readings, commands and orders as time goes on, some late, far off, unsafe, or for unknown cells."""
    cells, patience, low, high = (parameters[each] for each in ("cells", "patience", "low", "high"))
    time = random.choice((0, 0, 2**31 - 20, 2**32 - 20))
    edges = (low - 1, low, low + 1, high - 1, high, high + 1)
    for sequence in range(random.randint(10, 40)):
        off = random.choices((0, -patience, -patience - 1, 2**31 - 1, 2**31, 2**31 + 1, 2**30), (20, 1, 1, 1, 1, 1, 1))
        value = random.choice((random.randint(low, high), random.randint(low, high), *edges, number(random, int_[32])))
        fields = {
            "cell": random.choice((0, 0, 0, 0, cells - 1, cells, 2**16 - 1)),
            "role": random.choices((READING, COMMAND, REARM, 3), (5, 8, 3, 1))[0],
            "reason": random.choice((0, 0, 255)),
            "time": (time + off[0]) % 2**32,
            "value": max(int_[32].low, min(int_[32].high, value)),
        }
        yield Request(random.choice((*MEMBERS, SERVER)), sequence, fields)
        time += random.choice((0, 0, 1, 1, 2, patience - 1, patience, patience + 1))


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    limits = (parameters[each] for each in ("low", "high", "patience"))
    low, high, patience = limits
    cells = [Cell(low, high, patience) for _ in range(parameters["cells"])]
    return [_answer(parameters, cells, dict(each.fields)) for each in requests]


def _answer(parameters: Parameters, cells: list[Cell], fields: dict[str, Any]) -> Answer:
    if fields["cell"] >= len(cells) or fields["role"] > REARM:
        return Answer(Verdict.DROP)
    cell = cells[fields["cell"]]
    if fields["role"] == READING:
        cell.reading(fields["time"])
        return Answer(Verdict.FORWARD, fields)
    if fields["role"] == REARM:
        cell.rearm()
        return Answer(Verdict.FORWARD, fields)
    answer, stops = cell.command(fields["time"], fields["value"])
    reason = REASONS.index(answer)
    alerts = ((fields["cell"], reason, fields["time"], fields["value"]),) if stops else ()
    if answer == "passed":
        return Answer(Verdict.FORWARD, {**fields, "reason": reason}, alerts)
    if parameters["blocked"] == "drop":
        return Answer(Verdict.DROP, None, alerts)
    return Answer(Verdict.FORWARD, {**fields, "reason": reason, "value": parameters["safe"]}, alerts)


SUBJECT = Subject(
    primitive=SafetyStop,
    parameters=(
        {"low": -100, "high": 100, "patience": 5, "cells": 2},
        {"low": 10, "high": 12, "patience": 1, "safe": 11, "cells": 2},
        {"low": -100, "high": 100, "patience": 2**30, "blocked": "drop", "cells": 2},
    ),
    requests=_requests,
    oracle=_oracle,
    equivalent={"self.heard.update -> self.heard.update_fetch": "a command changes nothing there"},
)
