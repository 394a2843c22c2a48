"""Changes of a map, and its description, as JSON values with entries as text: see `maptext`."""

from __future__ import annotations

from collections.abc import Sequence

from midflight.errors import KernelError, MidflightError
from midflight.primitives import Map
from midflight.primitives.kernel.map import Key
from midflight.runtime.controller.maps import ControlledMap
from midflight.runtime.controller.maptext import parse_entry, parse_key, spell_entry
from midflight.runtime.controller.service.wire import Json

__all__ = ["amend", "map_document"]


def amend(
    it: ControlledMap,
    put: Sequence[str],
    delete: Sequence[str],
    *,
    clear: bool = False,
    places: Sequence[str] = (),
) -> str:
    """Delete entries of a map and put others, all or none; with `clear`, all others are deleted. Return what changed.

    `places` are where the texts in `put` are written, such as "cached.txt:3", for error messages; empty or left out if
    that is the command line. KernelError if a text is not an entry or key of the map, if two entries have the same key,
    or if the map is full; MidflightError if an entry to delete is missing; DeviceError if the switch refuses.
    """
    shape = it.shape
    entries = _entries(shape, put, places)
    keys = {parse_key(shape, each): each for each in delete}
    here = {shape.key(each.parts) for each in it.entries}
    missing = [text for key, text in keys.items() if key not in here]
    if missing:
        raise MidflightError(f"the map has no entry {missing[0]!r}")
    kept = {key for key, _, _ in entries}
    gone = [shape.key(each.parts) for each in it.entries] if clear else list(keys)
    gone = [key for key in gone if key in keys or key not in kept]
    it.amend(entries, gone)
    return f"{len(entries)} set, {len(gone)} deleted"


def _entries(shape: Map, put: Sequence[str], places: Sequence[str]) -> list[tuple[Key, int, int]]:
    """Return the key, value and priority of each text.

    KernelError, with its place, if one is not an entry of the map or has the key of an earlier one.
    """
    found: dict[Key, tuple[Key, int, int]] = {}
    for text, place in zip(put, [*places, *[""] * len(put)], strict=False):
        try:
            key, value, priority = parse_entry(shape, text)
            if key in found:
                raise KernelError(
                    f"the key {text.partition('=')[0].strip()!r} is named twice", hint="name each key once"
                )
        except KernelError as error:
            if not place:
                raise
            raise KernelError(f"{place}: {error.message}", hint=error.hint) from None
        found[key] = key, value, priority
    return [*found.values()]


def map_document(name: str, it: ControlledMap) -> Json:
    """Return the description of a map: name, types of the key's parts and of the value, size and entries."""
    shape = it.shape
    return {
        "name": name,
        "key": [f"{kind} {how}" for kind, how in zip(shape.keys, shape.match, strict=True)],
        "value": str(shape.kind),
        "size": shape.size,
        "entries": [spell_entry(shape, each) for each in it.entries],
    }
