"""The conformance subject of `Sequencer`: parameters to try, random requests, and its oracle's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from midflight.primitives import Sequencer, Verdict
from midflight.primitives.oracles.sequencer import ExhaustedError, Group
from midflight.testbed.conformance.network import EPOCH, MEMBERS
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject

__all__ = ["SUBJECT"]


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    """Yield the requests of clients with retransmissions, late copies, and requests of unknown clients."""
    groups, clients = parameters["groups"], parameters["clients"]
    latest = {
        (group, client): random.choice((1, 2**31 - 2, 2**32 - 3))
        for group in range(groups)
        for client in range(clients)
    }
    sent: list[Request] = []
    for _ in range(random.randint(10, 40)):
        what = random.random()
        if sent and what < 0.25:
            yield random.choice(sent)
            continue
        group, client = random.choice(list(latest))
        if what > 0.6:
            latest[group, client] = (latest[group, client] + 1) % 2**32
        number = latest[group, client]
        if what > 0.9:
            group, client = random.choice(
                ((groups, 0), (0, clients), (groups - 1, clients), (2**16 - 1, 0), (group, client))
            )
            number = random.choice((0, number, number + 2**31 - 1, number + 2**31, number + 2**31 + 1)) % 2**32
        fields = {"group": group, "client": client, "session": 9, "stamp": random.randint(0, 3)}
        request = Request(random.choice(MEMBERS), number, fields)
        sent.append(request)
        yield request


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    groups = [Group(2 ** parameters["width"] - 1) for _ in range(parameters["groups"])]
    answers = []
    for each in requests:
        group, client = each.fields["group"], each.fields["client"]
        stamp = None
        alerts: tuple[tuple[int, ...], ...] = ()
        if group < len(groups) and client < parameters["clients"]:
            try:
                stamp = groups[group].stamp(client, each.sequence)
            except ExhaustedError:
                alerts = ((group,),)
        if stamp is None:
            answers.append(Answer(Verdict.DROP, None, alerts))
        else:
            answers.append(Answer(Verdict.MULTICAST, {**each.fields, "session": EPOCH, "stamp": stamp}))
    return answers


SUBJECT = Subject(
    primitive=Sequencer,
    parameters=(
        {"groups": 2, "clients": 3, "width": 32},
        {"groups": 1, "clients": 2, "width": 3},
        {"groups": 3, "clients": 1, "width": 2},
    ),
    requests=_requests,
    oracle=_oracle,
)
