"""The conformance subject of `Sample`: parameters to try, random requests, and its oracle's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from midflight.primitives import Sample, Verdict
from midflight.primitives.oracles.sample import chosen
from midflight.testbed.conformance.network import MEMBERS, SERVER
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject

__all__ = ["SUBJECT"]


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    largest = 2 ** parameters["item_bits"] - 1
    items = [0, 1, largest, *(random.randint(0, largest) for _ in range(12))]
    for _ in range(random.randint(10, 40)):
        sequence = random.choice((0, 1, 2**32 - 1, random.randint(0, 2**32 - 1)))
        yield Request(random.choice((*MEMBERS, SERVER)), sequence, {"item": random.choice(items)})


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    how = {name: parameters[name] for name in ("one_in", "by", "item_bits")}
    samples = chosen([(each.fields["item"], each.sequence) for each in requests], **how)
    alone = parameters["others"] == "drop"
    found = []
    for each, sample in zip(requests, samples, strict=True):
        answer = ((each.fields["item"], each.sequence),) if sample and not alone else ()
        found.append(Answer(Verdict.DROP) if alone and not sample else Answer(Verdict.FORWARD, each.fields, answer))
    return found


SUBJECT = Subject(
    primitive=Sample,
    parameters=(
        {"one_in": 4, "by": "count", "item_bits": 32},
        {"one_in": 1, "by": "count", "others": "drop", "item_bits": 8},
        {"one_in": 4, "by": "packet", "item_bits": 13},
        {"one_in": 3, "by": "packet", "others": "drop", "item_bits": 64},
        {"one_in": 5, "by": "flow", "item_bits": 32},
        {"one_in": 2, "by": "flow", "others": "drop", "item_bits": 128},
    ),
    requests=_requests,
    oracle=_oracle,
)
