"""Footprints of known programs: memory, entries, accesses, and chains of operations."""

from __future__ import annotations

import pytest

from midflight.p4.frontend import check
from midflight.primitives import Aggregate, Program, Threshold
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.footprint import Footprint, footprint
from midflight.runtime.placement import place
from tests.engine.build import source
from tests.primitives.more_kernels import Directory, Walk

SKELETON = """
#include <core.p4>
#include <v1model.p4>
header mine_t {{ bit<8> a; bit<8> b; bit<16> c; }}
struct headers_t {{ mine_t mine; }}
struct metadata_t {{ bit<8> x; bit<8> y; bit<8> z; bit<32> index; }}
parser parse(packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {{
    state start {{ packet.extract(hdr.mine); transition accept; }}
}}
control verify_checksums(inout headers_t hdr, inout metadata_t meta) {{ apply {{ }} }}
control mine_kernel(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {{
{locals}
    apply {{
{body}
    }}
}}
control ingress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {{
    action set(bit<8> x) {{ meta.x = x; }}
    action port(bit<9> port) {{ standard_metadata.egress_spec = port; }}
    table first {{ key = {{ hdr.mine.a : exact; }} actions = {{ set; NoAction; }} size = 64; }}
    table second {{ key = {{ hdr.mine.c : lpm; hdr.mine.b : exact; }} actions = {{ port; NoAction; }} size = 512; }}
    mine_kernel() mine;
    apply {{ first.apply(); mine.apply(hdr, meta, standard_metadata); second.apply(); }}
}}
control egress(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard_metadata) {{
    apply {{ }}
}}
control compute(inout headers_t hdr, inout metadata_t meta) {{ apply {{ }} }}
control deparse(packet_out packet, in headers_t hdr) {{ apply {{ packet.emit(hdr.mine); }} }}
V1Switch(parse(), verify_checksums(), ingress(), egress(), compute(), deparse()) main;
"""


def measure(declarations: str, body: str) -> Footprint:
    return footprint(check(SKELETON.format(locals=declarations, body=body)))


def stages(declarations: str, body: str) -> int:
    return measure(declarations, body).total.stages_on()


R, S = "register<bit<8>>(16) r;", "register<bit<8>>(16) s;"


def test_needs_are_shared_or_belong_to_an_application() -> None:
    found = measure(f"{R} register<bit<32>>(1000) wide;", "r.read(meta.y, 0); wide.write(0, 1);")
    assert list(found.applications) == ["mine"]
    mine = found.applications["mine"]
    assert mine.registers == {"ingress.mine.r": 128, "ingress.mine.wide": 32000}
    assert (mine.register_arrays, mine.register_bits, mine.register_width) == (2, 32128, 32)
    assert mine.header_bits == 32
    assert mine.tables == {}
    assert found.shared.tables == {"ingress.first": 64, "ingress.second": 512}
    assert (found.shared.table_entries, found.shared.key_bits) == (576, 24)
    assert found.shared.match_kinds == {"exact", "lpm"}
    assert found.shared.registers == {}
    total = found.total
    assert (total.register_bits, total.table_entries, total.header_bits) == (32128, 576, 32)
    assert total.externs >= {"register"}


