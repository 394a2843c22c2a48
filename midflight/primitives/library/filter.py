"""Filter: drops packets whose fields do not satisfy a condition."""

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
            `temperature > 80 and status != 0`; its arithmetic wraps at the fields' width
        fields: the header as names and types, in wire order. By default, the names in `keep` in order of first
            appearance, with the types of other headers in a `Chain` or else `int_[32]`

    There is no state. Follows the filtering of Cheetah (SIGMOD 2020), which combines conditions in a table. Different
    here: the condition is straight-line code and may be any expression of the language.

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
        """Check parameters' types: KernelError if `keep` is not a string, or `fields` neither None nor a dict of types.

        The condition itself is checked when it is parsed and when the kernel is compiled.
        """
        if not isinstance(self.keep, str):
            raise KernelError(f"{self.title}: keep must be a string such as 'temperature > 80', not {self.keep!r}")
        if self.fields is not None and not (
            isinstance(self.fields, Mapping) and all(isinstance(each, Kind) for each in self.fields.values())
        ):
            raise KernelError(f"{self.title}: fields must be a dict from names to types, such as {{'status': bit[8]}}")

    def setup(self) -> None:
        """Parse the condition. KernelError if Python cannot parse it. There is no state."""
        self.kept = Predicate(self.keep, f"{self.title} keep")

    def header(self) -> Layout:
        """Return the layout of `fields`, or by default of the names in the condition, in order of first appearance.

        KernelError for a type without a fixed width.
        """
        fields = self.fields if self.fields is not None else dict.fromkeys(self.kept.names, int_[32])
        assumed = self.fields is None
        return Layout(tuple(Field(name, kind.fixed({}), assumed=assumed) for name, kind in fields.items()))

    def ingress(self, packet: Packet, wire: Any) -> None:
        """Forward the packet if the condition holds for its fields, otherwise drop it."""
        if self.kept(wire):
            packet.forward()
        else:
            packet.drop()
