"""The state of one packet in the pipeline: headers, metadata, and requests to the traffic manager."""

from __future__ import annotations

from collections.abc import Iterator

from midflight.errors import P4Error
from midflight.p4 import ir
from midflight.p4.types import StructType, Type
from midflight.runtime.engine.layout import Layout, align

__all__ = ["INTENTS", "STATE", "PacketState", "preserved_fields"]

STATE = 1 << 15
"""The limit for one packet's headers and metadata in this layout, in bytes. The stack holds several such states."""

INTENTS = ("clone", "clone_list", "resubmit", "recirculate", "truncate")
"""Requests of a control to the traffic manager, 32 bits each, 0 without a request.

`clone` is the session with bit 31 set, `clone_list` a field list, `resubmit` and `recirculate` a field list plus one,
and `truncate` a length in bytes plus one.
"""


class PacketState:
    """Offsets in bytes in the block of memory that parser, controls and deparser share for one packet.

    `headers`, `metadata` and `standard` are the parts that the program sees; `intents` are the requests in INTENTS.
    `length` (32 bits) is the packet's length on arrival in bytes, plus headers that a control added, minus those that
    it removed. `size` is that of the block. Raises P4Error if it exceeds `STATE` bytes.
    """

    def __init__(self, program: ir.Program, layout: Layout) -> None:
        self.headers = 0
        self.metadata = align(layout.size(program.headers), 8)
        self.standard = align(self.metadata + layout.size(program.metadata), 8)
        self.intents = align(self.standard + layout.size(program.standard_metadata), 8)
        self.length = self.intents + 4 * len(INTENTS)
        self.size = align(self.length + 4, 8)
        if self.size > STATE:
            raise P4Error(
                f"headers and metadata take {self.size} bytes per packet; the engine supports {STATE}",
                hint="Use smaller header stacks, or fewer or narrower fields.",
            )

    def intent(self, name: str) -> int:
        """Return the offset in bytes of a request to the traffic manager; `name` is one of INTENTS."""
        return self.intents + 4 * INTENTS.index(name)


def preserved_fields(kind: Type) -> Iterator[tuple[tuple[str, ...], Type, frozenset[int]]]:
    """Yield every field of a struct with a `@field_list` annotation: its path of names, type, and lists' numbers.

    `kind` is the type of the struct; nested structs are searched as well. Yields nothing for any other type.
    """
    if not isinstance(kind, StructType):
        return
    for field in kind.fields:
        text = field.annotations.get("field_list")
        if text is not None:
            yield (field.name,), field.type, frozenset(map(int, text.split(",") if text else ()))
        else:
            for path, inner, numbers in preserved_fields(field.type):
                yield (field.name, *path), inner, numbers