@pytest.mark.parametrize(
    ("body", "count"),
    [
        ("r.read(meta.y, 0);", 1),
        ("r.read(meta.y, 0); r.write(0, meta.y + 1);", 1),
        ("r.read(meta.y, 0); r.read(meta.z, 1);", 2),
        ("r.write(0, 1); r.write(1, 2); r.write(2, 3);", 3),
        ("if (hdr.mine.a == 0) { r.read(meta.y, 0); } else { r.read(meta.y, 1); }", 1),
        ("if (hdr.mine.a == 0) { r.read(meta.y, 0); } r.read(meta.y, 1);", 2),
        # A packet that leaves the control does not reach later statements.
        ("if (hdr.mine.a == 0) { r.read(meta.y, 0); return; } r.read(meta.y, 1);", 1),
        ("if (hdr.mine.a == 0) { r.read(meta.y, 0); } else { exit; } r.read(meta.y, 1);", 2),
        ("if (hdr.mine.a == 0) { r.read(meta.y, 0); return; } else { exit; } r.read(meta.y, 1);", 1),
        ("if (hdr.mine.a == 0) { exit; } if (hdr.mine.b == 0) { r.read(meta.y, 0); exit; } r.read(meta.y, 1);", 1),
        ("", 0),
    ],
)
def test_accesses_are_those_of_the_worst_path(body: str, count: int) -> None:
    assert measure(R, body).total.most_accesses == count


def test_the_worst_of_many_paths_is_found() -> None:
    ways = "".join(f"if (hdr.mine.c == {i}) {{ r.read(meta.y, {i}); return; }} " for i in range(1100))
    assert measure(R, ways + "r.read(meta.y, 0); r.read(meta.z, 1);").total.most_accesses == 2
    nested = "if (hdr.mine.c != 0) { r.read(meta.y, 0); " * 1100 + "}" * 1100
    assert measure(R, nested).total.most_accesses == 1100


@pytest.mark.parametrize(
    ("body", "length"),
    [
        # Independent of everything else, so in the first stage, together with both tables.
        ("r.read(meta.y, 0);", 1),
        # A register indexed by what the first table set comes after it.
        ("r.read(meta.y, (bit<32>)meta.x);", 2),
        # The same register, read and written: one operation.
        ("r.read(meta.y, 0); r.write(0, meta.y + 1);", 1),
        # Registers that depend on each other, by index, by value and by condition.
        ("r.read(meta.y, 0); s.read(meta.z, (bit<32>)meta.y);", 2),
        ("r.read(meta.y, 0); s.write(0, meta.y);", 2),
        ("r.read(meta.y, 0); if (meta.y == 1) { s.write(0, 1); }", 2),
        ("r.read(meta.y, 0); if (meta.y == 1) { return; } s.write(0, 1);", 2),
        # Independent of each other.
        ("r.read(meta.y, 0); s.read(meta.z, 0);", 1),
        # A value that is overwritten by a constant has no dependencies.
        ("r.read(meta.y, 0); meta.y = 0; s.write((bit<32>)meta.y, 1);", 1),
        # A value depends on its condition, and on the previous value that may remain.
        ("r.read(meta.y, 0); if (meta.y == 1) { meta.z = 1; } else { meta.z = 0; } s.write((bit<32>)meta.z, 1);", 2),
        ("r.read(meta.y, 0); if (hdr.mine.a == 1) { meta.y = 0; } s.write((bit<32>)meta.y, 1);", 2),
        ("r.read(meta.y, 0); meta.index[7:0] = meta.y; meta.index[15:8] = 0; s.read(meta.z, meta.index);", 2),
        # The second table matches on a field that a register gave.
        ("r.read(hdr.mine.b, 0);", 2),
        ("r.read(meta.y, 0); hdr.mine.b = meta.y; r.write(0, 1);", 2),
        # Dropping a packet changes its destination, but not its ingress port.
        (
            "r.read(meta.y, 0); if (meta.y == 1) { mark_to_drop(standard_metadata); }"
            " s.read(meta.z, (bit<32>)standard_metadata.ingress_port); hdr.mine.b = meta.z;",
            2,
        ),
        # A dependency of a part of a field applies to the whole field.
        ("r.read(meta.y, 0); hdr.mine.c[7:0] = meta.y;", 2),
        # It depends on both: first -> r -> s -> second.
        ("r.read(meta.y, (bit<32>)meta.x); s.read(meta.z, (bit<32>)meta.y); hdr.mine.b = meta.z;", 4),
    ],
)
def test_stages_are_the_longest_chain_of_needs(body: str, length: int) -> None:
    assert stages(R + S, body) == length


