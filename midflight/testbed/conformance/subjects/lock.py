"""The conformance subject of `Lock`: parameters to try, random requests, and its oracle's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from midflight.primitives import Lock, Verdict
from midflight.primitives.oracles.lock import Queue
from midflight.testbed.conformance.network import EPOCH, MEMBERS
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject

__all__ = ["SUBJECT"]

STATUS = {"waiting": Lock.WAITING, "granted": Lock.GRANTED, "released": Lock.RELEASED, "handed": Lock.HANDED}


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    """Yield requests and releases of clients in turn, repeated and late; some break the contract, some are invalid."""
    locks, clients = parameters["locks"], parameters["clients"]
    latest = {
        (lock, client): random.choice((1, 1, 2**31 - 2, 2**32 - 4))
        for lock in range(locks)
        for client in range(clients)
    }
    asked: set[tuple[int, int]] = set()
    releases = random.choice((0.2, 0.5, 0.8))
    exclusive = random.choice((0.0, 0.2, 0.5, 0.9))
    sent: list[Request] = []
    for _ in range(random.randint(10, 40)):
        what = random.random()
        if sent and what < 0.2:
            yield random.choice(sent[-8:])
            continue
        give = bool(asked) and random.random() < releases
        lock, client = random.choice(
            sorted(asked) if give else [each for each in latest if each not in asked] or [*latest]
        )
        asked ^= {(lock, client)}
        latest[lock, client] = (latest[lock, client] + 1) % 2**32 or 1
        wish = Lock.RELEASE if give else Lock.EXCLUSIVE if random.random() < exclusive else Lock.SHARED
        number, epoch = latest[lock, client], EPOCH
        if what > 0.88:
            wish = random.choice((wish, Lock.RELEASE, Lock.SHARED - 1, Lock.RELEASE + 1))
            lock, client = random.choice(((lock, client), (locks, client), (lock, clients), (2**16 - 1, 0)))
            number = (
                random.choice((0, number, number, number + 2**31 - 2, number + 2**31 - 1, number + 2**31, number - 1))
                % 2**32
            )
            epoch = random.choice((EPOCH, EPOCH - 1, EPOCH + 1))
        fields = {
            "lock": lock,
            "client": client,
            "wish": wish,
            "status": 9,
            "epoch": epoch,
            "ticket": 7,
            "granted": 3,
        }
        sent.append(Request(random.choice(MEMBERS), number, fields))
        yield sent[-1]


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    queues = [Queue(parameters["depth"]) for _ in range(parameters["locks"])]
    return [_answer(queues, parameters["clients"], each) for each in requests]


def _answer(queues: list[Queue], clients: int, request: Request) -> Answer:
    lock, client, wish = (request.fields[name] for name in ("lock", "client", "wish"))
    if (
        lock >= len(queues)
        or client >= clients
        or request.sequence == 0
        or wish not in (Lock.SHARED, Lock.EXCLUSIVE, Lock.RELEASE)
    ):
        return Answer(Verdict.DROP)
    fields = {**request.fields, "epoch": EPOCH}
    if wish == Lock.RELEASE and request.fields["epoch"] != EPOCH:
        return Answer(Verdict.REPLY, {**fields, "status": Lock.LOST})
    if wish == Lock.RELEASE:
        answer = queues[lock].release(client, request.sequence)
    else:
        answer = queues[lock].ask(client, request.sequence, wish == Lock.EXCLUSIVE)
    if answer is None:
        return Answer(Verdict.DROP)
    verdict = Verdict.MULTICAST if answer.to_all else Verdict.FALLBACK if answer.status == "handed" else Verdict.REPLY
    return Answer(
        verdict, {**fields, "status": STATUS[answer.status], "ticket": answer.ticket, "granted": answer.granted}
    )


SUBJECT = Subject(
    primitive=Lock,
    parameters=(
        {"locks": 1, "clients": 8, "depth": 8},
        {"locks": 2, "clients": 4, "depth": 4},
        {"locks": 1, "clients": 5, "depth": 2},
    ),
    requests=_requests,
    oracle=_oracle,
    equivalent={
        "int_[32](wire.granted - wire.ticket) -> int_[31](wire.granted - wire.ticket)": (
            "nobody draws 2**30 tickets in a trace"
        ),
        "self.exclusive.update -> self.exclusive.update_fetch": (
            "nothing depends on the mark of the request that enters or leaves: who enters waits unless the queue is "
            "empty or all share, and who leaves is not among those that are next"
        ),
    },
)
