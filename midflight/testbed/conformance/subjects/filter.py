"""The conformance subject of `Filter`: parameters to try, random requests, and its oracle's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

import numpy as np

from midflight.primitives import Filter, Verdict, int_
from midflight.primitives.oracles.filter import kept
from midflight.testbed.conformance.network import MEMBERS, SERVER
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject, number

__all__ = ["SUBJECT"]


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    names = [each.name for each in Filter("app", keep=parameters["keep"]).layout]
    # Values near the constants of the conditions.
    telling = (*range(-12, 13), *[79, 80, 81, 99, 100, 0] * 3)
    for sequence in range(random.randint(10, 40)):
        fields = {name: random.choice((random.choice(telling), number(random, int_[32]))) for name in names}
        yield Request(random.choice((*MEMBERS, SERVER)), sequence, fields)


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    columns = {name: np.array([each.fields[name] for each in requests], dtype=np.int32) for name in requests[0].fields}
    stay = kept(parameters["keep"], columns)
    return [
        Answer(Verdict.FORWARD, each.fields) if stays else Answer(Verdict.DROP)
        for each, stays in zip(requests, stay.tolist(), strict=True)
    ]


SUBJECT = Subject(
    primitive=Filter,
    parameters=tuple(
        {"keep": keep}
        for keep in (
            "temperature > 80 and status != 0",
            "not (a < b or a == 3) and 0 <= b < 100",
            "(a + b) * 2 > a - b or -a > b",
            "abs(a) >= min(b, c) and max(a, c) != 7",
            "(a & 12) == 4 or a // 4 == 2 or a % 8 == 7",
            "(a >> 2) ^ ~b > 5",
        )
    ),
    requests=_requests,
    oracle=_oracle,
)
