"""The conformance subject of `Skyline`: parameters to try, random requests, and its oracle's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from midflight.primitives import Skyline
from midflight.primitives.oracles.skyline import pruned
from midflight.testbed.conformance.network import MEMBERS, SERVER
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject
from midflight.testbed.conformance.subjects.pruning import again, pruned_or_forwarded

__all__ = ["SUBJECT"]


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    largest = 2 ** parameters["width"] - 1
    # Few distinct coordinates, so that many are equal; or points near a diagonal, so that few dominate others.
    few = random.sample(range(min(largest, 20)), 4)
    middle = random.randint(0, largest)
    for sequence in range(random.randint(10, 40)):
        values = [
            random.choice((*few, random.randint(0, largest), 0, largest)) for _ in range(parameters["dimensions"])
        ]
        if random.random() < 0.5:
            values[0] = random.choice((middle, random.randint(0, largest)))
            values[1:] = [max(0, min(largest, middle - values[0] + random.randint(-1, 2)))] * (len(values) - 1)
        if random.random() < 0.1:
            values = [0] * len(values)
        fields = {"flags": random.choice((0, 0, 0, 0, 4, 254, 1, 255)), "values": values}
        yield Request(random.choice((*MEMBERS, SERVER)), sequence, fields)


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    gone = pruned([each.fields["values"] for each in requests], again(requests), stored=parameters["points"])
    return pruned_or_forwarded(parameters, requests, gone)


SUBJECT = Subject(
    primitive=Skyline,
    parameters=(
        {"points": 3, "dimensions": 2, "width": 8},
        {"points": 2, "dimensions": 3, "width": 13, "pruned": "reply"},
        {"points": 1, "dimensions": 2, "width": 32},
        {"points": 2, "dimensions": 8, "width": 4},
    ),
    requests=_requests,
    oracle=_oracle,
)