@pytest.mark.parametrize(
    ("body", "length"),
    [
        # The value of one branch may remain; a value that all branches overwrite cannot.
        (
            "r.read(meta.y, 0); if (hdr.mine.a == 1) { meta.y = 0; } else { meta.y = 1; } s.write((bit<32>)meta.y, 1);",
            1,
        ),
        ("if (hdr.mine.a == 1) { r.read(meta.y, 0); } meta.y = 0; s.write((bit<32>)meta.y, 1);", 1),
        ("if (hdr.mine.a == 1) { r.read(meta.y, 0); } else { meta.y = 1; } s.write((bit<32>)meta.y, 1);", 2),
        # A header that is completely overwritten loses the dependencies of its fields.
        ("mine_t h; r.read(h.a, 0); h = hdr.mine; s.write((bit<32>)h.a, 1);", 1),
        ("mine_t h; r.read(h.a, 0); s.write((bit<32>)h.c, 1);", 1),
        ("mine_t h; r.read(h.a, 0); hdr.mine = h; s.write((bit<32>)hdr.mine.c, 1);", 2),
        ("mine_t h; if (hdr.mine.a == 1) { r.read(h.a, 0); } else { h = hdr.mine; } s.write((bit<32>)h.a, 1);", 2),
    ],
)
def test_dependencies_after_branches(body: str, length: int) -> None:
    inner = "action work() { } table third { key = { } actions = { work; } }"
    assert stages(R + S + inner, body) == length


def test_a_local_variable_of_an_action_has_the_dependencies_of_its_value() -> None:
    table = "action put() { bit<8> n; n = meta.y; meta.z = 1; } table t { actions = { put; } default_action = put(); }"
    assert stages(R + table, "r.read(meta.y, 0); t.apply();") == 2


def test_depending_on_a_hit_shares_the_stage_but_using_its_result_does_not() -> None:
    table = "action put() { meta.z = 1; } table t { key = { hdr.mine.b : exact; } actions = { put; NoAction; } }"
    assert stages(R + table, "if (t.apply().hit) { r.write(0, 1); }") == 1
    assert stages(R + table, "switch (t.apply().action_run) { put: { r.write(0, 1); } default: { } }") == 1
    assert stages(R + table, "t.apply(); r.write((bit<32>)meta.z, 1);") == 2


def test_a_table_whose_action_writes_shares_the_stage_of_the_table_that_decides_about_it() -> None:
    """Jose et al., NSDI 2015: a successor dependency does not take a stage of its own."""
    tables = (
        "action put(bit<8> n) { meta.z = n; } table t { key = { hdr.mine.a : exact; } actions = { put; NoAction; } }"
        "action add(bit<8> n) { meta.y = n; } table u { key = { hdr.mine.b : exact; } actions = { add; NoAction; } }"
    )
    assert stages(tables, "if (t.apply().hit) { u.apply(); }") == 1
    # Readers of what it writes are later than both tables, and so is a table that overwrites what the first one wrote.
    assert stages(R + tables, "if (t.apply().hit) { u.apply(); } r.write((bit<32>)meta.y, 1);") == 2
    assert stages(tables.replace("meta.y", "meta.z"), "if (t.apply().hit) { u.apply(); }") == 2
    assert stages(tables.replace("meta.y = n", "meta.y = meta.z"), "if (t.apply().hit) { u.apply(); }") == 2


def test_an_action_that_uses_a_result_is_in_a_later_stage() -> None:
    tables = """
    action add(bit<8> n) { meta.z = meta.z + n; }
    action put(bit<8> n) { meta.z = n; }
    table t { key = { hdr.mine.a : exact; } actions = { put; } }
    table u { key = { hdr.mine.b : exact; } actions = { add; } }
    """
    assert stages(tables, "t.apply(); u.apply();") == 2
    assert stages(tables.replace("meta.z = meta.z + n", "meta.y = n"), "t.apply(); u.apply();") == 1


