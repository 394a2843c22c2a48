"""A program with a tap: its ports are accessible through the controller's port, by packet-out and packet-in.

This serves switches whose ports cannot be reached. A packet-out whose port has the highest bit set enters as if it
arrived by that port. A packet that would leave by a port goes to the controller instead, with the port in the
packet-in. Everything else in the program is unchanged.
"""

from __future__ import annotations

from midflight.errors import MidflightError

__all__ = ["FROM_PORT", "SESSION", "tapped"]

FROM_PORT = 0x8000
"""Combined with a port in the `egress_port` of a packet-out: the packet enters by that port."""

SESSION = 510
"""The clone session that copies to the controller's port."""

_CHANGES = {
    "struct metadata_t {\n": """\
struct metadata_t {
    @field_list(1)
    bit<9> left_by;  // the tap's: the port that a packet would have left by
""",
    "        if (hdr.packet_out.isValid()) {\n": f"""\
        if (hdr.packet_out.isValid() && hdr.packet_out.egress_port >= {FROM_PORT:#x}) {{
            // The tap's: in by that port.
            standard_metadata.ingress_port = (bit<9>)hdr.packet_out.egress_port;
            hdr.packet_out.setInvalid();
        }}
        if (hdr.packet_out.isValid()) {{
""",
    "        if (standard_metadata.egress_port == CPU_PORT) {\n": f"""\
        if (standard_metadata.egress_port != CPU_PORT) {{
            // The tap's: a copy to the controller instead of the packet.
            meta.left_by = standard_metadata.egress_port;
            clone_preserving_field_list(CloneType.E2E, {SESSION}, 1);
            mark_to_drop(standard_metadata);
        }}
        if (standard_metadata.egress_port == CPU_PORT) {{
""",
    "            hdr.packet_in.ingress_port = (bit<16>)standard_metadata.ingress_port;\n": """\
            hdr.packet_in.ingress_port = (bit<16>)standard_metadata.ingress_port;
            if (standard_metadata.instance_type == 2) {  // the tap's: a clone made in egress
                hdr.packet_in.ingress_port = (bit<16>)meta.left_by;
            }
""",
}


def tapped(p4: str) -> str:
    """Return a program's P4 text with a tap: code that lets packets enter and leave ports by packet-out and packet-in.

    `p4` is a program that Midflight generated. MidflightError if the tap cannot be inserted.
    """
    for old, new in _CHANGES.items():
        if p4.count(old) != 1:
            raise MidflightError(
                f"this program has no place for a tap: it does not contain {old.strip().splitlines()[0]!r}"
            )
        p4 = p4.replace(old, new)
    return p4
