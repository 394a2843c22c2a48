"""The conformance subject of `TopN`: parameters to try, random requests, and its oracle's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from midflight.primitives import TopN
from midflight.primitives.oracles.topn import pruned
from midflight.testbed.conformance.network import MEMBERS, SERVER
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject
from midflight.testbed.conformance.subjects.pruning import again, pruned_or_forwarded

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
    gone = pruned([(each.fields["query"], each.fields["value"]) for each in requests], again(requests), **limits)
    return pruned_or_forwarded(parameters, requests, gone)


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
