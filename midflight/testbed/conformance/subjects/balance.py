"""The conformance subject of `Balance`: parameters to try, random requests, and its oracle's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from midflight.primitives import Balance, Verdict
from midflight.primitives.oracles.balance import Balancer
from midflight.testbed.conformance.case import Write
from midflight.testbed.conformance.network import MEMBERS, SERVER
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject

__all__ = ["SUBJECT"]

TABLE = {0: (1, 2), 1: (2, 3), 2: (3, 1), 4: (1, 1)}
PAIR = {0: (1, 2)}
TABLE_3 = {each: TABLE[each] for each in range(3)}


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    """Yield requests of a few flows, reports that age, cookies, and changes of the tables by the controller."""
    lifetime, instances = parameters["lifetime"], parameters["instances"]
    spans = [each * parameters["patience"] for each in (1, 64)] if parameters.get("patience") else []
    largest = 2 ** parameters["flow_bits"] - 1
    flows = [0, largest, *(random.randint(0, largest) for _ in range(6))]
    time = random.choice((0, 5, 2**48 - lifetime, random.randrange(2**48)))
    still = random.random() < 0.2  # at time 0, which is not the time of a missing report
    tables = ("first", "second", "second") if parameters["choices"] == 2 else ("first",)
    for sequence in range(random.randint(10, 40)):
        time = (
            0 if still else (time + random.choice((0, 1, 1, 2, lifetime // 3, lifetime, lifetime + 1, *spans))) % 2**48
        )
        late = random.choice((0, 0, 0, 0, 1, lifetime + 1))
        writes = []
        if random.random() < 0.15:
            value = random.choice((None, 0, 1, 2, instances))
            writes.append(Write(random.choice(tables), random.randrange(parameters["buckets"]), value))
        if random.random() < 0.1:
            writes.append(Write("up", random.choice((1, 2, instances)), random.choice((None, 0, 1, 1))))
        fields = {
            "operation": random.choice((1, 1, 1, 2, 2, random.choice((0, 3, 255)))),
            "instance": random.choice((0, 0, 1, 1, 2, 2, 3, instances, instances + 1, 2**16 - 1)),
            "load": random.choice((0, 1, 2, 3, 2**16 - 2, 2**16 - 1)),
            "time": (time - late) % 2**48,
            "flow": random.choice(flows),
        }
        yield Request(random.choice((*MEMBERS, SERVER)), sequence, fields, tuple(writes))


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    lifetime = parameters["lifetime"] if parameters["choices"] == 2 else None
    balancer = Balancer(parameters["buckets"], parameters["flow_bits"], lifetime, parameters.get("patience", 0))
    table = parameters["table"] or {}
    tables: dict[str, dict[object, int]] = {
        "first": {bucket: pair[0] for bucket, pair in table.items()},
        "second": {bucket: pair[1] for bucket, pair in table.items()},
        "up": {},
    }
    answers = []
    for each in requests:
        for write in each.writes:
            if write.value is None:
                tables[write.map].pop(write.key, None)
            else:
                tables[write.map][write.key] = write.value
        fields = dict(each.fields)
        if fields["operation"] not in (Balance.ASK, Balance.REPORT):
            answers.append(Answer(Verdict.DROP))
            continue
        if fields["operation"] == Balance.REPORT:
            if fields["instance"] <= parameters["instances"]:
                balancer.report(fields["instance"], fields["time"], fields["load"])
        else:
            flow, time = fields["flow"], fields["time"]
            first, second = (dict(tables[name].items()) for name in ("first", "second"))
            if not tables["up"].get(fields["instance"]):
                fields["instance"] = balancer.choose(flow, time, first, second)  # type: ignore[arg-type]
            fields["instance"] = balancer.ask(flow, time, fields["instance"], first, second)  # type: ignore[arg-type]
        answers.append(Answer(Verdict.FORWARD, fields))
    return answers


SUBJECT = Subject(
    primitive=Balance,
    parameters=(
        {"instances": 3, "buckets": 3, "lifetime": 100, "clock": "packet", "flow_bits": 32, "table": TABLE_3},
        {"instances": 4, "buckets": 5, "lifetime": 7, "clock": "packet", "flow_bits": 13, "table": TABLE},
        {
            "instances": 3,
            "buckets": 4,
            "lifetime": 9,
            "patience": 5,
            "clock": "packet",
            "flow_bits": 32,
            "table": TABLE_3,
        },
        {"instances": 3, "buckets": 8, "choices": 1, "clock": "packet", "flow_bits": 64, "table": TABLE},
        {
            "instances": 3,
            "buckets": 1,
            "lifetime": 2**32 - 1,
            "clock": "packet",
            "flow_bits": 128,
            "table": {0: (1, 2)},
        },
    ),
    requests=_requests,
    oracle=_oracle,
)
