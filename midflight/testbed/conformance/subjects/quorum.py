"""The conformance subject of `Quorum`: parameters to try, random requests, and its oracle's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from midflight.primitives import Quorum, Verdict
from midflight.primitives.oracles.quorum import Boxes
from midflight.testbed.conformance.network import EPOCH, MEMBERS
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject

__all__ = ["SUBJECT"]

STATUS = {name: getattr(Quorum, name.upper()) for name in ("reached", "late", "again", "crowded")}


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    """Yield votes for few values: repeated, changed, late, in votings long over, and of unknown voters."""
    slots, voters = parameters["slots"], parameters["voters"]
    number = random.choice((1, 2**31 - 2, 2**32 - 3, random.randint(1, 2**32 - 1)))
    favourites = random.sample((1, 2, 3, 2**64 - 1, 2**63), parameters["choices"] + 1)
    sent: list[Request] = []
    for _ in range(random.randint(10, 40)):
        what = random.random()
        if sent and what < 0.2:
            yield random.choice(sent)
            continue
        if what > 0.85:
            number = (number + random.choice((1, 1, slots))) % 2**32
        voting = (number - random.choice((0, 0, 0, 0, 1))) % 2**32
        voter = random.randrange(voters)
        value = random.choice((*favourites[:1] * 3, *favourites))
        if random.random() < 0.12:
            voting = (
                random.choice(
                    (0, voting, number + slots * 2**20, number + 2**31 - slots, number + 2**31, number - slots)
                )
                % 2**32
            )
            voter = random.choice((voter, voters, voters - 1, 255))
            value = random.choice((0, value))
        fields = {"voter": voter, "status": random.randint(0, 9), "epoch": 1, "value": value}
        request = Request(random.choice(MEMBERS), voting, fields)
        sent.append(request)
        yield request


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    boxes = Boxes(**{name: parameters[name] for name in ("voters", "needed", "slots", "choices")})
    answers = []
    for each in requests:
        answer = boxes.vote(each.sequence, each.fields["voter"], each.fields["value"])
        if answer is None:
            answers.append(Answer(Verdict.DROP))
            continue
        verdict = Verdict.MULTICAST if answer.status == "reached" else Verdict.REPLY
        if parameters["result"] == "forward" and answer.status != "crowded":
            verdict = Verdict.FORWARD
        changed = {"status": STATUS[answer.status], "epoch": EPOCH, "value": answer.value}
        answers.append(Answer(verdict, {**each.fields, **changed}))
    return answers


SUBJECT = Subject(
    primitive=Quorum,
    parameters=(
        {"voters": 3, "needed": 2, "slots": 2, "choices": 2},
        {"voters": 4, "needed": 2, "slots": 4, "choices": 1, "result": "forward"},
        {"voters": 5, "needed": 3, "slots": 1, "choices": 3},
        {"voters": 2, "needed": 1, "slots": 2, "choices": 2},
    ),
    requests=_requests,
    oracle=_oracle,
)
