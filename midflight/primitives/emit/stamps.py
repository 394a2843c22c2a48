"""Emits the stamps of egress: header fields that the switch fills in when a packet leaves."""

from __future__ import annotations

from collections.abc import Mapping

from midflight.primitives.emit.expressions import p4_type
from midflight.primitives.emit.names import spelled
from midflight.primitives.kernel.primitive import Primitive

__all__ = ["stamped", "stamping"]

_SOURCES: Mapping[str, str] = {
    "ingress_port": "ingress_port",
    "egress_port": "egress_port",
    "queue_depth": "deq_qdepth",
    "queue_delay": "deq_timedelta",
    "ingress_time": "ingress_global_timestamp",
    "egress_time": "egress_global_timestamp",
}
"""The field of standard_metadata for each stamp."""


def stamping(name: str, primitive: Primitive) -> str:
    """Return the statements of egress that stamp the packets of application `name`; empty if it stamps nothing."""
    if primitive.stamps() is None:
        return ""
    sources = {stamp: f"standard_metadata.{source}" for stamp, source in _SOURCES.items()}
    lines = ["        // What is only known here, at the hop that ingress has counted."]
    lines += [f"        if (meta.admitted && hdr.{name}.isValid()) {{", *stamped(name, primitive, sources), "        }"]
    return "\n".join(lines) + "\n"


def stamped(name: str, primitive: Primitive, sources: Mapping[str, str]) -> list[str]:
    """Return the lines that write the stamps of application `name`, at the hop that ingress has counted.

    `sources` are the expressions for the stamps. The primitive must stamp something.
    """
    found = primitive.stamps()
    assert found is not None
    count, fields = found
    by_name = {each.name: each for each in primitive.layout}
    lanes = min(by_name[each].count or 0 for each in fields)
    lines, start = [], "if"
    for lane in range(lanes):
        lines.append(f"            {start} (hdr.{name}.{spelled(count)} == {lane + 1}) {{")
        for field, stamp in fields.items():
            kind = p4_type(by_name[field].kind)
            lines.append(f"                hdr.{name}.{field}_{lane} = ({kind}){sources[stamp]};")
        start = "} else if"
    return [*lines, "            }"]
