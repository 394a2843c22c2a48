"""The conformance subject of `Limit`: parameters to try, random requests, and its oracle's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from random import Random

from midflight.primitives import Limit, Verdict
from midflight.primitives.oracles.limit import Bucket
from midflight.testbed.conformance.case import Write
from midflight.testbed.conformance.network import MEMBERS, SERVER
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject

__all__ = ["SUBJECT"]

COLOURS = {"green": Limit.GREEN, "yellow": Limit.YELLOW, "red": Limit.RED}


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    """Yield bursts, pauses and steady requests of few classes, some late, while the rates of classes change."""
    rate, classes = parameters["rate"], parameters["classes"]
    time = random.choice((0, 1, 2**47, 2**48 - 10**6 // rate, random.randrange(2**48)))
    usual = 10**6 // rate
    for sequence in range(random.randint(10, 40)):
        step = random.choice((0, 0, 0, 1, usual // 2, usual, usual + 1, usual * 3, -usual, usual * 10**5))
        time = (time + step) % 2**48
        which = random.choice((0, 0, 0, 1, classes - 1, classes, 2**16 - 1))
        writes = []
        if random.random() < 0.1 and which < classes:
            writes.append(Write("intervals", which, random.choice((None, Limit.interval(rate) // 2 + 1, 2**28 - 1, 1))))
        fields = {"traffic_class": which, "colour": random.choice((0, 1, 3, 255)), "time": time}
        yield Request(random.choice((*MEMBERS, SERVER)), sequence, fields, tuple(writes))


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    usual = Fraction(round(Fraction(256 * 10**6, parameters["rate"])), 256)
    intervals: dict[object, Fraction] = {}
    buckets: dict[int, Bucket] = {}
    answers = []
    for each in requests:
        for write in each.writes:
            intervals[write.key] = usual if write.value is None else Fraction(write.value, 256)
        which = each.fields["traffic_class"]
        if which >= parameters["classes"]:
            answers.append(Answer(Verdict.DROP))
            continue
        bucket = buckets.setdefault(which, Bucket(parameters["burst"], parameters["excess"]))
        interval = intervals.get(which, usual)
        colour = bucket.take(each.fields["time"], interval)
        if colour == "red" and parameters["beyond"] == "drop":
            answers.append(Answer(Verdict.DROP))
        else:
            answers.append(Answer(Verdict.FORWARD, {**each.fields, "colour": COLOURS[colour]}))
    return answers


SUBJECT = Subject(
    primitive=Limit,
    parameters=(
        {"rate": 1000, "burst": 2, "excess": 1, "clock": "packet", "classes": 3},
        {"rate": 1000, "burst": 1, "beyond": "mark", "clock": "packet", "classes": 3},
        {"rate": 300, "burst": 3, "excess": 2, "beyond": "mark", "clock": "packet", "classes": 2},
        {"rate": 10**6, "burst": 1, "excess": 3, "clock": "packet", "classes": 1},
    ),
    requests=_requests,
    oracle=_oracle,
    equivalent={
        "missing >= 2 ** 55 -> missing > 2 ** 55": "a time half of the clock's range away is neither earlier nor later",
    },
)
