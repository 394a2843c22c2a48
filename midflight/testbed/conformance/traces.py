"""Random cases for each primitive, from a seed: its requests after network faults, and other packets."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random

from midflight.primitives import Message, Program
from midflight.primitives.wire import REQUEST, RESULT, VERSION, Schema
from midflight.testbed.conformance.case import Case, Step
from midflight.testbed.conformance.faults import weathered
from midflight.testbed.conformance.model import answered
from midflight.testbed.conformance.network import MEMBERS, SERVER, Frame
from midflight.testbed.conformance.subject import Subject, subject

__all__ = ["Generator", "generate"]


class Generator:
    """Generates the conformance cases of one primitive: packets, control operations, and the answers to expect.

    `primitive` is the name of a primitive, and `of` its subject, by default that of the library. A case follows from a
    seed and a number. Programs are cached, because they take longer to create than cases. MidflightError if the
    primitive has no subject.
    """

    def __init__(self, primitive: str, of: Subject | None = None) -> None:
        self._name = primitive
        self._of = subject(primitive) if of is None else of
        self._own = None if of is None else of.primitive
        self._programs: dict[str, Program] = {}

    def case(self, seed: int, number: int) -> Case:
        """Return generated case number `number`, 0 or more. The same seed and number give the same case."""
        random = Random(f"{seed}/{self._name}/{number}")
        chosen = self._of.choice(number)
        program = self._program(number)
        schema = Schema(program.schema())
        ipv6 = _ipv6(Random(f"{seed}/{self._name}/{number}/ipv6"))
        sent = list(self._of.requests(random, program.applications["app"].primitive.parameters))
        steps: list[Step] = []
        for each in weathered(random, sent):
            payload = schema.encode(Message(REQUEST, "app", each.sequence, each.fields))
            frame = Frame.request(each.host, payload, ipv6=each.host in ipv6)
            steps.append(Step(each.host, bytes(frame), writes=each.writes))
            if random.random() < 0.1:
                steps.append(_unhandled_packet(random, each.host, payload, ipv6=each.host in ipv6))
        if random.random() < 0.5 and len(steps) > 1:
            for place, operation in zip(
                sorted(random.sample(range(len(steps)), 2)), ("withdraw app", "admit app"), strict=True
            ):
                steps[place] = replace(steps[place], control=operation)
        name = f"{self._name.lower()}-{seed}-{number}"
        return answered(Case(name, self._name, chosen, tuple(steps), seed=seed, ipv6=ipv6, of=self._own), program)

    def _program(self, number: int) -> Program:
        kind = repr(self._of.choice(number))
        if kind not in self._programs:
            self._programs[kind] = Program(self._of.make(number))
        return self._programs[kind]


def generate(primitive: str, seed: int, number: int) -> Case:
    """Return generated case number `number` of the primitive of this name. The same seed and number give the
    same case.
    """
    return Generator(primitive).case(seed, number)


def _ipv6(random: Random) -> tuple[int, ...]:
    """Return the hosts that use IPv6: none in half of the cases."""
    hosts = (*MEMBERS, SERVER)
    return tuple(sorted(random.sample(hosts, random.randint(1, len(hosts))))) if random.random() < 0.5 else ()


def _unhandled_packet(random: Random, host: int, payload: bytes, *, ipv6: bool) -> Step:
    """Return a packet that must not reach the kernel."""
    request = partial(Frame.request, host, ipv6=ipv6)
    good = bytes(request(payload))
    kinds: dict[str, Callable[[], bytes]] = {
        "cut short": lambda: good[: random.randrange(14, len(good))],
        "another version": lambda: bytes(request(bytes([VERSION + 1]) + payload[1:])),
        "a result": lambda: bytes(request(payload[:1] + bytes([RESULT]) + payload[2:])),
        "an application that is not here": lambda: bytes(request(payload[:2] + b"\x0f\xff" + payload[4:])),
        "ttl 1": lambda: bytes(request(payload[:2] + b"\x0f\xff" + payload[4:], ttl=1)),
        "no way there": lambda: bytes(request(payload[:2] + b"\x0f\xff" + payload[4:], to=77)),
        "to another member": lambda: bytes(request(payload[:1] + bytes([RESULT]) + payload[2:], to=2)),
    }
    if ipv6:
        kinds |= {
            "wrong UDP checksum": lambda: good[:60] + bytes([good[60] ^ 0x55]) + good[61:],
            "wrong length": lambda: good[:58] + struct.pack("!H", len(payload) + 7) + good[60:],
            "a hop-by-hop header": lambda: good[:20] + b"\0" + good[21:54] + b"\x11\0\1\4\0\0\0\0" + good[54:],
            "another UDP port": lambda: good[:56] + b"\0\x35" + good[58:],
            "not IPv6": lambda: good[:12] + b"\x08\x00" + good[14:],
        }
    else:
        kinds |= {
            "wrong IPv4 checksum": lambda: good[:24] + bytes([good[24] ^ 0x55]) + good[25:],
            "not IPv4": lambda: good[:12] + b"\x86\xdd" + good[14:],
        }
    note = random.choice(list(kinds))
    return Step(host, kinds[note](), note=note)
