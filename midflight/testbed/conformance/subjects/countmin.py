"""The conformance subject of `CountMin`: parameters to try, random requests, and its oracle's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from midflight.primitives import CountMin, Verdict
from midflight.primitives.oracles.countmin import answers
from midflight.testbed.conformance.network import MEMBERS, SERVER
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject

__all__ = ["SUBJECT"]


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    largest, most = 2 ** parameters["item_bits"] - 1, 2 ** parameters["width"] - 1
    items = [0, 1, largest, *(random.randint(0, largest) for _ in range(6))]
    amounts = (0, 1, 1, 2, 3, random.randint(0, most // 8), random.randint(0, most // 2), most - 1, most)
    for sequence in range(random.randint(10, 40)):
        fields = {
            "operation": random.choice((0, 0, 1, 1, 1, 1, 2, 255)),
            "flags": random.choice((0, 255)),
            "item": random.choice(items),
            "amount": random.choice(amounts),
            "estimate": random.randint(0, most),
            "total": random.randint(0, 2**64 - 1),
        }
        yield Request(random.choice((*MEMBERS, SERVER)), sequence, fields)


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    asked = [tuple(each.fields[name] for name in ("operation", "item", "amount")) for each in requests]
    found = []
    for request, given in zip(requests, answers(asked, **parameters), strict=True):
        if given is None:
            found.append(Answer(Verdict.DROP))
            continue
        estimate, total = given
        flags = int(estimate == 2 ** parameters["width"] - 1)
        verdict = Verdict.FORWARD if request.fields["operation"] == CountMin.UPDATE else Verdict.REPLY
        found.append(Answer(verdict, {**request.fields, "flags": flags, "estimate": estimate, "total": total}))
    return found


SUBJECT = Subject(
    primitive=CountMin,
    parameters=(
        {"rows": 2, "columns": 8, "width": 32, "item_bits": 32},
        {"rows": 3, "columns": 5, "width": 9, "item_bits": 13},
        {"rows": 1, "columns": 3, "width": 64, "item_bits": 128},
    ),
    requests=_requests,
    oracle=_oracle,
)
