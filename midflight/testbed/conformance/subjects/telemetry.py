"""Telemetry as a subject, without what only a switch measures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from midflight.primitives import Telemetry, Verdict, bit
from midflight.primitives.oracles.telemetry import passed
from midflight.testbed.conformance.case import Write
from midflight.testbed.conformance.network import MEMBERS, SERVER
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject, number

__all__ = ["SUBJECT"]

MEASURED = {"inlet": 16, "outlet": 16, "depth": 32, "delay": 32, "arrival": 48, "departure": 48}


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    """Yield packets after any number of hops, while the switch's number changes."""
    hops = parameters["hops"]
    for sequence in range(random.randint(10, 40)):
        writes = []
        if sequence == 0 or random.random() < 0.1:
            writes.append(Write("identity", 0, random.choice((None, 1, 2**32 - 1, random.randrange(2**32)))))
        fields: dict[str, object] = {
            "count": random.choice((0, 0, 1, hops - 1, hops, hops + 1, 254, 255)),
            "switch": [number(random, bit[32]) for _ in range(hops)],
        }
        fields |= {name: [number(random, bit[width]) for _ in range(hops)] for name, width in MEASURED.items()}
        yield Request(random.choice((*MEMBERS, SERVER)), sequence, fields, tuple(writes))


def _oracle(_: Parameters, requests: Sequence[Request]) -> list[Answer]:
    answers, own = [], 0
    for each in requests:
        for write in each.writes:
            own = write.value or 0
        count, switches = passed(each.fields["count"], each.fields["switch"], own)
        answers.append(Answer(Verdict.FORWARD, {**each.fields, "count": count, "switch": switches}))
    return answers


SUBJECT = Subject(
    primitive=Telemetry,
    parameters=({"hops": 1, "metadata": False}, {"hops": 3, "metadata": False}),
    requests=_requests,
    oracle=_oracle,
)
