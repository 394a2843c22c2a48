"""P4Info: ids by p4c's rule, names, annotations and types, compared with p4c's if it is installed."""

from __future__ import annotations

import pytest
from finsy.proto import p4i
from google.protobuf import text_format

from midflight.errors import P4Error
from midflight.p4.frontend import check
from midflight.p4.ids import name_hash
from midflight.p4.p4info import p4info, to_bytes, to_text
from tests.p4runtime.support import EVERYTHING


def changed(*pairs: tuple[str, str]) -> p4i.P4Info:
    source = EVERYTHING
    for old, new in pairs:
        assert old in source
        source = source.replace(old, new)
    return p4info(check(source))


def by_name(info: p4i.P4Info) -> dict[str, int]:
    parts = (info.tables, info.actions, info.counters, info.direct_counters, info.meters, info.registers, info.digests)
    return {each.preamble.name: each.preamble.id for part in parts for each in part}


def test_ids_are_a_type_and_a_hash() -> None:
    # The published test vectors of the one-at-a-time hash.
    assert name_hash("a") == 0xCA2E9442
    assert name_hash("The quick brown fox jumps over the lazy dog") == 0x519E91F5
    # These ids occur in p4c's P4Info.
    assert by_name(changed())["NoAction"] == 21257015


def test_ids_do_not_depend_on_their_neighbours() -> None:
    before, after = by_name(changed()), by_name(changed(("counter(8, CounterType.packets_and_bytes) arrivals;", """
        counter(8, CounterType.packets_and_bytes) arrivals;
        counter(8, CounterType.packets) more;""")))  # fmt: skip
    assert before.items() < after.items() or before == {key: after[key] for key in before}
    assert len(set(after.values())) == len(after)


def test_colliding_ids_increase_in_the_order_of_names() -> None:
    """Of two names whose hashes share 24 bits, the smaller one keeps the id of the hash."""
    seen: dict[int, str] = {}
    pair = None
    for number in range(100_000):
        name = f"r{number}"
        key = name_hash(f"ingress.{name}") & 0xFFFFFF
        if key in seen:
            pair = sorted([f"ingress.{name}", f"ingress.{seen[key]}"])
            break
        seen[key] = name
    assert pair is not None
    declared = "".join(f"register<bit<8>>(1) {name.removeprefix('ingress.')};\n" for name in reversed(pair))
    ids = by_name(changed(("register<bit<128>>(2) wide;", declared)))
    first, second = (ids[name] for name in pair)
    assert first == 0x16 << 24 | name_hash(pair[0]) & 0xFFFFFF
    assert second == 0x16 << 24 | (name_hash(pair[0]) + 1) & 0xFFFFFF


def test_an_id_annotation_is_honoured_with_its_prefix_or_without() -> None:
    ids = by_name(changed(("table route", "@id(0x1234) table route"), ("table acl", "@id(0x02001235) table acl")))
    assert (ids["ingress.route"], ids["ingress.acl"]) == (0x02001234, 0x02001235)


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([("table route", "@id(0x01001234) table route")], r"ingress\.route: the top byte"),
        ([("table route", "@id(5) table route"), ("table acl", "@id(5) table acl")], r"ingress\.acl is already taken"),
    ],
)
def test_invalid_id_annotations_are_rejected(pairs: list[tuple[str, str]], said: str) -> None:
    with pytest.raises(P4Error, match=said):
        changed(*pairs)


def test_ids_within_an_object_count_from_1_and_skip_annotated_ones() -> None:
    info = changed(
        ("action to_port(bit<9> port, bit<48> mac)", "action to_port(bit<9> port, @id(1) bit<48> mac)"),
        ("hdr.ipv4.protocol: optional;", "hdr.ipv4.protocol: optional @id(9);"),
    )
    action = next(each for each in info.actions if each.preamble.name == "ingress.to_port")
    assert [(each.name, each.id) for each in action.params] == [("port", 2), ("mac", 1)]
    acl = next(each for each in info.tables if each.preamble.name == "ingress.acl")
    assert [each.id for each in acl.match_fields] == [1, 9, 2, 3]


