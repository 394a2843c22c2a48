"""The conformance subject of `Acceptor`: parameters to try, random requests, and its oracle's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from midflight.primitives import Acceptor, Verdict, bit
from midflight.primitives.oracles.acceptor import Accepted, Forgotten, Promise, Refused, Voter
from midflight.testbed.conformance.network import EPOCH, MEMBERS
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject, number

__all__ = ["SUBJECT"]


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    """Yield both phases of competing proposers, retransmissions, instances long over, and invalid requests."""
    entries = parameters["instances"]
    instance = random.choice((1, 2**31 - 1, 2**32 - 2))
    ballot = random.choice((1, 1, 2**31 - 2, 2**32 - 6))
    sent: list[Request] = []
    for _ in range(random.randint(10, 40)):
        what = random.random()
        if sent and what < 0.2:
            yield random.choice(sent)
            continue
        if what > 0.9:
            instance = (instance + random.choice((1, entries))) % 2**32
        if random.random() < 0.3:
            ballot = min(ballot + 1, 2**32 - 1)
        which = (instance - random.choice((0, 0, 0, 1))) % 2**32
        phase, epoch, mine = (
            random.choice((Acceptor.PREPARE, Acceptor.ACCEPT, Acceptor.ACCEPT)),
            EPOCH,
            max(1, ballot - random.choice((0, 0, 0, 1, 2))),
        )
        if random.random() < 0.15:
            phase = random.choice(
                (phase, phase, Acceptor.PREPARE - 1, Acceptor.PROMISE, Acceptor.ACCEPTED, Acceptor.REFUSED)
            )
            epoch = random.choice((EPOCH, EPOCH, EPOCH - 1, EPOCH + 1))
            mine = random.choice((mine, mine, 0))
            far = random.choice((2**31 - entries, 2**31, 2**31 + entries, -entries))
            which = random.choice((0, which, which, which + far)) % 2**32
        fields = {
            "phase": phase,
            "acceptor": random.randint(0, 255),
            "epoch": epoch,
            "ballot": mine,
            "voted": random.randint(0, 3),
            "value": number(random, bit[parameters["width"]]),
        }
        sent.append(Request(random.choice(MEMBERS), which, fields))
        yield sent[-1]


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    voter = Voter(parameters["instances"])
    return [_answer(voter, each, parameters["number"]) for each in requests]


def _answer(voter: Voter, request: Request, acceptor: int) -> Answer:
    fields = {**request.fields, "acceptor": acceptor}
    phase, ballot = fields["phase"], fields["ballot"]
    if phase not in (Acceptor.PREPARE, Acceptor.ACCEPT) or ballot == 0 or request.sequence == 0:
        return Answer(Verdict.DROP)
    if fields["epoch"] != EPOCH:
        return Answer(Verdict.REPLY, {**fields, "phase": Acceptor.FORGOTTEN, "epoch": EPOCH})
    if phase == Acceptor.PREPARE:
        answer = voter.prepare(request.sequence, ballot)
    else:
        answer = voter.accept(request.sequence, ballot, fields["value"])
    match answer:
        case Promise(voted=voted, value=value):
            return Answer(Verdict.REPLY, {**fields, "phase": Acceptor.PROMISE, "voted": voted, "value": value})
        case Accepted():
            return Answer(Verdict.MULTICAST, {**fields, "phase": Acceptor.ACCEPTED, "voted": ballot})
        case Refused(ballot=larger):
            return Answer(Verdict.REPLY, {**fields, "phase": Acceptor.REFUSED, "ballot": larger})
        case Forgotten():
            return Answer(Verdict.REPLY, {**fields, "phase": Acceptor.FORGOTTEN})


SUBJECT = Subject(
    primitive=Acceptor,
    parameters=(
        {"number": 2, "instances": 2, "width": 64},
        {"number": 0, "instances": 1, "width": 13},
        {"number": 63, "instances": 4, "width": 128},
    ),
    requests=_requests,
    oracle=_oracle,
)
