"""The conformance subject of `HeavyHitter`: parameters to try, random requests, and its oracle's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from midflight.primitives import HeavyHitter, Verdict
from midflight.primitives.oracles.heavyhitter import alerts
from midflight.testbed.conformance.network import MEMBERS, SERVER
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject

__all__ = ["SUBJECT"]


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    largest, above = 2 ** parameters["item_bits"] - 1, parameters["above"]
    items = [0, 0, 0, 1, largest, *(random.randint(0, largest) for _ in range(3))]
    amounts = (0, 1, above // 2, above // 2, above // 3, above - 1, above, 2**32 - above, 2**32 - 1)
    for sequence in range(random.randint(10, 40)):
        fields = {"item": random.choice(items), "amount": random.choice(amounts)}
        yield Request(random.choice((*MEMBERS, SERVER)), sequence, fields)


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    items, amounts = ([each.fields[name] for each in requests] for name in ("item", "amount"))
    return [
        Answer(Verdict.FORWARD, each.fields, () if heavy is None else ((each.fields["item"], heavy),))
        for each, heavy in zip(requests, alerts(items, amounts, **parameters), strict=True)
    ]


SUBJECT = Subject(
    primitive=HeavyHitter,
    parameters=(
        {"above": 100, "window": 7, "rows": 2, "columns": 8, "slots": 4, "item_bits": 32},
        {"above": 10, "window": 12, "rows": 3, "columns": 7, "slots": 3, "item_bits": 8},
        {"above": 2, "window": 1, "rows": 1, "columns": 5, "slots": 2, "item_bits": 64},
        {"above": 2**32 - 1, "window": 20, "rows": 1, "columns": 16, "slots": 3, "item_bits": 13},
    ),
    requests=_requests,
    oracle=_oracle,
    equivalent={
        "bits(old, 63, 32) + 1 -> bits(old, 63, 32) + 2": "a number of its own for each window all the same",
        "bits(old, 31, 0) -> bits(old, 30, 0)": "no window has 2**31 packets",
    },
)
