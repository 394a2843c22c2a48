"""The conformance subject of `Learner`: parameters to try, random requests, and its oracle's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from midflight.primitives import Acceptor, Learner, Verdict, bit
from midflight.primitives.oracles.learner import Counter
from midflight.testbed.conformance.network import EPOCH, MEMBERS, SERVER
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject, number

__all__ = ["SUBJECT"]


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    """Yield acceptances in few ballots: repeated, late, in instances long over, in other phases, of unknown senders."""
    entries, acceptors = parameters["instances"], parameters["acceptors"]
    instance = random.choice((1, 2**31 - 1, 2**32 - 2))
    ballot = random.choice((1, 2**31 - 2, 2**32 - 6))
    sent: list[Request] = []
    for _ in range(random.randint(10, 40)):
        what = random.random()
        if sent and what < 0.15:
            yield random.choice(sent)
            continue
        instance = (instance + random.choice((1, entries))) % 2**32 if what > 0.92 else instance
        ballot = min(ballot + 1, 2**32 - 1) if random.random() < 0.1 else ballot
        which, acceptor = (instance - random.choice((0, 0, 0, 0, 1))) % 2**32, random.randrange(acceptors)
        mine, phase = max(1, ballot - random.choice((0, 0, 0, 0, 1))), Acceptor.ACCEPTED
        if random.random() < 0.15:
            phase = random.choice((phase, phase, Acceptor.ACCEPT, Acceptor.PROMISE, Acceptor.REFUSED))
            mine, acceptor = random.choice((mine, mine, 0)), random.choice((acceptor, acceptors, 255))
            far = random.choice((2**31 - entries, 2**31, 2**31 + entries, -entries))
            which = random.choice((0, which, which + far, which + far)) % 2**32
        fields = {
            "phase": phase,
            "acceptor": acceptor,
            "epoch": random.randint(0, 9),
            "ballot": mine,
            "voted": mine,
            "value": number(random, bit[parameters["width"]]),
        }
        sent.append(Request(random.choice((*MEMBERS, SERVER)), which, fields))
        yield sent[-1]


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    counter = Counter(parameters["acceptors"], parameters["instances"])
    answers = []
    for each in requests:
        fields = each.fields
        if fields["phase"] != Acceptor.ACCEPTED:
            answers.append(Answer(Verdict.FORWARD, fields))
            continue
        answer = counter.accepted(each.sequence, fields["acceptor"], fields["ballot"], fields["value"])
        if answer is None:
            answers.append(Answer(Verdict.DROP))
            continue
        changed = {**fields, "phase": Learner.CHOSEN, "epoch": EPOCH, "value": answer.value}
        answers.append(Answer(Verdict.MULTICAST if answer.to_all else Verdict.REPLY, changed))
    return answers


SUBJECT = Subject(
    primitive=Learner,
    parameters=(
        {"acceptors": 3, "instances": 2, "width": 64},
        {"acceptors": 5, "instances": 1, "width": 13},
        {"acceptors": 4, "instances": 4, "width": 32},
        {"acceptors": 1, "instances": 2, "width": 128},
    ),
    requests=_requests,
    oracle=_oracle,
)
