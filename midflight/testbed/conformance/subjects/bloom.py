"""The conformance subject of `Bloom`: parameters to try, random requests, and its oracle's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from midflight.primitives import Bloom, Verdict
from midflight.primitives.oracles.bloom import answers
from midflight.testbed.conformance.network import MEMBERS, SERVER
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject

__all__ = ["SUBJECT"]


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    largest = 2 ** parameters["item_bits"] - 1
    keys = [0, 1, largest, *(random.randint(0, largest) for _ in range(6))]
    for sequence in range(random.randint(10, 40)):
        operation = random.choice((0, 0, 0, 1, 1, 1, 1, 2, 255))
        fields = {"operation": operation, "flags": random.choice((0, 255)), "item": random.choice(keys)}
        yield Request(random.choice((*MEMBERS, SERVER)), sequence, fields)


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    given = answers([(each.fields["operation"], each.fields["item"]) for each in requests], **parameters)
    return [
        Answer(Verdict.DROP) if each is None
        else Answer(Verdict.REPLY, {**request.fields, "flags": each[0] + 2 * each[1]})
        for request, each in zip(requests, given, strict=True)
    ]  # fmt: skip


SUBJECT = Subject(
    primitive=Bloom,
    parameters=(
        {"rows": 2, "columns": 16, "capacity": 3, "item_bits": 32},
        {"rows": 3, "columns": 10, "capacity": 2, "item_bits": 13},
        {"rows": 1, "columns": 5, "capacity": 1, "item_bits": 128},
    ),
    requests=_requests,
    oracle=_oracle,
)