def test_registers_with_cyclic_dependencies_cannot_be_ordered() -> None:
    found = measure(
        R + S, "r.read(meta.y, 0); s.read(meta.z, (bit<32>)meta.y); s.write(0, meta.y); r.write(0, meta.z);"
    )
    assert found.total.circles == (("ingress.mine.r", "ingress.mine.s"),)
    placement = place(found, {"asic": Capabilities(kind="asic", stages=12), "cpu": Capabilities(kind="cpu")})
    assert placement.explain().splitlines() == [
        "mine: cpu",
        "    not asic: ingress.mine.r and ingress.mine.s depend on each other, so no stage can be first",
    ]


@pytest.mark.parametrize("lanes", [1, 8, 32])
def test_the_footprint_of_real_primitives(lanes: int) -> None:
    program = Program(
        Aggregate("gradients", workers=4, lanes=lanes, slots=16), Threshold("pressure", above=900, clear=850)
    )
    found = footprint(check(program.p4()))
    gradients, pressure = found.applications["gradients"], found.applications["pressure"]
    # Twice 16 entries with job and sequence, workers seen, and a total per lane; the overflow flag only for `detect`.
    assert gradients.register_bits == 32 * (48 + 4 + 32 * lanes)
    assert gradients.register_arrays == 2 + lanes
    assert gradients.header_bits == 64 + 32 * lanes
    assert pressure.registers == {"ingress.pressure.armed": 1024}
    assert found.total.most_accesses == 1
    assert "digest" in pressure.externs
    assert "digest" not in gradients.externs
    assert not found.total.circles
    # admission -> membership -> held -> seen -> totals, with the routes in parallel, and as many lanes as fit a stage.
    assert found.total.stages_on() == 5
    assert found.total.stages_on({"register": 4}) == 4 + -(-lanes // 4)
    asic = Capabilities(kind="asic", stages=12, per_stage={"register": 4}, register_accesses=1)
    assert place(found, {"s1": asic}).on("s1") == ("gradients", "pressure")
    assert found.total.multicast
    short = Capabilities(kind="asic", stages=3, register_accesses=1)
    assert place(found, {"s1": short}).device_of("gradients") is None


def test_maps_and_recirculation_are_needs_of_the_application() -> None:
    program = Program(Directory("directory", room=100), Walk("walk"))
    found = footprint(check(program.p4()))
    directory, walk = found.applications["directory"], found.applications["walk"]
    assert directory.tables["ingress.directory.owner"] == 100
    assert directory.tables["ingress.directory.log2"] == 8
    assert directory.key_bits == 128
    assert {"exact", "lpm", "ternary", "range"} <= directory.match_kinds
    assert "recirculate_preserving_field_list" in walk.externs - directory.externs - found.shared.externs
    placed = place(found, {"asic": Capabilities(kind="asic", recirculation=False, clones=False, key_bits=64)})
    assert placed.decisions[0].refusals[0].reasons == ("needs 193 bits in one match key, has 64",)
    assert placed.decisions[1].refusals[0].reasons[1:] == ("cannot clone", "cannot recirculate")


def test_only_products_of_variables_count() -> None:
    assert measure("", "hdr.mine.a = meta.x * meta.y;").applications["mine"].products
    assert not measure("", "hdr.mine.a = meta.x * 3 + meta.y;").total.products


def test_a_control_may_get_a_header_and_a_field_of_it() -> None:
    program = source(
        types="header g_t { bit<8> y; }\ncontrol part(inout g_t g, inout bit<8> x) { apply { g.y = 1; x = x + 1; } }",
        headers="g_t g;",
        declarations="part() p;",
        ingress="p.apply(hdr.g, hdr.g.y);",
    )
    assert footprint(check(program)).total.header_bits == 16