def test_a_name_annotation_sets_the_name() -> None:
    ids = by_name(changed(("table route", '@name("way") table route'), ("table acl", '@name(".rules") table acl')))
    assert {"ingress.way", "rules"} <= ids.keys()


def test_aliases_are_the_shortest_unique_suffixes() -> None:
    info = changed(("control ingress(", """
        control other(inout headers_t hdr, inout metadata_t meta) {
            register<bit<8>>(1) totals;
            apply { totals.write(0, 1); }
        }
        control ingress("""), ("fixed.apply();", "more.apply(hdr, meta); fixed.apply();"),
        ("register<bit<128>>(2) wide;", "other() more;"))  # fmt: skip
    aliases = {each.preamble.name: each.preamble.alias for each in info.registers}
    assert aliases == {
        "ingress.totals": "ingress.totals", "ingress.more.totals": "more.totals", "ingress.levels": "levels",
    }  # fmt: skip


def test_all_objects_are_described(info: p4i.P4Info) -> None:
    assert info.pkg_info.arch == "v1model"
    tables = {each.preamble.alias: each for each in info.tables}
    acl, fixed, route = (tables[name] for name in ("acl", "fixed", "route"))
    kinds = [(each.name, each.bitwidth, p4i.MatchField.MatchType.Name(each.match_type)) for each in acl.match_fields]
    assert kinds == [
        ("hdr.ipv4.source", 32, "TERNARY"),
        ("hdr.ipv4.protocol", 8, "OPTIONAL"),
        ("length", 16, "RANGE"),
        ("standard_metadata.ingress_port", 9, "EXACT"),
    ]
    assert (acl.size, route.size, fixed.size) == (4, 64, 1024)
    assert (fixed.is_const_table, fixed.has_initial_entries, route.is_const_table) == (True, True, False)
    ids = by_name(info)
    assert fixed.const_default_action_id == ids["NoAction"]
    assert (route.const_default_action_id, route.initial_default_action.action_id) == (0, ids["ingress.drop"])
    scopes = {each.id: p4i.ActionRef.Scope.Name(each.scope) for each in route.action_refs}
    assert scopes[ids["ingress.drop"]] == "DEFAULT_ONLY"
    assert scopes[ids["NoAction"]] == "TABLE_ONLY"
    assert list(route.direct_resource_ids) == [ids["ingress.routed"]]
    (direct,) = info.direct_counters
    assert (direct.direct_table_id, direct.spec.unit) == (ids["ingress.route"], p4i.CounterSpec.PACKETS)
    (counter,) = info.counters
    assert (counter.size, counter.spec.unit) == (8, p4i.CounterSpec.BOTH)
    registers = {each.preamble.alias: each for each in info.registers}
    assert registers["levels"].type_spec.bitstring.int.bitwidth == 16
    assert (registers["wide"].size, registers["wide"].type_spec.bitstring.bit.bitwidth) == (2, 128)
    headers = {each.preamble.name: each for each in info.controller_packet_metadata}
    assert {name: [(each.name, each.bitwidth) for each in header.metadata] for name, header in headers.items()} == {
        "packet_in": [("ingress_port", 16)], "packet_out": [("egress_port", 16)],
    }  # fmt: skip
    (digest,) = info.digests
    assert (digest.preamble.name, digest.type_spec.struct.name) == ("seen_t", "seen_t")
    assert [each.name for each in info.type_info.structs["seen_t"].members] == ["source", "ttl"]
    documented = next(each for each in info.actions if each.preamble.alias == "to_port")
    assert documented.preamble.doc.brief == "Send out of a port"


def test_the_text_form_is_equivalent_and_deterministic(info: p4i.P4Info) -> None:
    text = to_text(info)
    assert text_format.Parse(text, p4i.P4Info()) == info
    assert text.startswith("# proto-file: p4/config/v1/p4info.proto\n# proto-message: p4.config.v1.P4Info\n\n")
    assert to_text(changed()) == text
    assert to_bytes(changed()) == to_bytes(info)
