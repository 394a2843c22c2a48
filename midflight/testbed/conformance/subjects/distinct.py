"""The conformance subject of `Distinct`: parameters to try, random requests, and its oracle's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from midflight.primitives import Distinct
from midflight.primitives.oracles.distinct import pruned
from midflight.testbed.conformance.network import MEMBERS, SERVER
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject
from midflight.testbed.conformance.subjects.pruning import again, pruned_or_forwarded

__all__ = ["SUBJECT"]


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    largest = 2 ** parameters["item_bits"] - 1
    items = [0, 0, 1, largest, *(random.randint(0, largest) for _ in range(random.randint(1, 12)))]
    for sequence in range(random.randint(10, 40)):
        fields = {"flags": random.choice((0, 0, 0, 0, 4, 254, 1, 255)), "item": random.choice(items)}
        yield Request(random.choice((*MEMBERS, SERVER)), sequence, fields)


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    shape = {name: parameters[name] for name in ("rows", "columns", "item_bits", "fingerprint")}
    gone = pruned([each.fields["item"] for each in requests], again(requests), **shape)
    return pruned_or_forwarded(parameters, requests, gone)


SUBJECT = Subject(
    primitive=Distinct,
    parameters=(
        {"rows": 2, "columns": 2, "item_bits": 32, "pruned": "reply"},
        {"rows": 3, "columns": 3, "item_bits": 8},
        {"rows": 1, "columns": 1, "item_bits": 128},
        {"rows": 2, "columns": 2, "item_bits": 16, "fingerprint": 8},
        {"rows": 1, "columns": 4, "item_bits": 40, "fingerprint": 32, "pruned": "reply"},
    ),
    requests=_requests,
    oracle=_oracle,
)
