"""The conformance subject of `Ewma`: parameters to try, random requests, and its oracle's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from random import Random

from midflight.primitives import Ewma, Verdict, int_
from midflight.primitives.oracles.ewma import averages, rounded
from midflight.testbed.conformance.network import MEMBERS, SERVER
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject, number

__all__ = ["SUBJECT"]


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    """Yield values that stay, drift and jump."""
    count, deviation = parameters["series"], parameters["deviation"]
    value = number(random, int_[32])
    for sequence in range(random.randint(10, 40)):
        step = random.choice((0, 0, 1, -1, 7, -deviation, deviation, deviation + 1, 2 * deviation))
        value = random.choice((value, value + step, number(random, int_[32])))
        value = max(int_[32].low, min(int_[32].high, value))
        series = random.choice((0, 0, 0, 1, count - 1, count, 2**16 - 1))
        fields = {"series": series, "value": value, "average": number(random, int_[32])}
        yield Request(random.choice((*MEMBERS, SERVER)), sequence, fields)


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    weight = Fraction(parameters["weight"], 2 ** parameters["shift"])
    step = Fraction(1, 2 ** parameters["fraction"])
    deviation = parameters["deviation"]
    values: dict[int, list[int]] = {}
    answers = []
    for each in requests:
        series, value = each.fields["series"], each.fields["value"]
        past = [] if series >= parameters["series"] else values.setdefault(series, [])
        past.append(value)
        exact = averages(past, weight=weight, step=step)[-1]
        average = rounded(exact)
        alerts = ((series, value, average),) if deviation and abs(value - exact) > deviation else ()
        answers.append(Answer(Verdict.FORWARD, {**each.fields, "average": average}, alerts))
    return answers


SUBJECT = Subject(
    primitive=Ewma,
    parameters=(
        {"series": 5, "deviation": 20},
        {"series": 5, "weight": 3, "shift": 2, "fraction": 0},
        {"series": 5, "weight": 1, "shift": 1, "fraction": 1, "deviation": 1},
        {"series": 5, "weight": 4095, "shift": 12, "fraction": 16, "deviation": 2**20},
    ),
    requests=_requests,
    oracle=_oracle,
)
