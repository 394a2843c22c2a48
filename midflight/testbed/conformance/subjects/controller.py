"""The conformance subject of `Controller`: parameters to try, random requests, and its oracle's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from random import Random

from midflight.primitives import Controller, Verdict, int_
from midflight.primitives.oracles.controller import Loop
from midflight.testbed.conformance.network import MEMBERS, SERVER
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject, number

__all__ = ["SUBJECT"]


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    """Yield readings of a few loops: in order, repeated, late, far ahead, after a reset, and of unknown loops."""
    loops, channels = parameters["loops"], parameters["channels"]
    target = [random.randint(-50, 50) for _ in range(channels)]
    measured = list(target)
    sequence = random.choice((1, 2**31 - 3, 2**32 - 5))
    for _ in range(random.randint(10, 40)):
        for channel in range(channels):
            if random.random() < 0.2:
                target[channel] = random.choice((random.randint(-50, 50), number(random, int_[32])))
            near = target[channel] + random.randint(-9, 9)
            measured[channel] = random.choice((measured[channel], near, near, number(random, int_[32])))
            measured[channel] = max(int_[32].low, min(int_[32].high, measured[channel]))
        sequence = (sequence + random.choice((1, 1, 1, 1, 1, 2, 0, -1))) % 2**32
        far = (sequence + random.choice((2**30, 2**31 - 1, 2**31, 2**31 + 1))) % 2**32
        fields = {
            "loop": random.choice((0, 0, 0, 0, loops - 1, loops, 2**16 - 1)),
            "target": list(target),
            "measured": list(measured),
            "command": number(random, int_[32]),
        }
        host = random.choice((*MEMBERS, SERVER))
        yield Request(host, random.choices((sequence, far, 0), (20, 1, 1))[0], fields)


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    unit = 2 ** parameters["fraction"]

    def gains(name: str) -> list[Fraction]:
        return [Fraction(round(each * unit), unit) for each in parameters[name] or [0] * parameters["channels"]]

    p, i, d = (gains(name) for name in ("proportional", "integral", "derivative"))
    loops = [Loop(p, i, d, parameters["low"], parameters["high"]) for _ in range(parameters["loops"])]
    answers = []
    for each in requests:
        command, loop = None, each.fields["loop"]
        if loop < len(loops):
            command = loops[loop].command(each.sequence, each.fields["target"], each.fields["measured"])
        if command is None:
            answers.append(Answer(Verdict.DROP))
        else:
            answers.append(Answer(Verdict.FORWARD, {**each.fields, "command": command}))
    return answers


SUBJECT = Subject(
    primitive=Controller,
    parameters=(
        {"proportional": [2.25], "integral": [0.5], "derivative": [1.375], "low": -200, "high": 300, "loops": 2},
        {"integral": [0.01], "fraction": 16, "low": -3, "high": 1000, "loops": 2},
        {"proportional": [1.5, -0.75], "channels": 2, "fraction": 4, "low": -(2**31), "high": 2**31 - 1, "loops": 3},
        {"proportional": [127.999], "derivative": [-127.999], "fraction": 16, "low": 5, "high": 2000, "loops": 2},
        {"integral": [-3, 2, 1], "channels": 3, "fraction": 0, "low": -100, "high": -10, "loops": 2},
    ),
    requests=_requests,
    oracle=_oracle,
    equivalent={
        f"weighted = int_[64](0) -> weighted = int_[64]({other})": "what is added to every measurement is no change"
        for other in (1, -1)
    },
)
