"""Statements, and the calls of v1model's externs with their types and directions."""

from __future__ import annotations

import pytest

from midflight.errors import P4Error
from midflight.p4 import ir
from midflight.p4.frontend import check
from midflight.p4.types import Bits, Direction, StructType, TupleType
from tests.p4.skeleton import ingress_statements, program, skeleton

IN, OUT, INOUT = Direction.IN, Direction.OUT, Direction.INOUT

CALLS: list[tuple[str, str, str, list[Direction]]] = [
    ("", "mark_to_drop(standard_metadata);", "mark_to_drop", [INOUT]),
    ("", "random(meta.small, 0, 9);", "random", [OUT, IN, IN]),
    ("", "digest<pair_t>(1, meta.pair);", "digest", [IN, IN]),
    ("", "digest(1, { meta.small, 8w3 });", "digest", [IN, IN]),
    (
        "",
        "hash(meta.medium, HashAlgorithm.crc16, 16w0, { meta.small, meta.wide }, 16w100);",
        "hash",
        [OUT, IN, IN, IN, IN],
    ),
    ("", "clone(CloneType.I2E, 5);", "clone", [IN, IN]),
    ("", "clone_preserving_field_list(CloneType.I2E, 5, 1);", "clone_preserving_field_list", [IN, IN, IN]),
    ("", "resubmit_preserving_field_list(1);", "resubmit_preserving_field_list", [IN]),
    ("", "truncate(64);", "truncate", [IN]),
    ("", "assert(meta.flag);", "assert", [IN]),
    ("", "assume(meta.flag);", "assume", [IN]),
    ("", 'log_msg("here");', "log_msg", [IN]),
    ("", 'log_msg("x = {}", { meta.small });', "log_msg", [IN, IN]),
    ("register<bit<8>>(4) o;", "o.read(meta.small, 1);", "read", [OUT, IN]),
    ("register<bit<8>>(4) o;", "o.write(meta.wide, 1);", "write", [IN, IN]),
    ("counter(4, CounterType.packets) o;", "o.count(1);", "count", [IN]),
    ("meter(4, MeterType.bytes) o;", "o.execute_meter(1, meta.small);", "execute_meter", [IN, OUT]),
    ("direct_counter(CounterType.packets) o;", "o.count();", "count", []),
    ("direct_meter<bit<8>>(MeterType.bytes) o;", "o.read(meta.small);", "read", [OUT]),
]


@pytest.mark.parametrize(("local", "text", "name", "directions"), CALLS, ids=[each[1] for each in CALLS])
def test_an_extern_is_called(local: str, text: str, name: str, directions: list[Direction]) -> None:
    (made,) = ingress_statements(locals=local, apply=text)
    assert isinstance(made, ir.CallStatement)
    assert made.call.name == name
    assert list(made.call.directions) == directions
    assert len(made.call.arguments) == len(directions)
    assert (made.call.instance is not None) == bool(local)
    assert all(str(each.type) != "int" for each in made.call.arguments), "every constant has a width"


def test_checksums() -> None:
    made = program(
        verify="verify_checksum(true, { meta.small, meta.wide }, meta.medium, HashAlgorithm.csum16);"
        "verify_checksum_with_payload(hdr.ethernet.isValid(), { meta.small }, meta.medium, HashAlgorithm.csum16);"
        "update_checksum(true, { meta.small }, meta.medium, HashAlgorithm.csum16);"
        "update_checksum_with_payload(true, { meta.small }, meta.medium, HashAlgorithm.csum16);"
    )
    calls = [each.call for each in made.verify.body.body if isinstance(each, ir.CallStatement)]
    assert calls[0].type_arguments == (TupleType((Bits(8), Bits(32))), Bits(16))
    assert calls[0].directions == (IN, IN, IN, IN)
    assert calls[2].directions == (IN, IN, INOUT, IN)


def test_the_type_of_a_digest_is_its_struct() -> None:
    (made,) = ingress_statements(apply="digest(1, meta.pair);")
    assert isinstance(made, ir.CallStatement)
    (kind,) = made.call.type_arguments
    assert isinstance(kind, StructType)
    assert kind.name == "pair_t"


def test_the_newer_v1model_chooses_index_types() -> None:
    text = skeleton(locals="register<bit<8>, bit<4>>(16) r;", apply="r.read(meta.small, 4w3);")
    made = check("#define V1MODEL_VERSION 20200408\n" + text, "test.p4")
    assert made.instances["MyIngress.r"].type_arguments == (Bits(8), Bits(4))


def test_headers_and_stacks() -> None:
    apply = """
        hdr.ethernet.setInvalid(); hdr.labels[meta.wide].setValid(); hdr.labels.push_front(2); hdr.labels.pop_front(1);
        hdr.labels[0] = { 1, 2, 1, 3 }; hdr.ethernet.source[7:0] = 1;
    """
    off, on, push, pop, copy, part = ingress_statements(apply=apply)
    assert isinstance(off, ir.SetValidity)
    assert not off.valid
    assert isinstance(on, ir.SetValidity)
    assert isinstance(on.header, ir.Index)
    assert isinstance(push, ir.Shift)
    assert isinstance(pop, ir.Shift)
    assert (push.count, pop.count) == (2, -1)
    assert isinstance(copy, ir.Assign)
    assert isinstance(copy.value, ir.StructValue)
    assert isinstance(part, ir.Assign)
    assert isinstance(part.target, ir.Slice)


