"""Traces at random for each primitive, from a seed: ordinary traffic, its edges, and what no host should send."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from random import Random
from typing import Any

from midflight.primitives import Message, Program
from midflight.primitives.wire import REQUEST, RESULT, Schema
from midflight.testbed.conformance.case import PRIMITIVES, Case, Step
from midflight.testbed.conformance.model import answered
from midflight.testbed.conformance.network import MEMBERS, SERVER, Frame

__all__ = ["generate"]

Fields = Mapping[str, Any]
Request = tuple[int, int, Fields]
"""The host that sends, the sequence number, the fields."""

EDGES = (-(2**31), -1, 0, 1, 2**31 - 1)
PARAMETERS: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "Aggregate": tuple(
        {"workers": 3, "lanes": 2, "slots": 2, "overflow": each} for each in ("wrap", "saturate", "detect")
    ),
    "Filter": ({"keep": "temperature > 80 and status != 0"},),
    "Threshold": ({"above": 900, "clear": 850, "sensors": 5},),
}


def generate(primitive: str, seed: int, number: int) -> Case:
    """Return generated case `number` of a primitive: the same for the same seed."""
    random = Random(f"{seed}/{primitive}/{number}")
    choices = PARAMETERS[primitive]
    parameters = choices[number % len(choices)]
    program = Program(PRIMITIVES[primitive]("app", **parameters))
    schema = Schema(program.schema())
    steps: list[Step] = []
    for host, sequence, fields in REQUESTS[primitive](random):
        payload = schema.encode(Message(REQUEST, "app", sequence, fields))
        steps.append(Step(host, bytes(Frame.request(host, payload))))
        if random.random() < 0.1:
            steps.append(_odd(random, host, payload))
    if random.random() < 0.5:
        for place, operation in zip(
            sorted(random.sample(range(len(steps)), 2)), ("withdraw app", "admit app"), strict=True
        ):
            steps[place] = replace(steps[place], control=operation)
    return answered(Case(f"{primitive.lower()}-{seed}-{number}", primitive, parameters, tuple(steps), seed=seed))


def _odd(random: Random, host: int, payload: bytes) -> Step:
    """Return a packet that the kernel must never see, or one that is no concern of it."""
    good = bytes(Frame.request(host, payload))
    kinds: dict[str, Callable[[], bytes]] = {
        "cut short": lambda: good[: random.randrange(14, len(good))],
        "another version": lambda: bytes(Frame.request(host, bytes([2]) + payload[1:])),
        "wrong IPv4 checksum": lambda: good[:24] + bytes([good[24] ^ 0x55]) + good[25:],
        "a result": lambda: bytes(Frame.request(host, payload[:1] + bytes([RESULT]) + payload[2:])),
        "an application that is not here": lambda: bytes(Frame.request(host, payload[:2] + b"\x0f\xff" + payload[4:])),
        "ttl 1": lambda: bytes(Frame.request(host, payload[:2] + b"\x0f\xff" + payload[4:], ttl=1)),
        "no way there": lambda: bytes(Frame.request(host, payload[:2] + b"\x0f\xff" + payload[4:], to=77)),
        "not IPv4": lambda: good[:12] + b"\x86\xdd" + good[14:],
        "to another member": lambda: bytes(Frame.request(host, payload[:1] + bytes([RESULT]) + payload[2:], to=2)),
    }
    note = random.choice(list(kinds))
    return Step(host, kinds[note](), note=note)


def _number(random: Random) -> int:
    return random.choice((random.randint(-(2**31), 2**31 - 1), random.choice(EDGES), random.randint(-100, 200)))


def _aggregate(random: Random) -> Iterator[Request]:
    """Yield contributions as a network brings them: lost, doubled, late, of other jobs, and strays."""
    start = random.choice((1, 2**31 - 3, 2**32 - 3))
    job = random.choice((0, 1, 2**15 - 1, 2**16 - 1))
    chunks = random.randint(2, 12)
    renewed = random.randint(0, 2 * chunks)
    placed: list[tuple[int, int, Request]] = []
    for place, (chunk, worker) in enumerate((chunk, worker) for chunk in range(chunks) for worker in range(3)):
        fields = {
            "slot": chunk % 4,
            "worker": worker,
            "flags": random.choice((0, 0, 0, 1, 2)),
            "job": (job + (chunk >= renewed)) % 2**16,
            "epoch": 7,
            "values": [_number(random), _number(random)],
        }
        for copy in range(random.choice((0, 1, 1, 1, 1, 1, 2, 3))):
            late = random.choice((random.randint(0, 5), random.randint(0, 5), random.randint(0, 3 * chunks)))
            placed.append((place + late, copy, (MEMBERS[worker], (start + chunk) % 2**32, fields)))
    for _, _, request in sorted(placed, key=lambda each: each[:2]):
        yield request
        if random.random() < 0.08:
            stray = {"slot": random.randint(0, 5), "worker": random.randint(0, 4), "flags": 0, "job": job, "epoch": 0}
            sequence = random.choice((0, start, (start + 2**30) % 2**32, (start + 2**31) % 2**32))
            yield random.choice(MEMBERS), sequence, stray | {"values": [_number(random), _number(random)]}


def _filter(random: Random) -> Iterator[Request]:
    for sequence in range(random.randint(5, 40)):
        temperature = random.choice((80, 81, 79, _number(random)))
        status = random.choice((0, 0, 1, -1, _number(random)))
        yield random.choice((*MEMBERS, SERVER)), sequence, {"temperature": temperature, "status": status}


def _threshold(random: Random) -> Iterator[Request]:
    levels = (849, 850, 851, 899, 900, 901, 0, 2**32 - 1)
    for sequence in range(random.randint(10, 60)):
        sensor = random.choice((0, 0, 1, 4, 5, 65535))
        value = random.choice((*levels, random.randint(0, 2**32 - 1)))
        yield random.choice((*MEMBERS, SERVER)), sequence, {"sensor": sensor, "value": value}


REQUESTS: Mapping[str, Callable[[Random], Iterator[Request]]] = {
    "Aggregate": _aggregate,
    "Filter": _filter,
    "Threshold": _threshold,
}
