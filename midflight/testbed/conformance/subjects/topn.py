"""TopN as a subject."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from midflight.primitives import TopN, Verdict
from midflight.primitives.oracles.topn import pruned
from midflight.testbed.conformance.network import MEMBERS, SERVER
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject

__all__ = ["SUBJECT"]


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    thresholds = [parameters["lowest"] << level for level in range(parameters["levels"])]
    queries = (0, 0, 0, parameters["queries"] - 1, parameters["queries"], 65535)
    for sequence in range(random.randint(10, 40)):
        near = min(random.choice(thresholds) + random.choice((-1, 0, 1)), 2**32 - 1)
        fields = {
            "flags": random.choice((0, 0, 0, 0, 4, 254, 1, 255)),
            "query": random.choice(queries),
            "value": random.choice((near, near, random.randint(0, 2 * thresholds[-1]) % 2**32, 0, 2**32 - 1)),
        }
        yield Request(random.choice((*MEMBERS, SERVER)), sequence, fields)


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    limits = {name: parameters[name] for name in ("n", "lowest", "levels", "queries")}
    again = [each.fields["flags"] % 2 == 1 for each in requests]
    gone = pruned([(each.fields["query"], each.fields["value"]) for each in requests], again, **limits)
    reply = parameters["pruned"] == "reply"
    return [
        Answer(Verdict.FORWARD, each.fields) if not useless
        else Answer(Verdict.REPLY, {**each.fields, "flags": each.fields["flags"] | 2}) if reply
        else Answer(Verdict.DROP)
        for each, useless in zip(requests, gone, strict=True)
    ]  # fmt: skip


SUBJECT = Subject(
    primitive=TopN,
    parameters=(
        {"n": 2, "lowest": 100, "levels": 4, "queries": 2},
        {"n": 1, "lowest": 1, "levels": 32, "queries": 1, "pruned": "reply"},
        {"n": 4, "lowest": 2**32 - 1, "levels": 1, "queries": 3},
    ),
    requests=_requests,
    oracle=_oracle,
    equivalent={
        "self.reached[level].update -> self.reached[level].update_fetch": "a row below a threshold leaves its counter",
    },
)
