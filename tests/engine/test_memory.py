"""Limits on the state of a packet, on the native stack, and on the memory for a program's state."""

from __future__ import annotations

import threading

import pytest

from midflight.errors import P4Error
from midflight.p4 import ir
from midflight.p4.frontend import check
from midflight.runtime.engine import Engine, Entry, Packets, Reason, TableError
from midflight.runtime.engine.memory import Budget, BudgetError, demand
from midflight.runtime.engine.packetstate import STATE

MIB = 1 << 20


def program(
    headers: str = "h_t h;", metadata: str = "", locals_: str = "", apply: str = "", types: str = "", parse: str = ""
) -> ir.Program:
    return check(f"""
#include <core.p4>
#include <v1model.p4>
header h_t {{ bit<8> a; bit<8> b; bit<48> c; }}
header w_t {{ bit<2048> w; }}
{types}
struct headers {{ {headers} }}
struct metadata {{ bit<32> x; {metadata} }}
parser parse(packet_in p, out headers hdr, inout metadata m, inout standard_metadata_t s) {{
    state start {{ {parse or "transition accept;"} }}
}}
control sums(inout headers hdr, inout metadata m) {{ apply {{}} }}
control ingress(inout headers hdr, inout metadata m, inout standard_metadata_t s) {{
    {locals_}
    apply {{ s.egress_spec = 1; {apply} }}
}}
control egress(inout headers hdr, inout metadata m, inout standard_metadata_t s) {{ apply {{}} }}
control compute(inout headers hdr, inout metadata m) {{ apply {{}} }}
control deparse(packet_out p, in headers hdr) {{ apply {{ p.emit(hdr); }} }}
V1Switch(parse(), sums(), ingress(), egress(), compute(), deparse()) main;
""")


MANY = "struct s_t { bit<2048> a; bit<2048> b; bit<2048> c; bit<2048> d; } struct t_t { s_t a; s_t b; s_t c; s_t d; }"


@pytest.mark.parametrize(
    ("headers", "metadata"),
    [
        ("h_t[20000] st;", ""),
        ("h_t h;", "h_t[4000] st;"),
        ("w_t[128] st;", ""),
        ("h_t h;", "t_t a; t_t b; t_t c; t_t d; t_t e; t_t f; t_t g; t_t h;"),
        ("h_t[1000] a; h_t[1000] b; h_t[1000] c;", ""),
        ("v_t[5] v;", ""),
    ],
)
def test_excessive_packet_state_is_rejected_before_code_is_generated(
    headers: str, metadata: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked = program(headers, metadata, types=MANY + "header v_t { varbit<65536> a; }")
    monkeypatch.setattr("midflight.runtime.engine.compiled.Native", None)
    with pytest.raises(P4Error, match=rf"the engine supports {STATE}"):
        Engine(checked)


@pytest.mark.parametrize("count", [200, 2000])
def test_variables_beyond_the_native_stack_are_rejected(count: int) -> None:
    locals_ = " ".join(f"t_t v{n};" for n in range(count))
    apply = " ".join(f"v{n}.a.a = 1;" for n in range(count))
    with pytest.raises(P4Error, match="variables and parameters together take more than"):
        Engine(program(locals_=locals_, apply=apply, types=MANY))


def test_the_largest_packet_state_runs_on_a_thread_with_the_default_stack() -> None:
    """Clones and packets in further rounds have copies of the state on the stack."""
    apply = "clone(CloneType.I2E, 32w5); if (m.x == 0 && s.instance_type == 0) { resubmit_preserving_field_list(0); }"
    room = (STATE - 1024) // 4096
    checked = program(metadata=" ".join(f"t_t m{n};" for n in range(room)), types=MANY, apply=apply)
    engine = Engine(checked)
    engine.clones.set(5, [(2, 0)])
    found: list[list[tuple[int, bytes]]] = []

    def run() -> None:
        found.append(list(engine.process(Packets.from_list([(3, bytes(range(60)))] * 20))))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert {data for _, data in found[0]} == {bytes(range(60))}


@pytest.mark.parametrize(
    ("kind", "size"),
    [
        ("register<bit<32>>({})", 4),
        ("register<bit<1>>({})", 1),
        ("register<bit<65>>({})", 16),
        ("register<int<2048>>({})", 256),
        ("counter({}, CounterType.packets_and_bytes)", 16),
        ("meter({}, MeterType.packets)", 128),
    ],
)
def test_arrays_must_fit_the_memory_limit(kind: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    base = demand(program(), 1 << 40)
    cells = MIB // size
    for count, fits in ((cells, True), (cells + 1, False), ((1 << 31) - 1, False)):
        checked = program(locals_=f"{kind.format(count)} state;")
        if fits:
            assert Engine(checked, memory=base + MIB).memory.used == base + MIB
        else:
            with monkeypatch.context() as patch:
                patch.setattr("midflight.runtime.engine.compiled.Native", None)
                with pytest.raises(BudgetError, match="state alone takes"):
                    Engine(checked, memory=base + MIB)


def test_entries_reserve_and_release_memory() -> None:
    table = "table t { key = { hdr.h.c: exact; } actions = { NoAction; } size = 100000; }"
    checked = program(locals_=table, apply="t.apply();")
    engine = Engine(checked, memory=demand(checked, 1 << 40) + 20_000)
    used = engine.memory.used

    def keys(number: int) -> tuple[ir.EntryKey, ...]:
        return (ir.EntryKey(number),)

    def fill() -> None:
        for number in range(1000):
            engine.tables["ingress.t"].insert(Entry(keys(number), "NoAction"))

    with pytest.raises(TableError, match=r"no memory for an entry of ingress\.t") as full:
        fill()
    assert full.value.reason is Reason.FULL
    count = len(engine.tables["ingress.t"])
    assert 5 < count < 30
    engine.tables["ingress.t"].delete(keys(0))
    engine.tables["ingress.t"].insert(Entry(keys(999), "NoAction"))
    for number in [*range(1, count), 999]:
        engine.tables["ingress.t"].delete(keys(number))
    assert engine.memory.used == used


def test_a_budget_never_exceeds_its_limit() -> None:
    budget = Budget(100)
    budget.take(60, "one")
    with pytest.raises(BudgetError, match="no memory for two: the program uses 60 bytes of its 100 bytes"):
        budget.take(41, "two")
    budget.take(40, "three")
    budget.give(100)
    assert budget.used == 0
