"""The traffic manager: unicast, drop, multicast, clones, resubmission and recirculation."""

from __future__ import annotations

import pytest

from midflight.errors import P4Error
from midflight.runtime.engine import Packets, Reason, TableError
from tests.engine.build import engine, run

# The first byte selects the action and the second the destination. Egress writes what it sees to the third.
HEADER = "bit<8> what; bit<8> where; bit<8> seen;"
GO = "std.egress_spec = (bit<9>)hdr.h.where;"


def test_unicast_goes_to_egress_spec_with_its_payload() -> None:
    switch = engine(header=HEADER, ingress=GO)
    assert run(switch, b"\0\5\0payload", b"\0\7\0") == [(5, b"\0\5\0payload"), (7, b"\0\7\0")]
    assert switch.stats.received == 2
    assert switch.stats.sent == 2


def test_packets_without_an_egress_port_go_to_port_0() -> None:
    assert run(engine(), b"\1") == [(0, b"\1")]


@pytest.mark.parametrize("where", ["ingress", "egress"])
def test_mark_to_drop_drops(where: str) -> None:
    body = "if (hdr.h.what == 1) { mark_to_drop(std); }"
    if where == "ingress":
        switch = engine(header=HEADER, ingress=GO + body)
    else:
        switch = engine(header=HEADER, ingress=GO, egress=body)
    assert [port for port, _ in run(switch, b"\0\1\0", b"\1\2\0", b"\0\3\0")] == [1, 3]
    assert switch.stats.dropped[where] == 1


def test_a_port_assigned_after_mark_to_drop_wins() -> None:
    switch = engine(header=HEADER, ingress="mark_to_drop(std);" + GO)
    assert run(switch, b"\0\4\0") == [(4, b"\0\4\0")]


def test_exit_leaves_the_control_but_not_the_switch() -> None:
    switch = engine(
        header=HEADER,
        declarations="action leave() { hdr.h.seen = 7; exit; }",
        ingress=GO + "if (hdr.h.what == 1) { leave(); } hdr.h.seen = 9;",
        egress="hdr.h.what = 3; if (hdr.h.seen == 7) { exit; } hdr.h.what = 4;",
    )
    assert run(switch, b"\1\1\0", b"\0\1\0") == [(1, b"\3\1\7"), (1, b"\4\1\x09")]


def test_multicast_copies_carry_ingress_state_and_their_instance() -> None:
    switch = engine(
        header=HEADER,
        metadata="bit<8> note;",
        ingress="std.mcast_grp = 5; meta.note = hdr.h.what + 1;",
        egress="""
            hdr.h.seen = (bit<8>)std.egress_rid;
            hdr.h.where = (bit<8>)std.egress_port;
            hdr.h.what = hdr.h.what + meta.note;
        """,
    )
    switch.multicast.set(5, [(3, 10), (4, 11), (3, 12)])
    assert run(switch, b"\1\0\0xy") == [(3, b"\3\3\x0axy"), (4, b"\3\4\x0bxy"), (3, b"\3\3\x0cxy")]
    assert switch.multicast.groups == {5: ((3, 10), (4, 11), (3, 12))}


def test_multicast_precedes_drop_and_unicast_but_mark_to_drop_clears_it() -> None:
    before = engine(header=HEADER, ingress="std.mcast_grp = 1; std.egress_spec = 511;")
    before.multicast.set(1, [(2, 0)])
    assert [port for port, _ in run(before, b"\0\0\0")] == [2]
    after = engine(header=HEADER, ingress="std.mcast_grp = 1; mark_to_drop(std);")
    after.multicast.set(1, [(2, 0)])
    assert run(after, b"\0\0\0") == []


def test_an_unknown_group_sends_nothing_and_is_counted() -> None:
    switch = engine(header=HEADER, ingress="std.mcast_grp = 9;")
    switch.multicast.set(9, [(1, 0)])
    assert len(run(switch, b"\0\0\0")) == 1
    switch.multicast.delete(9)
    assert run(switch, b"\0\0\0") == []
    assert switch.stats.dropped["replicas"] == 1


@pytest.mark.parametrize(
    ("group", "replicas"), [(0, []), (1 << 16, []), (1, [(512, 0)]), (1, [(-1, 0)]), (1, [(1, 1 << 16)])]
)
def test_invalid_groups_are_rejected(group: int, replicas: list[tuple[int, int]]) -> None:
    with pytest.raises(TableError) as caught:
        engine(ingress="std.mcast_grp = 1;").multicast.set(group, replicas)
    assert caught.value.reason is Reason.INVALID


