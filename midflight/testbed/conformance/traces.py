"""Cases at random for each primitive, from a seed: its requests as a network brings them, and other packets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from random import Random

from midflight.primitives import Message, Program
from midflight.primitives.wire import REQUEST, RESULT, Schema
from midflight.testbed.conformance.case import Case, Step
from midflight.testbed.conformance.faults import weathered
from midflight.testbed.conformance.model import answered
from midflight.testbed.conformance.network import Frame
from midflight.testbed.conformance.subject import subject

__all__ = ["generate"]


def generate(primitive: str, seed: int, number: int) -> Case:
    """Return generated case `number` of a primitive: the same for the same seed."""
    random = Random(f"{seed}/{primitive}/{number}")
    of = subject(primitive)
    made = of.make(number)
    schema = Schema(Program(made).schema())
    steps: list[Step] = []
    for each in weathered(random, list(of.requests(random, made.parameters))):
        payload = schema.encode(Message(REQUEST, "app", each.sequence, each.fields))
        steps.append(Step(each.host, bytes(Frame.request(each.host, payload)), writes=each.writes))
        if random.random() < 0.1:
            steps.append(_odd(random, each.host, payload))
    if random.random() < 0.5 and len(steps) > 1:
        for place, operation in zip(
            sorted(random.sample(range(len(steps)), 2)), ("withdraw app", "admit app"), strict=True
        ):
            steps[place] = replace(steps[place], control=operation)
    return answered(Case(f"{primitive.lower()}-{seed}-{number}", primitive, of.choice(number), tuple(steps), seed=seed))


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
