"""The conformance subject of `Threshold`: parameters to try, random requests, and its oracle's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

import numpy as np

from midflight.primitives import Threshold, Verdict
from midflight.primitives.oracles.threshold import alerts, jumps
from midflight.testbed.conformance.network import MEMBERS, SERVER
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject

__all__ = ["SUBJECT"]


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    above, clear, sensors = parameters["above"], parameters["clear"], parameters["sensors"]
    rate, before = parameters["rate"], 0
    levels = (clear - 1, clear, clear + 1, above - 1, above, above + 1, 0, 2**32 - 1)
    for sequence in range(random.randint(10, 40)):
        sensor = random.choice((0, 0, 1, sensors - 1, sensors, 65535))
        near = before + random.choice((rate, rate + 1, -rate, -rate - 1))
        value = before = min(2**32 - 1, max(0, random.choice((*levels, near, random.randint(0, 2**32 - 1)))))
        yield Request(random.choice((*MEMBERS, SERVER)), sequence, {"sensor": sensor, "value": value})


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    sensors = np.array([each.fields["sensor"] for each in requests], dtype=np.uint16)
    values = np.array([each.fields["value"] for each in requests], dtype=np.uint32)
    raised = alerts(sensors, values, above=parameters["above"], clear=parameters["clear"], states=parameters["sensors"])
    if parameters["rate"] > 0:
        raised |= jumps(sensors, values, rate=parameters["rate"], states=parameters["sensors"])
    return [
        Answer(Verdict.FORWARD, each.fields, ((each.fields["sensor"], each.fields["value"]),) if alert else ())
        for each, alert in zip(requests, raised.tolist(), strict=True)
    ]


SUBJECT = Subject(
    primitive=Threshold,
    parameters=(
        {"above": 900, "clear": 850, "sensors": 5},
        {"above": 900, "clear": 850, "rate": 30, "sensors": 3},
        {"above": 2**32 - 1, "clear": 0, "rate": 1, "sensors": 3},
    ),
    requests=_requests,
    oracle=_oracle,
)
