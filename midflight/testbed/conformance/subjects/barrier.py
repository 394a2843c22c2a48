"""The conformance subject of `Barrier`: parameters to try, random requests, and its oracle's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from midflight.primitives import Barrier, Verdict
from midflight.primitives.oracles.barrier import Gate
from midflight.testbed.conformance.network import EPOCH, MEMBERS
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject

__all__ = ["SUBJECT"]

VERDICTS = {"wait": Verdict.DROP, "release": Verdict.REPLY, "all": Verdict.MULTICAST}


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    """Yield arrivals of parties that go on when all have arrived, late copies, and arrivals of unknown parties."""
    parties, barriers = parameters["parties"], parameters["barriers"]
    rounds = [random.choice((1, 2**31 - 2, 2**32 - 3)) for _ in range(barriers)]
    arrived: list[set[int]] = [set() for _ in range(barriers)]
    sent: list[Request] = []
    for _ in range(random.randint(10, 40)):
        what = random.random()
        if sent and what < 0.2:
            yield random.choice(sent)
            continue
        barrier = random.randrange(barriers)
        missing = [each for each in range(parties) if each not in arrived[barrier]]
        party, number = random.choice(missing), rounds[barrier]
        if what > 0.9:
            party = random.choice((party, parties, parties - 1, 255))
            number = random.choice((0, number, number - 1, number + 2**31 - 1, number + 2**31, number + 2**31 + 1))
            where = random.choice((barrier, barrier, barriers, 2**16 - 1))
            yield _arrival(random, where, party, number % 2**32)
            continue
        arrived[barrier].add(party)
        if len(arrived[barrier]) == parties:
            rounds[barrier] = (number + 1) % 2**32 or 1
            arrived[barrier] = set()
        sent.append(_arrival(random, barrier, party, number))
        if random.random() < 0.95:
            yield sent[-1]


def _arrival(random: Random, barrier: int, party: int, number: int) -> Request:
    return Request(random.choice(MEMBERS), number, {"barrier": barrier, "party": party, "epoch": random.randint(0, 9)})


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    gates = [Gate(parameters["parties"]) for _ in range(parameters["barriers"])]
    answers = []
    for each in requests:
        barrier, party = each.fields["barrier"], each.fields["party"]
        what = gates[barrier].arrive(party, each.sequence) if barrier < len(gates) else "wait"
        fields = None if what == "wait" else {**each.fields, "epoch": EPOCH}
        answers.append(Answer(VERDICTS[what], fields))
    return answers


SUBJECT = Subject(
    primitive=Barrier,
    parameters=({"parties": 3, "barriers": 2}, {"parties": 2, "barriers": 1}, {"parties": 1, "barriers": 3}),
    requests=_requests,
    oracle=_oracle,
)
