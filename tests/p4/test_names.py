"""Control-plane names, annotations, and the reachable parts of a program."""

from __future__ import annotations

import pytest

from midflight.errors import P4Error
from midflight.p4 import ir
from midflight.p4.ids import number_in
from midflight.p4.p4info import p4info
from midflight.p4.types import Bits
from tests.p4.skeleton import ingress_statements, program

COUNTED = """
control Inner(inout bit<8> x)(bit<32> size, bit<8> step) {
    register<bit<8>>(size) total;
    action bump() { x = x + step; }
    table steps { actions = { bump; } default_action = bump(); }
    apply { steps.apply(); total.write(0, x); }
}
"""


def test_names_of_nested_instances_carry_the_path_of_instances() -> None:
    made = program(
        top=COUNTED,
        locals="Inner(16, 1) one; Inner(32, 2) two;",
        apply="one.apply(meta.small); two.apply(meta.small);",
    )
    assert list(made.tables) == ["MyIngress.one.steps", "MyIngress.two.steps"]
    assert list(made.actions) == ["MyIngress.one.bump", "MyIngress.two.bump"]
    assert {name: each.arguments for name, each in made.instances.items()} == {
        "MyIngress.one.total": (16,),
        "MyIngress.two.total": (32,),
    }
    body = made.actions["MyIngress.two.bump"].body.body[0]
    assert isinstance(body, ir.Assign)
    assert isinstance(body.value, ir.Binary)
    assert body.value.right == ir.Literal(2, Bits(8)), "a constructor's argument is a constant inside"


def test_a_name_annotation_replaces_the_last_part_or_with_a_dot_the_whole_name() -> None:
    made = program(
        locals="""
            @name("renamed") register<bit<8>>(4) first;
            @name(".alone") counter(4, CounterType.packets) second;
            @name("drop_it") action drop() { mark_to_drop(standard_metadata); }
            @name(".table") table t { key = { meta.small: exact @name("size"); } actions = { drop; } }
        """,
        apply="t.apply();",
    )
    assert list(made.instances) == ["MyIngress.renamed", "alone"]
    assert list(made.tables) == ["table"]
    assert made.tables["table"].keys[0].name == "size"
    assert list(made.actions) == ["NoAction", "MyIngress.drop_it"]


def test_annotations_are_kept_as_written() -> None:
    made = program(
        top='@controller_header("packet_in") header in_t { @id(7) bit<16> port; }',
        locals='@id(0x1234) @brief("counts") counter(4, CounterType.bytes) c; '
        "action go(@id(9) bit<9> port) {} table t { key = { meta.small: exact @id(3); } actions = { @tableonly go; } "
        "default_action = NoAction; }".replace("@tableonly go;", "@tableonly go; @defaultonly NoAction;"),
        apply="t.apply();",
    )
    assert made.instances["MyIngress.c"].annotations == {"id": "0x1234", "brief": '"counts"'}
    table = made.tables["MyIngress.t"]
    assert table.keys[0].annotations == {"id": "3"}
    assert [(each.table_only, each.default_only) for each in table.actions] == [(True, False), (False, True)]
    assert table.actions[0].action.data[0].annotations == {"id": "9"}
    (header,) = made.controller_headers
    assert (header.name, header.controller) == ("in_t", "packet_in")
    assert header.fields[0].annotations == {"id": "7"}


@pytest.mark.parametrize("value", ["kinds_t.FIRST", "error.NoError"])
@pytest.mark.parametrize("annotation", ["@brief[VALUE]", '@p4runtime_translation("uri", VALUE)'])
def test_values_of_annotations_are_numbers_strings_and_bools(annotation: str, value: str) -> None:
    written = annotation.replace("VALUE", value)
    with pytest.raises(P4Error, match="takes numbers, strings and bools, not values of"):
        program(top=f"enum kinds_t {{ FIRST, SECOND }} {written} type bit<9> port_t;")


def test_keys_are_named_as_they_are_written() -> None:
    keys = """
        hdr.ethernet.isValid(): exact; hdr.labels[1].ttl: exact; hdr.ethernet.type[7:0]: exact;
        standard_metadata.ingress_port: ternary; meta.medium & 0xF0: optional;
    """
    made = program(locals=f"table t {{ key = {{ {keys} }} actions = {{ NoAction; }} }}", apply="t.apply();")
    assert [each.name for each in made.tables["MyIngress.t"].keys] == [
        "hdr.ethernet.$valid$",
        "hdr.labels[1].ttl",
        "hdr.ethernet.type[7:0]",
        "standard_metadata.ingress_port",
        "meta.medium & 0xf0",
    ]


def test_unreachable_objects_are_left_out() -> None:
    made = program(
        locals="""
            action used() {} action unused() {} action called() {}
            table applied { actions = { used; } default_action = used; }
            table idle { actions = { unused; } default_action = unused; }
        """,
        apply="called(); applied.apply();",
    )
    assert list(made.tables) == ["MyIngress.applied"]
    assert list(made.actions) == ["MyIngress.used", "MyIngress.called"]


def test_directly_applied_types_are_separate_instances() -> None:
    top = "control Inner(inout bit<8> x) { apply { x = x + 1; } }"
    first, second = ingress_statements(top=top, apply="Inner.apply(meta.small); Inner.apply(meta.small);")
    assert isinstance(first, ir.Apply)
    assert isinstance(second, ir.Apply)
    assert first.callee is not second.callee


@pytest.mark.parametrize(
    ("text", "number"),
    [("000000000001", 1), ("007", 7), ("0x0A", 10), ("0b11", 3), ("0b10000000001", 1025), ("8w9", 9)],
)
def test_ids_may_begin_with_zeros(text: str, number: int) -> None:
    assert number_in(text, "a table", None) == number


def test_two_fields_or_parameters_cannot_have_the_same_id() -> None:
    for locals_ in (
        "action a(@id(5) bit<8> x, @id(5) bit<8> y) { } table t { actions = { a; NoAction; } }",
        "table t { key = { meta.small : exact @id(5); meta.wide : exact @id(5); } actions = { NoAction; } }",
    ):
        made = program(locals=locals_, apply="t.apply();")
        with pytest.raises(P4Error, match=r"@id\(5\) is given to two fields or parameters"):
            p4info(made)


@pytest.mark.parametrize("text", ["0", "000", "4294967296", "99999999999999999999", "x", "-1", ""])
def test_ids_have_at_most_32_bits_and_are_not_0(text: str) -> None:
    with pytest.raises(P4Error, match="must be a number from 1 to 4294967295"):
        number_in(text, "a table", None)
