"""Computations between tables and registers as operations: what takes a stage of its own, and what does not."""

from __future__ import annotations

import pytest

from midflight.p4.frontend import check
from midflight.runtime.devices import load_sheet
from midflight.runtime.fit.allocate import allocate
from midflight.runtime.fit.graph import Node, graph
from tests.placement.test_footprint import SKELETON

TOFINO = load_sheet("tofino")


def nodes(declarations: str, body: str) -> list[Node]:
    found = graph(check(SKELETON.format(locals=declarations, body=body)), TOFINO)
    return [each for each in found if each.application == "mine"]


def stages(declarations: str, body: str) -> int:
    """Return the stages of the statements alone."""
    found = graph(check(SKELETON.format(locals=declarations, body=body)), TOFINO)
    kept = [each for each in found if each.application == "mine"]
    spans = allocate(found, {}).spans
    return 1 + max(spans[each.index][1] for each in kept) if kept else 0


R, S = "register<bit<8>>(16) r;", "register<bit<8>>(16) s;"
A, B = "hdr.mine.a", "hdr.mine.b"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (f"meta.y = {A} + 1;", 1),
        (f"meta.y = {A} + {B};", 1),
        (f"meta.y = {A} + {B} + 1;", 2),  # an ALU computes one operator
        (f"meta.y = ({A} + 1) + ({B} + 1);", 2),  # side by side
        (f"meta.y = ({A} == 1) ? {A} + 1 : {B} - 1;", 1),  # one of two actions
        (f"meta.y = ({A} < {B}) ? 8w1 : 8w2;", 2),  # the order of two fields takes a subtraction
        (f"meta.y = ({A} < 7) ? 8w1 : 8w2;", 1),
        (f"bit<8> t = {A}; meta.y = t;", 1),  # a copy is no operation for its readers
        (f"meta.y = {A} + 1; meta.z = meta.y + 1;", 2),
        (f"meta.y = {A} + 1; meta.z = {A} + 2;", 1),
        (f"meta.y = {A}[3:0] ++ {B}[3:0];", 1),
        (f"if ({A} == 1) {{ meta.y = 1; }} else {{ meta.y = 2; }}", 1),  # only one of them runs
        (f"meta.y = {A} + 1; if ({B} == 1) {{ meta.y = 2; }}", 2),  # the later one must win
        (f"bit<8> t = {A} + 1; if (t == 3) {{ meta.y = {B} + 1; }}", 2),
        (f"bit<8> t; t = {A} + 1; meta.y = t; t = {B} + 1; meta.z = t;", 1),  # the variable is two
    ],
)
def test_stages_of_computations(body: str, expected: int) -> None:
    assert stages("", body) == expected


def test_a_register_computes_in_its_own_access() -> None:
    (register,) = nodes(R, f"bit<8> t; r.read(t, 0); t = t + {A}; r.write(0, t);")
    assert (register.kind, register.takes["register"]) == ("register", 1)
    body = f"bit<8> t; r.read(t, (bit<32>)({A} + 1)); r.write(0, t + 1); meta.y = t + 1;"
    kinds = {each.name: each.kind for each in nodes(R, body)}
    assert sorted(kinds.values()) == ["action", "action", "register"]
    assert stages(R, body) == 3


def test_registers_in_a_circle_are_one_and_reported() -> None:
    body = "bit<8> t; bit<8> u; r.read(t, 0); s.read(u, 0); s.write(0, t); r.write(0, u);"
    (node,) = nodes(R + S, body)
    assert node.circle == ("ingress.mine.s",)
    assert node.takes["register"] == 2


def test_a_hash_takes_a_hash_unit_and_a_stage() -> None:
    body = "hash(meta.index, HashAlgorithm.crc32, 32w0, { hdr.mine.a }, 32w16); bit<8> t; r.read(t, meta.index);"
    assert [(each.kind, each.takes.get("hash_units")) for each in nodes(R, body)] == [("hash", 2), ("register", 1)]
    assert stages(R, body) == 2


def test_a_counter_is_one_operation_wherever_it_counts() -> None:
    body = f"if ({A} == 1) {{ c.count(0); }} else {{ c.count(1); }}"
    assert [each.kind for each in nodes("counter(2, CounterType.packets) c;", body)] == ["counter"]
