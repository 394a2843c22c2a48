"""Value sets of parsers (P4Runtime specification 1.5, section 9.7)."""

from __future__ import annotations

from collections.abc import Iterator

from finsy.proto import p4r

from midflight.runtime.engine import Entry, TableError
from midflight.runtime.engine.tables import Table
from midflight.runtime.p4runtime.server.binding import BoundTable
from midflight.runtime.p4runtime.server.change import Change, refusal_of
from midflight.runtime.p4runtime.server.pipeline import Pipeline
from midflight.runtime.p4runtime.server.tables import decode_keys, encode_entry
from midflight.runtime.p4runtime.status import Code, Refusal

__all__ = ["read", "write"]


def write(pipeline: Pipeline, message: p4r.ValueSetEntry) -> Change:
    """Return the change that replaces all members of a value set.

    Refusal if a member is invalid or occurs twice, and with RESOURCE_EXHAUSTED if there are more than the set's size.
    """
    bound = _bound(pipeline, message.value_set_id)
    priority = 1 if bound.needs_priority else 0
    wanted = [Entry(decode_keys(bound, list(each.match)), "found", (), priority) for each in message.members]
    yield
    held = pipeline.engine.value_sets[bound.name]
    before = held.entries()
    try:
        _replace(held, wanted)
    except TableError as error:
        _replace(held, before)
        refusal = refusal_of(error)
        code = Code.INVALID_ARGUMENT if refusal.code == Code.ALREADY_EXISTS else refusal.code
        raise Refusal(code, error.message) from None
    return lambda: _replace(held, before)


def read(pipeline: Pipeline, message: p4r.ValueSetEntry) -> Iterator[p4r.ValueSetEntry]:
    """Yield a value set with its members, or all value sets for id 0. Refusal for an unknown id."""
    numbers = [message.value_set_id] if message.value_set_id else list(pipeline.value_sets)
    for number in numbers:
        bound = _bound(pipeline, number)
        answer = p4r.ValueSetEntry(value_set_id=number)
        for entry in pipeline.engine.value_sets[bound.name].entries():
            answer.members.add(match=encode_entry(bound, entry).match)
        yield answer


def _bound(pipeline: Pipeline, number: int) -> BoundTable:
    pipeline.schema.value_sets.of_id(number)
    return pipeline.value_sets[number]


def _replace(held: Table, members: list[Entry]) -> None:
    for each in held.entries():
        held.delete(each.keys, each.priority)
    for each in members:
        held.insert(each)
