"""Checks the entries in a table's declaration, and assigns their priorities."""

from __future__ import annotations

from collections.abc import Sequence

from midflight.errors import P4Error, Place
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4.check.context import Context, annotations_of
from midflight.p4.check.drafts import Draft
from midflight.p4.check.keysets import keyset
from midflight.p4.check.references import with_data
from midflight.p4.check.typing import constant_int
from midflight.p4.types import width_of
from midflight.stackless import Walk

__all__ = ["entries"]


def entries(ctx: Context, draft: Draft, table: d.Table) -> Walk[tuple[ir.TableEntry, ...]]:
    """Check a table's entries, after all of its other properties, and return them in source order.

    `draft` has the checked properties. Raises P4Error for entries of a table without a key, for a key that does not fit
    the match kind, for a duplicate key in a table without priorities, for an action that `with_data` refuses or that is
    @defaultonly, and for a priority that is missing in the first entry but not in others, given twice, or below 1.
    """
    assert draft.entries is not None
    if not draft.keys:
        raise P4Error(f"table {table.name} has entries but no key", place=draft.entries.place)
    nodes = draft.entries.entries
    ranked = any(key.kind in ("ternary", "range", "optional") for key in draft.keys)
    priorities: list[int] = (yield _priorities(ctx, nodes, draft)) if ranked else [0] * len(nodes)
    made: list[ir.TableEntry] = []
    for node, priority in zip(nodes, priorities, strict=True):
        kinds = [key.expression.type for key in draft.keys]
        keys: ir.Keyset = yield keyset(ctx, node.keyset, kinds, f"the key of {table.name}")
        keys = tuple(_fitted(each, key, node.place) for each, key in zip(keys, draft.keys, strict=True))
        action, arguments = yield with_data(ctx, node.action, draft, table)
        if action.default_only:
            raise P4Error(f"{node.action.name} is @defaultonly, so no entry can have it", place=node.action.place)
        const = node.const or draft.entries.const
        made.append(ir.TableEntry(keys, action, arguments, priority, const))
    if not ranked:
        _all_differ(made, nodes)
    return tuple(made)


def _priorities(ctx: Context, nodes: Sequence[d.Entry], draft: Draft) -> Walk[list[int]]:
    """Return the entries' priorities, of which the largest wins, as P4_16, section 14.2.1.4, assigns them."""
    delta = draft.priority_delta
    if any("priority" in annotations_of(each.annotations) for each in nodes):
        return _annotated(ctx, nodes)
    if nodes and nodes[0].priority is None and any(each.priority is not None for each in nodes):
        hint = "Later entries may omit it and continue from the previous one."
        raise P4Error("the first entry needs a priority, since others have one", place=nodes[0].place, hint=hint)
    result: list[int] = []
    for node in nodes:
        if node.priority is not None:
            number: int = yield constant_int(ctx, node.priority, "a priority")
            if number < 1:
                raise P4Error("a priority must be positive", place=node.priority.place)
        elif not result:
            number = (len(nodes) - 1) * delta + 1 if draft.largest_wins else 1
        else:
            number = result[-1] - delta if draft.largest_wins else result[-1] + delta
        if number < 1:
            raise P4Error(f"this entry's priority would be {number}", place=node.place, hint="Give it one.")
        result.append(number)
    if draft.largest_wins:
        return result
    return [max(result) + 1 - each for each in result]


def _annotated(ctx: Context, nodes: Sequence[d.Entry]) -> list[int]:
    """Return the priorities of entries where some have p4c's `@priority`, with p4c's meaning for BMv2.

    There, the smallest number wins. An entry without the annotation takes its position in the list, from 1. Of two
    entries with the same number, the first wins.
    """
    ranks: list[tuple[int, int]] = []
    for i, node in enumerate(nodes):
        given = next((each for each in node.annotations if each.name == "priority"), None)
        if given is None:
            ranks.append((i + 1, i))
            continue
        if node.priority is not None:
            raise P4Error("this entry has two priorities", place=given.place, hint="Remove @priority.")
        if not given.body.isdecimal():
            raise P4Error("@priority takes a number", place=given.place, hint="Write it like @priority(3).")
        ctx.state.warn("@priority is not part of P4_16: only BMv2 and the embedded switch support it", given.place)
        ranks.append((int(given.body), i))
    places = {rank: number for number, rank in enumerate(sorted(ranks, reverse=True), 1)}
    return [places[each] for each in ranks]


def _fitted(key: ir.EntryKey, field_: ir.Key, place: Place) -> ir.EntryKey:
    """Return one key field of an entry in the form of its match kind. Raises P4Error where it does not fit."""
    width = width_of(field_.expression.type) if field_.kind in ("lpm", "ternary") else 0
    full = (1 << width) - 1
    match field_.kind:
        case "exact" if key.mask is not None or key.high is not None or key.value is None:
            raise P4Error(f"{field_.name} is matched exactly: it needs one value", place=place)
        case "optional" if key.mask is not None or key.high is not None:
            raise P4Error(f"{field_.name} is optional: it needs one value, or _", place=place)
        case "lpm" | "ternary":
            if key.high is not None:
                raise P4Error(f"{field_.name} is matched by {field_.kind}: it takes no range", place=place)
            if key.value is None:
                return key
            mask = full if key.mask is None else key.mask
            if field_.kind == "lpm" and (inverse := mask ^ full) & (inverse + 1):
                raise P4Error(f"{mask:#x} is not the mask of a prefix", place=place)
            return ir.EntryKey(key.value, mask=mask)
        case "range":
            if key.mask is not None:
                raise P4Error(f"{field_.name} is matched by range: it takes no mask", place=place)
            return key if key.value is None or key.high is not None else ir.EntryKey(key.value, high=key.value)
    return key


def _all_differ(entries: Sequence[ir.TableEntry], nodes: Sequence[d.Entry]) -> None:
    seen: dict[ir.Keyset, Place] = {}
    for entry, node in zip(entries, nodes, strict=True):
        if entry.keys in seen:
            raise P4Error("duplicate key", place=node.place, hint=f"See {seen[entry.keys]}.")
        seen[entry.keys] = node.place
