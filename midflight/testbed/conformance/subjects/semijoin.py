"""The conformance subject of `SemiJoin`: parameters to try, random requests, and its oracle's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from midflight.primitives import SemiJoin, Verdict
from midflight.primitives.oracles.semijoin import partners
from midflight.testbed.conformance.network import EPOCH, MEMBERS, SERVER
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject

__all__ = ["SUBJECT"]


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    largest = 2 ** parameters["item_bits"] - 1
    items = [0, 1, largest, *(random.randint(0, largest) for _ in range(random.randint(1, 12)))]
    for sequence in range(random.randint(10, 40)):
        fields = {
            "flags": random.choice((0, 0, 0, 0, 4, 254, 1, 251, 255)),
            "side": random.choice((0, 0, 0, 1, 1, 1, 1, 2, 255)),
            "epoch": random.choice((*[EPOCH] * 5, EPOCH - 1, EPOCH + 1, 0)),
            "item": random.choice(items),
        }
        yield Request(random.choice((*MEMBERS, SERVER)), sequence, fields)


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    shape = {name: parameters[name] for name in ("rows", "columns", "item_bits")}
    building = [each.fields["side"] == 0 for each in requests]
    has_partner = partners([each.fields["item"] for each in requests], building, **shape)
    found = []
    for each, partner in zip(requests, has_partner, strict=True):
        fields = each.fields
        if fields["side"] == 0:
            found.append(Answer(Verdict.FORWARD, {**fields, "flags": fields["flags"] | 4, "epoch": EPOCH}))
        elif partner or fields["side"] > 1 or fields["epoch"] != EPOCH or fields["flags"] % 2 == 1:
            found.append(Answer(Verdict.FORWARD, fields))
        elif parameters["pruned"] == "drop":
            found.append(Answer(Verdict.DROP))
        else:
            found.append(Answer(Verdict.REPLY, {**fields, "flags": fields["flags"] | 2}))
    return found


SUBJECT = Subject(
    primitive=SemiJoin,
    parameters=(
        {"rows": 2, "columns": 16, "item_bits": 32},
        {"rows": 3, "columns": 10, "item_bits": 13, "pruned": "reply"},
        {"rows": 1, "columns": 5, "item_bits": 128},
    ),
    requests=_requests,
    oracle=_oracle,
    equivalent={"bits[row].update -> bits[row].update_fetch": "a row that builds asks for no partner"},
)
