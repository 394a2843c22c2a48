"""P4Info for servers that know no signed numbers in structs, as PI's, which is BMv2's, does not."""

from __future__ import annotations

from finsy.proto import p4i

__all__ = ["without_signs"]


def without_signs(info: p4i.P4Info) -> p4i.P4Info:
    """Return a P4Info whose structs have `bit<W>` for every `int<W>`: values travel as the same patterns."""
    plain = p4i.P4Info()
    plain.CopyFrom(info)
    for struct in plain.type_info.structs.values():
        for member in struct.members:
            bits = member.type_spec.bitstring
            if member.type_spec.HasField("bitstring") and bits.HasField("int"):
                bits.bit.bitwidth = bits.int.bitwidth
    return plain
