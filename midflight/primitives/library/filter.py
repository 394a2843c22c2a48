"""Filter: packets that do not satisfy a condition over their fields go no further."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from midflight.errors import KernelError
from midflight.primitives.kernel.header import Field, Layout
from midflight.primitives.kernel.predicate import Predicate
from midflight.primitives.kernel.types import Kind
from midflight.primitives.language import Packet, Primitive, int_

__all__ = ["Filter"]


class Filter(Primitive):
    """Forward the packets whose fields satisfy `keep`, drop the others, as selection does in a query plan.

    Parameters:
        keep: a condition of the kernel language over the header's fields, such as
            `temperature > 80 and status != 0`; arithmetic in it wraps at the fields' width
        fields: the header, name to type, in wire order; by default the names that `keep` mentions,
            in order of appearance, each `int_[32]`, or in a `Chain` as they are in the other primitives' headers

    No state. Follows the filtering of Cheetah (SIGMOD 2020), whose conditions are combined in a table; here
    the condition is straight-line code, so that any expression of the language is allowed.

    >>> telemetry = Filter("telemetry", keep="temperature > 80 and status != 0").reference()
    >>> telemetry.process(Message(REQUEST, "telemetry", 0, {"temperature": 81, "status": 1})).verdict.name
    'FORWARD'
    >>> telemetry.process(Message(REQUEST, "telemetry", 0, {"temperature": 80, "status": 1})).verdict.name
    'DROP'
    """

    FAMILY = "reduction"
    PAPER = "Cheetah: Tirmazi et al., SIGMOD 2020"
    OVERFLOW = "the condition's arithmetic wraps at the width of its fields"

    keep: str
    fields: Mapping[str, Kind] | None = None

    def validate(self) -> None:
        """Check the fields; the condition itself is checked when it is compiled, right here."""
        if not isinstance(self.keep, str):
            raise KernelError(f"{self.title}: keep is a text, such as 'temperature > 80', not {self.keep!r}")
        if self.fields is not None and not (
            isinstance(self.fields, Mapping) and all(isinstance(each, Kind) for each in self.fields.values())
        ):
            raise KernelError(f"{self.title}: fields is a dict of names to types, such as {{'status': bit[8]}}")

    def setup(self) -> None:
        """Parse the condition."""
        self.kept = Predicate(self.keep, f"{self.title} keep")

    def header(self) -> Layout:
        """Return the declared fields, or the condition's own."""
        fields = self.fields if self.fields is not None else dict.fromkeys(self.kept.names, int_[32])
        assumed = self.fields is None
        return Layout(tuple(Field(name, kind.fixed({}), assumed=assumed) for name, kind in fields.items()))

    def ingress(self, packet: Packet, wire: Any) -> None:
        """Ask the condition."""
        if self.kept(wire):
            packet.forward()
        else:
            packet.drop()
