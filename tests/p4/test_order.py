"""What runs, how often and in which order: left to right, each part once (P4_16 sections 8.1 and 6.8)."""

from __future__ import annotations

from midflight.runtime.engine import Engine, Packets
from tests.p4.skeleton import program


def test_a_lookahead_whose_value_nobody_wants_can_still_find_the_packet_too_short() -> None:
    made = program(
        state="packet.lookahead<label_t>();",
        apply="""
            standard_metadata.egress_spec = 1;
            if (standard_metadata.parser_error == error.PacketTooShort) { standard_metadata.egress_spec = 2; }
        """,
    )
    packets = [(0, bytes(14)), (0, bytes(17)), (0, bytes(18)), (0, bytes(30))]
    assert [port for port, _ in Engine(made).process(Packets.from_list(packets))] == [2, 2, 1, 1]