def test_deleting_an_unknown_group_is_an_error() -> None:
    with pytest.raises(TableError) as caught:
        engine().multicast.delete(4)
    assert caught.value.reason is Reason.NOT_FOUND


CLONE = """
    hdr.h.what = 99; meta.kept = 5; meta.lost = 6;
    clone_preserving_field_list(CloneType.I2E, 3, 1);
""" + GO  # fmt: skip


def test_an_ingress_clone_is_the_original_packet_with_its_field_list() -> None:
    switch = engine(
        header=HEADER,
        types="const bit<8> FIRST = 1;",
        metadata="@field_list(FIRST, 7) bit<8> kept; @field_list(2) bit<8> lost;",
        ingress=CLONE,
        egress="if (std.instance_type == 1) { hdr.h.seen = meta.kept + 10 * meta.lost + (bit<8>)std.egress_rid; }",
    )
    switch.clones.set(3, [(7, 100), (8, 0)])
    assert run(switch, b"\1\2\0zz") == [(7, b"\1\2\x69zz"), (8, b"\1\2\5zz"), (2, b"\x63\2\0zz")]


def test_a_clone_to_an_unknown_session_does_not_affect_the_original() -> None:
    switch = engine(header=HEADER, metadata="@field_list(1) bit<8> kept; bit<8> lost;", ingress=CLONE)
    assert run(switch, b"\1\2\0") == [(2, b"\x63\2\0")]


def test_a_clone_survives_the_drop_of_its_original() -> None:
    switch = engine(header=HEADER, ingress="clone(CloneType.I2E, 1); mark_to_drop(std);")
    switch.clones.set(1, [(6, 0)])
    assert run(switch, b"\1\2\0") == [(6, b"\1\2\0")]


def test_an_egress_clone_has_the_headers_after_egress_and_passes_egress_again() -> None:
    switch = engine(
        header=HEADER,
        ingress=GO,
        egress="""
            if (std.instance_type == 2) { hdr.h.seen = 42; }
            else { hdr.h.what = hdr.h.what + 1; clone(CloneType.E2E, 4); }
        """,
    )
    switch.clones.set(4, [(9, 0)])
    assert run(switch, b"\1\2\0p") == [(2, b"\2\2\0p"), (9, b"\2\2\x2ap")]


def test_an_endless_chain_of_clones_is_stopped() -> None:
    switch = engine(header=HEADER, ingress=GO, egress="clone(CloneType.E2E, 4);")
    switch.clones.set(4, [(9, 0)])
    assert len(run(switch, b"\1\2\0")) == 257
    assert switch.stats.dropped["rounds"] == 1


def test_resubmit_starts_over_with_the_original_packet_and_the_fields_of_its_list() -> None:
    switch = engine(
        header=HEADER,
        metadata="@field_list(2) bit<8> rounds; bit<8> lost;",
        ingress="""
            hdr.h.what = hdr.h.what + 1;
            hdr.h.seen = meta.rounds + 100 * meta.lost;
            meta.rounds = meta.rounds + 1; meta.lost = 1;
            if (meta.rounds < 4) { resubmit_preserving_field_list(2); } else { std.egress_spec = 8; }
        """,
    )
    assert run(switch, b"\1\0\0rest") == [(8, b"\2\0\3rest")]


def test_recirculate_starts_over_with_the_deparsed_packet() -> None:
    switch = engine(
        header=HEADER,
        headers="h_t second;",
        metadata="@field_list(1) bit<8> rounds;",
        parser="state start { packet.extract(hdr.h); transition accept; }",
        deparser="packet.emit(hdr.second); packet.emit(hdr.h);",
        ingress="std.egress_spec = 3; hdr.h.what = hdr.h.what + 1;",
        egress="""
            meta.rounds = meta.rounds + 1;
            if (meta.rounds < 4) {
                hdr.second.setValid(); hdr.second.what = hdr.h.what; hdr.second.seen = meta.rounds;
                recirculate_preserving_field_list(1);
            }
        """,
    )
    assert run(switch, b"\0\0\0!") == [(3, b"\4\0\3" + b"\3\0\2" + b"\2\0\1" + b"\1\0\0!")]


def test_a_packet_with_too_many_rounds_is_dropped_and_counted() -> None:
    switch = engine(header=HEADER, ingress=GO, egress="recirculate_preserving_field_list(0);")
    assert run(switch, b"\1\2\0", b"\1\2\0") == []
    assert switch.stats.dropped["rounds"] == 2


