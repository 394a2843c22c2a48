"""The conformance subject of `Aggregate`: parameters to try, random requests, and its oracle's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

import numpy as np

from midflight.primitives import Aggregate, Verdict, int_
from midflight.primitives.oracles.aggregate import Pool
from midflight.testbed.conformance.network import EPOCH, MEMBERS
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject, number

__all__ = ["SUBJECT"]


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    """Yield contributions after network faults: lost, duplicated, late, of other jobs, and invalid ones."""
    workers, lanes, entries = parameters["workers"], parameters["lanes"], 2 * parameters["slots"]
    kind = int_[32] if parameters["number"] == "int32" else int_[16]
    start = random.choice((1, 2**31 - 3, 2**32 - 3))
    job = random.choice((0, 1, 2**15 - 1, 2**16 - 1))
    chunks = random.randint(2, 24 // workers)
    renewed = random.randint(0, 2 * chunks)
    placed: list[tuple[int, int, Request]] = []
    for place, (chunk, worker) in enumerate((chunk, worker) for chunk in range(chunks) for worker in range(workers)):
        fields = {
            "slot": chunk % entries,
            "worker": _number(parameters, worker),
            "job": (job + (chunk >= renewed)) % 2**16,
            "epoch": 7,
            "values": [number(random, kind) for _ in range(lanes)],
        }
        for copy in range(random.choice((0, 1, 1, 1, 1, 1, 2, 3))):
            late = random.choice((random.randint(0, 5), random.randint(0, 5), random.randint(0, workers * chunks)))
            flags = {"flags": random.choice((0, 0, 0, 1, 2, 3))}
            request = Request(MEMBERS[worker % len(MEMBERS)], (start + chunk) % 2**32, fields | flags)
            placed.append((place + late, copy, request))
    for _, _, request in sorted(placed, key=lambda each: each[:2]):
        yield request
        if random.random() < 0.15:
            yield _stray(random, parameters, request)


def _stray(random: Random, parameters: Parameters, before: Request) -> Request:
    """Return what no host sends after a contribution: to another entry, of another worker, far ahead or behind."""
    chunk = before.fields["job"] << 32 | before.sequence
    half = 2**47
    chunk += random.choice((0, 1, -1, 2**46, 2**46 + 1, half - 1, half, half + 1, random.randint(0, 2 * half)))
    fields = {
        "slot": random.choice((before.fields["slot"], 2 * parameters["slots"] + random.randint(-2, 1))),
        "worker": random.choice(
            (
                before.fields["worker"],
                (parameters["base"] + random.randint(-1, parameters["workers"] + 1)) % 2**8,
            )
        ),
        "job": chunk >> 32 & 0xFFFF,
    }
    if parameters["switches"]:  # the first numbers that are neither a host's nor a switch's
        hosts, switches = parameters["workers"] - parameters["switches"], parameters["switches"]
        strangers = parameters["base"] + hosts, parameters["first"] + switches
        fields["worker"] = random.choice((fields["worker"], *strangers))
    sequence = random.choice((0, *[chunk % 2**32] * 5))
    return Request(random.choice(MEMBERS), sequence, {**before.fields, **fields})


def _number(parameters: Parameters, contributor: int) -> int:
    """Return the number of a contributor: of the hosts, which come first, or of the switches."""
    hosts: int = parameters["workers"] - parameters["switches"]
    base: int = parameters["base"] if contributor < hosts else parameters["first"] - hosts
    return base + contributor


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    rank = parameters["rank"]
    dtype = np.int32 if parameters["number"] == "int32" else np.int16
    same = {name: parameters[name] for name in ("workers", "slots", "overflow", "operation")}
    pool = Pool(**same, dtype=dtype, top=rank < 0)
    nobody: int = parameters["workers"]
    contributors = {_number(parameters, each): each for each in range(nobody)}
    answers = []
    for each in requests:
        fields = each.fields
        given = pool.contribute(
            fields["slot"],
            contributors.get(fields["worker"], nobody),
            each.sequence,
            fields["flags"],
            np.array(fields["values"], dtype=dtype),
            fields["job"],
        )
        if given.values is None:
            answers.append(Answer(Verdict.DROP))
            continue
        changed = {"flags": given.flags, "epoch": EPOCH, "values": given.values.tolist()}
        answers.append(
            Answer(Verdict[given.verdict.upper()], {**fields, **changed} | ({} if rank < 0 else {"worker": rank}))
        )
    return answers


SUBJECT = Subject(
    primitive=Aggregate,
    parameters=(
        *({"workers": 3, "lanes": 2, "slots": 2, "overflow": each} for each in ("wrap", "saturate", "detect")),
        *({"workers": 3, "lanes": 1, "slots": 2, "operation": each} for each in ("min", "max", "and", "or", "xor")),
        *(
            {"workers": 3, "lanes": 2, "slots": 2, "number": "int16", "overflow": each}
            for each in ("saturate", "detect")
        ),
        {"workers": 2, "lanes": 1, "slots": 2, "number": "int16", "operation": "min", "overflow": "detect"},
        {"workers": 1, "lanes": 2, "slots": 3, "overflow": "wrap"},
        {"workers": 3, "lanes": 2, "slots": 2, "overflow": "detect", "base": 4, "rank": 2},
        {"workers": 2, "lanes": 1, "slots": 1, "overflow": "saturate", "base": 1, "rank": 0},
        {"workers": 3, "lanes": 1, "slots": 2, "base": 2, "switches": 1, "first": 7},
        {"workers": 3, "lanes": 1, "slots": 2, "switches": 2, "first": 3, "rank": 9},
    ),
    requests=_requests,
    oracle=_oracle,
    equivalent={
        "if self.base > 0: -> if self.base >= 0:": "to subtract 0 changes nothing",
        "if self.base > 0: -> if self.base > -1:": "to subtract 0 changes nothing",
        "if self.base > 0: -> if True:": "to subtract 0 changes nothing",
        "if self.overflow == 'detect': -> if True:": "a variable more, of which only `detect` makes use",
    },
)