def test_compound_assignments_and_blocks() -> None:
    apply = "meta.small += 2; { bit<8> meta_small = 1; meta.small |+|= meta_small; } if (meta.flag) return; else exit;"
    add, block, branch = ingress_statements(apply=apply)
    assert isinstance(add, ir.Assign)
    assert isinstance(add.value, ir.Binary)
    assert add.value.operator == "+"
    assert isinstance(block, ir.Block)
    assert isinstance(branch, ir.If)


def test_direct_action_calls_and_unused_out_arguments() -> None:
    (declared, called), (action,) = (
        ingress_statements(locals="action both(in bit<8> x, out bit<8> y) { y = x; }", apply="both(1, _);"),
        program(locals="action both(in bit<8> x, out bit<8> y) { y = x; }", apply="both(1, _);").actions.values(),
    )
    assert isinstance(declared, ir.Declare)
    assert isinstance(called, ir.ActionCall)
    assert called.action.name == action.name
    assert called.arguments[0] == ir.Literal(1, Bits(8))


def test_parameters_may_have_default_values() -> None:
    made = program(
        top="""
            const bit<8> FIVE = 5;
            control Add(inout bit<8> x, in bit<8> by = FIVE) { apply { x = x + by; } }
            action nothing(in bit<8> x = 1) { }
            control Unused() { apply { nothing(); } }
        """,
        locals="""
            Add() plus;
            action set(in bit<8> x = 3, bit<16> y = FIVE ++ FIVE) { meta.small = x; meta.medium = y; }
            table t { key = { meta.small: exact; } actions = { set; } default_action = set(); }
            table u { key = { meta.small: exact; } actions = { set(9); } default_action = set(9, 7); }
        """,
        apply="""
            const bit<8> FIVE = 6;
            set(); set(1); set(y = 2); plus.apply(meta.small); plus.apply(meta.small, 4);
            t.apply(); u.apply();
        """,
    )
    calls = [each for each in made.ingress.body.body if isinstance(each, ir.ActionCall)]
    values = [[each.value for each in call.arguments if isinstance(each, ir.Literal)] for call in calls]
    assert values == [[3, 0x0505], [1, 0x0505], [3, 2]]
    applied = [each.arguments[1] for each in made.ingress.body.body if isinstance(each, ir.Apply)]
    assert applied == [ir.Literal(5, Bits(8)), ir.Literal(4, Bits(8))]
    t, u = made.tables.values()
    assert (t.actions[0].bound, t.default_arguments) == ((ir.Literal(3, Bits(8)),), (0x0505,))
    assert (u.actions[0].bound, u.default_arguments) == ((ir.Literal(9, Bits(8)),), (7,))


@pytest.mark.parametrize(
    ("parameters", "call", "message"),
    [
        ("out bit<8> x = 3", "a(meta.small);", "x is an output and cannot have a default value"),
        ("in bit<8> x = meta.small", "a();", "the default of x must be known at compile time"),
        ("in bit<8> x = 3, bit<8> y", "a(4);", "there is no argument for y"),
        ("in bit<8> x = 3, bit<8> y", "a();", r"a takes 2 arguments, not 0"),
        ("in bit<8> x, in bit<8> y = 3", "a(x = 1, z = 2);", "there is no parameter z"),
        ("in bit<8> x, in bit<8> y = 3", "a(x = 1, x = 2);", "there are two arguments for x"),
        ("in bit<8> x, in bit<8> y", "a(1, y = 2);", "name all of the arguments or none of them"),
    ],
)
def test_invalid_defaults_and_named_arguments_are_rejected(parameters: str, call: str, message: str) -> None:
    with pytest.raises(P4Error, match=message):
        program(locals=f"action a({parameters}) {{ }}", apply=call)


def test_unreachable_controls_are_checked() -> None:
    with pytest.raises(Exception, match="nothing is not declared"):
        program(top="control Unused(inout bit<8> x) { apply { x = nothing; } }")
    with pytest.raises(Exception, match="nothing is not declared"):
        program(top="bit<8> unused() { return nothing; }")
    made = program(top="control Unused(inout bit<8> x) { table t { actions = { NoAction; } } apply { t.apply(); } }")
    assert not made.tables
    assert not made.actions


def test_the_parts_of_main_must_fit() -> None:
    with pytest.raises(Exception, match="meta of the verify must be metadata_t, not pair_t"):
        check(skeleton().replace("MyVerify(inout headers_t hdr, inout metadata_t meta)",
                                 "MyVerify(inout headers_t hdr, inout pair_t meta)"))  # fmt: skip
    with pytest.raises(Exception, match="hdr of the deparser must be 'in'"):
        check(skeleton().replace("packet_out packet, in headers_t", "packet_out packet, inout headers_t"))
    with pytest.raises(Exception, match="V1Switch takes 6 parts, not 5"):
        check(skeleton().replace("MyVerify(), ", ""))