def test_exponentially_growing_copies_are_bounded() -> None:
    switch = engine(
        header=HEADER, ingress="std.mcast_grp = 1;", egress="hdr.h.seen = 1; recirculate_preserving_field_list(0);"
    )
    switch.multicast.set(1, [(1, 0), (2, 0)])
    assert run(switch, b"\1\2\0") == []
    dropped = switch.stats.dropped
    assert dropped["queue"] > 0
    assert dropped["rounds"] > 0


def test_truncate_limits_the_sent_bytes() -> None:
    switch = engine(header=HEADER, ingress=GO + "if (hdr.h.what == 1) { truncate(4); }")
    assert run(switch, b"\1\2\0abcdef", b"\0\2\0abcdef", b"\1\2\0") == [
        (2, b"\1\2\0a"),
        (2, b"\0\2\0abcdef"),
        (2, b"\1\2\0"),
    ]


@pytest.mark.parametrize("egress", ["", "if (hdr.h.what == 3) { truncate(4); } else { truncate(6); }"])
def test_the_smallest_truncation_holds(egress: str) -> None:
    switch = engine(header=HEADER, ingress=GO + "truncate(7); truncate(5); truncate(9);", egress=egress)
    assert run(switch, b"\1\2\0abcdef", b"\3\2\0abcdef") == [(2, b"\1\2\0ab"), (2, b"\3\2\0a" + b"b" * (not egress))]


def test_output_beyond_the_initial_buffer_is_complete() -> None:
    switch = engine(header="bit<8> n;", ingress="std.mcast_grp = 1;", egress="hdr.h.n = (bit<8>)std.egress_rid;")
    switch.multicast.set(1, [(1, number % 256) for number in range(500)])
    packets = Packets.from_list([(1, bytes([0]) + bytes([source]) * 700) for source in range(40)])
    out = switch.process(packets)
    assert len(out) == 40 * 500
    assert [data for _, data in out] == [
        bytes([number % 256]) + bytes([source]) * 700 for source in range(40) for number in range(500)
    ]
    assert out.sources.tolist() == [source for source in range(40) for _ in range(500)]
    assert switch.stats.dropped["memory"] == 0


def test_time_and_ports_are_those_passed_in() -> None:
    switch = engine(
        header="bit<48> at; bit<16> port; bit<32> length; bit<48> later;",
        ingress="hdr.h.at = std.ingress_global_timestamp; hdr.h.port = (bit<16>)std.ingress_port; "
        "hdr.h.length = std.packet_length;",
        egress="hdr.h.later = std.egress_global_timestamp;",
    )
    ((_, data),) = run(switch, bytes(30), port=300, now=123456789)
    assert int.from_bytes(data[:6], "big") == 123456789
    assert int.from_bytes(data[12:18], "big") == 123456790
    assert int.from_bytes(data[6:8], "big") == 300
    assert int.from_bytes(data[8:12], "big") == 30


def test_packet_length_in_egress_includes_added_and_removed_headers() -> None:
    switch = engine(
        header="bit<8> what; bit<32> length;",
        types="header a_t { bit<32> a; }",
        headers="a_t a; a_t b;",
        parser="state start { packet.extract(hdr.h); packet.extract(hdr.a); transition accept; }",
        ingress="""
            if (hdr.h.what == 1) { hdr.a.setInvalid(); hdr.a.setInvalid(); }
            if (hdr.h.what == 2) { hdr.b.setValid(); hdr.b.setValid(); }
        """,
        egress="hdr.h.length = std.packet_length;",
    )
    out = run(switch, *(bytes([what]) + bytes(4) + b"aaaa" + b"xyz" for what in range(3)))
    assert [int.from_bytes(data[1:5], "big") for _, data in out] == [12, 8, 16]
    assert [len(data) for _, data in out] == [12, 8, 16]


@pytest.mark.parametrize("how", ["resubmit", "recirculate"])
def test_a_packet_in_another_round_has_port_0_and_its_instance_type(how: str) -> None:
    again = f"if (std.instance_type == 0) {{ {how}_preserving_field_list(0); }}"
    switch = engine(
        header="bit<8> port; bit<8> why;",
        ingress="hdr.h.port = (bit<8>)std.ingress_port; std.egress_spec = 5; hdr.h.why = (bit<8>)std.instance_type;"
        + (again if how == "resubmit" else ""),
        egress=again.replace("std.instance_type", "hdr.h.why") if how == "recirculate" else "",
    )
    assert run(switch, b"\0\0", port=9) == [(5, bytes([0, 6 if how == "resubmit" else 4]))]


def test_deprecated_calls_are_rejected_by_name() -> None:
    with pytest.raises(P4Error, match="clone3"):
        engine(ingress="clone3(CloneType.I2E, 1, { hdr.h.x });")
