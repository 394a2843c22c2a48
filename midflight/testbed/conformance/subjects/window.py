"""The conformance subject of `Window`: parameters to try, random requests, and its oracle's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from random import Random
from typing import Any

from midflight.primitives import Verdict, Window, int_
from midflight.primitives.oracles.window import Series
from midflight.testbed.conformance.network import MEMBERS, SERVER
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject, number

__all__ = ["SUBJECT"]

RESULT, LATE = 1, 2


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    """Yield items of a few series as time goes on, some late, some after a gap."""
    pane, panes, series = (parameters[each] for each in ("pane", "panes", "series"))
    time = random.choice((0, 2**31 - 3 * pane, 2**32 - 3 * pane))
    items = random.randint(10, 40)
    for sequence in range(items):
        far = random.choice((2**30, -(2**30), -panes * pane))
        last = sequence == items - 1
        if last:
            # Half a turn of the clock is the limit. Earlier in a trace, two such steps would make a whole turn, which a
            # series must not pass while it still holds panes of the turn before.
            far = random.choice((2**31 - 1, 2**31, 2**31 + pane))
        off = random.choices((0, -1, -pane, far), (40, 2, 2, 60 if last else 1))[0]
        yield Request(
            random.choice((*MEMBERS, SERVER)),
            sequence,
            {
                "series": random.choice((0, 0, 0, 0, 0, series - 1, series, 2**16 - 1)),
                "what": random.choice((0, 0, 0, 7)),
                "time": (time + off) % 2**32,
                "value": number(random, int_[32]),
                **{name: random.randint(0, 99) for name in ("end", "count", "total", "least", "most")},
            },
        )
        time += random.choice((0, 1, 1, pane // 2, pane - 1, pane, 2 * pane, random.randint(0, panes + 1) * pane))


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    series = [Series(parameters["pane"], parameters["panes"]) for _ in range(parameters["series"])]
    return [_answer(parameters["by"], series, dict(each.fields)) for each in requests]


def _answer(by: str, series: list[Series], fields: dict[str, Any]) -> Answer:
    if fields["series"] >= len(series):
        return Answer(Verdict.FORWARD, fields)
    mine = series[fields["series"]]
    try:
        result = mine.counted(fields["value"]) if by == "count" else mine.timed(fields["time"], fields["value"])
    except ValueError:
        return Answer(Verdict.FORWARD, {**fields, "what": LATE})
    return (
        Answer(Verdict.DROP) if result is None else Answer(Verdict.FORWARD, fields | {"what": RESULT} | asdict(result))
    )


SUBJECT = Subject(
    primitive=Window,
    parameters=(
        {"pane": 4, "by": "time", "series": 2},
        {"pane": 8, "panes": 4, "by": "time", "series": 2},
        {"pane": 4, "by": "count", "series": 2},
        {"pane": 2, "panes": 4, "by": "count", "series": 2},
        {"pane": 1, "panes": 2, "by": "time", "series": 2},
    ),
    requests=_requests,
    oracle=_oracle,
)
