"""The conformance subject of `Cache`: parameters to try, random requests, and its oracle's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from midflight.primitives import Cache, Verdict, bit
from midflight.primitives.oracles.cache import Store
from midflight.testbed.conformance.case import Write
from midflight.testbed.conformance.network import MEMBERS, SERVER
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject, number

__all__ = ["SUBJECT"]

STATUS = {"hit": Cache.HIT, "miss": Cache.MISS, "invalid": Cache.INVALID, "stored": Cache.STORED, "older": Cache.OLDER}

OPERATIONS = (*[Cache.GET] * 6, *[Cache.UPDATE] * 4, Cache.REMOVE, Cache.PUT, Cache.PUT, Cache.DELETE)


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    """Yield reads, writes and deletions of few keys, updates in and out of order, and unknown operations.

    Now and then the controller takes a key out of the cache, or puts it where it was.
    """
    largest = 2 ** parameters["item_bits"] - 1
    items = [*parameters["keys"], 0, 0, 9, largest, random.randint(0, largest)]
    version = random.choice((1, 2**31 - 1, 2**32 - 3))
    often = random.choice(items)
    sent: list[Request] = []
    for sequence in range(random.randint(10, 40)):
        if sent and random.random() < 0.15:
            yield random.choice(sent)
            continue
        operation = random.choice(OPERATIONS)
        if random.random() < 0.05:
            operation = random.choice((0, Cache.REMOVE + 1, 255))
        version = (version + random.choice((0, 1, 1))) % 2**32
        which = (
            version
            if random.random() < 0.8
            else version + random.choice((-1, -2, 2**31 - 2, 2**31 - 1, 2**31, -version))
        )
        fields = {
            "operation": operation,
            "status": random.randint(0, 9),
            "hits": 99,
            "version": which % 2**32,
            "item": random.choice((often, *items)),
            "value": [number(random, bit[32]) for _ in range(parameters["lanes"])],
        }
        writes = []
        for entry, key in enumerate(parameters["keys"]):
            if random.random() < 0.04:
                writes.append(Write("cached", key, random.choice((None, entry))))
        sent.append(Request(random.choice((*MEMBERS, SERVER)), sequence, fields, tuple(writes)))
        yield sent[-1]


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    sizes = {name: parameters[name] for name in ("hot", "rows", "columns")}
    store = Store(parameters["keys"], bits=parameters["item_bits"], **sizes)
    answers = []
    for each in requests:
        for write in each.writes:
            assert isinstance(write.key, int)
            (store.part if write.value is None else store.rejoin)(write.key)
        answers.append(_answer(store, each))
    return answers


def _answer(store: Store, request: Request) -> Answer:
    fields = request.fields
    operation, item, version = fields["operation"], fields["item"], fields["version"]
    if operation == Cache.GET:
        answer = store.get(item)
    elif operation in (Cache.PUT, Cache.DELETE):
        answer = store.put(item)
    elif operation in (Cache.UPDATE, Cache.REMOVE) and version != 0:
        answer = store.update(item, version, tuple(fields["value"]), removed=operation == Cache.REMOVE)
    else:
        return Answer(Verdict.DROP)
    changed = {**fields, "status": STATUS[answer.status]}
    if answer.hits is not None:
        changed["hits"] = answer.hits
    if answer.held is not None:
        changed |= {"version": answer.held[0], "value": list(answer.held[1])}
    replied = answer.status == "hit" or operation in (Cache.UPDATE, Cache.REMOVE)
    return Answer(Verdict.REPLY if replied else Verdict.FORWARD, changed, ((item,),) if answer.hot else ())


SUBJECT = Subject(
    primitive=Cache,
    parameters=(
        {"entries": 3, "lanes": 2, "item_bits": 64, "hot": 3, "rows": 2, "columns": 5, "keys": [7, 2**63, 0]},
        {"entries": 2, "lanes": 1, "item_bits": 12, "hot": 2, "rows": 1, "columns": 4, "keys": [9]},
        {"entries": 1, "lanes": 3, "item_bits": 128, "hot": 1, "rows": 3, "columns": 3, "keys": [2**127]},
    ),
    requests=_requests,
    oracle=_oracle,
    equivalent={
        "self.cached.get(wire.item, 0) -> self.cached.get(wire.item, 1)": "the default is nobody's entry, and not used",
        "self.valid.update_fetch -> self.valid.update": "only reads look at it, and they do not change it",
    },
)
