"""Placement: the first device with room gets an application. One that fits nowhere goes to the hosts, with reasons."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.footprint import Demand, Footprint, Operation
from midflight.runtime.placement import place, reasons_against


def chain(length: int, kind: str = "register") -> tuple[Operation, ...]:
    """Return operations of which each needs the previous one."""
    return tuple(Operation(f"o{n}", kind, frozenset({f"o{n - 1}"} if n else ())) for n in range(length))


DEMAND = Demand(
    registers={"ingress.sum.a": 4096, "ingress.sum.b": 1024},
    register_width=32,
    accesses={"ingress.sum.a": 1, "ingress.sum.b": 2},
    tables={"ingress.sum.t": 100, "ingress.sum.u": 28},
    key_bits=48,
    match_kinds=frozenset({"exact", "lpm"}),
    header_bits=512,
    externs=frozenset({"register", "digest", "clone", "recirculate"}),
    products=True,
    multicast=True,
    ingress=chain(4),
)

EXACTLY: dict[str, Any] = {
    "register_arrays": 2,
    "register_bits": 5120,
    "register_width": 32,
    "register_accesses": 2,
    "table_entries": 128,
    "key_bits": 48,
    "header_bits": 512,
    "stages": 4,
    "per_stage": {"register": 1},
    "match_kinds": frozenset({"exact", "lpm"}),
    "externs": frozenset({"register", "digest", "clone", "recirculate"}),
    "multicast": True,
    "clones": True,
    "recirculation": True,
    "multiplication": True,
    "digests": True,
}


def test_an_exact_fit_is_accepted() -> None:
    assert not reasons_against(DEMAND, Capabilities(kind="tight", **EXACTLY))
    assert not reasons_against(DEMAND, Capabilities(kind="boundless"))


@pytest.mark.parametrize(
    ("limit", "value", "reason"),
    [
        ("register_arrays", 1, "needs 2 register arrays, has 1"),
        ("register_bits", 5119, "needs 5,120 bits of registers, has 5,119"),
        ("register_width", 31, "needs 32 bits in one register cell, has 31"),
        ("register_accesses", 1, "one packet may access ingress.sum.b 2 times, the limit is 1"),
        ("table_entries", 127, "needs 128 table entries, has 127"),
        ("key_bits", 47, "needs 48 bits in one match key, has 47"),
        ("header_bits", 511, "needs 512 bits of headers, has 511"),
        ("stages", 3, "needs 4 stages, has 3"),
        ("match_kinds", frozenset({"exact"}), "does not support the match kind lpm"),
        ("externs", frozenset({"clone", "recirculate"}), "does not support the externs digest and register"),
        ("multicast", False, "cannot multicast"),
        ("clones", False, "cannot clone"),
        ("recirculation", False, "cannot recirculate"),
        ("multiplication", False, "cannot multiply two numbers of a packet"),
        ("digests", False, "cannot send digests"),
    ],
)
def test_an_application_beyond_a_limit_goes_to_the_hosts_with_the_reason(limit: str, value: Any, reason: str) -> None:
    short = Capabilities(kind="short", **{**EXACTLY, limit: value})
    placement = place(Footprint(Demand(), {"sum": DEMAND}), {"s1": short})
    assert placement.device_of("sum") is None
    assert placement.decisions[0].refusals[0].reasons == (reason,)
    assert placement.explain() == f"sum: no device fits, so the hosts compute it\n    not s1: {reason}"


def test_every_limit_has_a_boundary_test() -> None:
    informative = {
        "kind",
        "architecture",
        "live_pipelines",
        "registers_over_p4runtime",
        "repeated_digests",
        "packets_per_second",
        "prompt_digests",
        "ports",
        "port_rate",
        "latency",
        "power",
        "table_write",
        "packet_io",
        "sources",
    }
    of_fit = {"parse_bits", "parser_states", "blocks", "containers", "stateful_operations"}
    assert {each.name for each in fields(Capabilities)} - informative - of_fit == set(EXACTLY)


def test_all_reasons_are_reported() -> None:
    poor = Capabilities(kind="poor", register_arrays=0, register_bits=0, stages=0)
    assert len(reasons_against(DEMAND, poor)) == 3


def test_the_first_device_with_room_is_chosen_and_its_room_reduced() -> None:
    demand = {name: Demand(registers={f"ingress.{name}.r": 60}) for name in ("a", "b", "c", "d")}
    shared = Demand(registers={"ingress.seen": 10})
    devices = {
        "near": Capabilities(kind="x", register_bits=100),
        "far": Capabilities(kind="y", register_bits=130),
    }
    placement = place(Footprint(shared, demand), devices)
    assert [each.device for each in placement.decisions] == ["near", "far", "far", None]
    assert placement.on("far") == ("b", "c")
    assert placement.on(None) == ("d",)
    assert placement.explain().splitlines() == [
        "a: near",
        "b: far",
        "    not near: needs 130 bits of registers, has 100",
        "c: far",
        "    not near: needs 130 bits of registers, has 100",
        "d: no device fits, so the hosts compute it",
        "    not near: needs 130 bits of registers, has 100",
        "    not far: needs 190 bits of registers, has 130",
    ]


def test_without_devices_everything_runs_at_the_hosts() -> None:
    placement = place(Footprint(Demand(), {"a": DEMAND, "b": DEMAND}), {})
    assert placement.on(None) == ("a", "b")


def test_a_small_application_fits_behind_a_large_one_that_did_not() -> None:
    demand = {"large": Demand(registers={"l": 200}), "small": Demand(registers={"s": 50})}
    placement = place(Footprint(Demand(), demand), {"s1": Capabilities(kind="x", register_bits=100)})
    assert (placement.device_of("large"), placement.device_of("small")) == (None, "s1")


@given(
    st.lists(st.integers(1, 50), max_size=8),
    st.lists(st.integers(0, 120), max_size=4),
    st.integers(0, 20),
)
def test_no_device_gets_more_than_its_capacity(bits: list[int], rooms: list[int], shared: int) -> None:
    demand = {f"a{n}": Demand(registers={f"a{n}": each}) for n, each in enumerate(bits)}
    devices = {f"s{n}": Capabilities(kind="x", register_bits=each) for n, each in enumerate(rooms)}
    placement = place(Footprint(Demand(registers={"shared": shared}), demand), devices)
    assert [each.application for each in placement.decisions] == list(demand)
    for name, room in zip(devices, rooms, strict=True):
        load = sum(demand[each].register_bits for each in placement.on(name))
        assert not load or load + shared <= room
        for each in placement.on(None):
            assert load + shared + demand[each].register_bits > room
