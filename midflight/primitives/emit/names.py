"""Names that P4 or the emitted program reserves, and how names are spelled in the P4."""

from __future__ import annotations

__all__ = ["KEYWORDS", "PROGRAM", "TAKEN", "constant", "spelled"]

_KEYWORDS = """
abstract action actions apply bit bool break const continue control default else entries enum error exit extern
false for header header_union if in inout int list match_kind out package parser pragma priority return
select set state static string struct switch table this transition true tuple type typedef value_set varbit void _
register counter meter digest mark_to_drop hash random clone resubmit recirculate truncate log_msg assert assume
verify packet_in packet_out lookahead extract emit isValid setValid setInvalid
"""

_PROGRAM = """
ethernet ipv4 ipv6 udp midflight state packet_in packet_out headers metadata ingress egress route admission
admit admitted admitted_rate membership refused
to_port unreachable deliver to_host to_switch malformed unroutable dropped drop reply multicast parse verify_checksums
steering steering_control outer_ipv4 outer_ipv6 outer_udp inner_ipv4 inner_ipv6 tcp icmp
compute_checksums deparse again stop endless standard_metadata hdr meta NoAction V1Switch main core v1model
"""

KEYWORDS = frozenset(_KEYWORDS.split())
"""P4_16's keywords (specification, section 6.3.2), the architecture's functions, and names that tools stumble over."""

PROGRAM = frozenset(_PROGRAM.split())
"""The names that the common part of a program declares."""

_TAKEN = """
hdr meta standard_metadata packet digest key scramble FORWARD DROP REPLY MULTICAST FALLBACK RECIRCULATE
"""

TAKEN = frozenset(_TAKEN.split())
"""The names that a kernel's control refers to."""


def constant(application: str) -> str:
    """Return the name of the P4 constant with an application's id: `GRADIENTS_ID` for gradients."""
    return f"{application.upper()}_ID"


def spelled(field: str) -> str:
    """Return the P4 name of a header's field: a keyword gets a trailing `_`."""
    return f"{field}_" if field in KEYWORDS else field
