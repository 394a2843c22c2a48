"""Expressions: precedence and constants compared with Python's integers, and types."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midflight.errors import P4Error
from midflight.p4 import ir
from midflight.p4.check.sizes import size_in
from midflight.p4.types import BOOL, Bits, StructType, UnionType
from tests.p4.skeleton import assigned, ingress_statements, program

WIDTH = 8
# The levels of precedence in section 8.2, lowest first, with the operators that random trees contain.
LEVELS = [["|"], ["^"], ["&"], ["<<", ">>"], ["+", "-", "|+|", "|-|"], ["*"]]
LEVEL = {operator: number for number, operators in enumerate(LEVELS) for operator in operators}


@dataclass(frozen=True)
class Tree:
    """A binary operator, or a number if `operator` is empty."""

    operator: str
    value: int = 0
    left: Tree | None = None
    right: Tree | None = None

    def text(self) -> str:
        """Return the tree as text, without redundant parentheses."""
        if not self.left or not self.right:
            return f"{WIDTH}w{self.value}"
        left, right = self.left.text(), self.right.text()
        if self.left.operator and LEVEL[self.left.operator] < LEVEL[self.operator]:
            left = f"({left})"
        if self.right.operator and LEVEL[self.right.operator] <= LEVEL[self.operator]:
            right = f"({right})"
        return f"{left} {self.operator} {right}"

    def result(self) -> int:
        """Evaluate the tree with Python's integers."""
        if not self.left or not self.right:
            return self.value
        a, b = self.left.result(), self.right.result()
        match self.operator:
            case "|":
                value = a | b
            case "^":
                value = a ^ b
            case "&":
                value = a & b
            case "<<":
                value = a << b
            case ">>":
                value = a >> b
            case "+":
                value = a + b
            case "-":
                value = a - b
            case "*":
                value = a * b
            case "|+|":
                return min(a + b, 255)
            case _:
                return max(a - b, 0)
        return value % 256


LEAVES = st.integers(0, 255).map(lambda value: Tree("", value))
TREES = st.recursive(
    LEAVES,
    lambda inner: st.builds(Tree, st.sampled_from(sorted(LEVEL)), st.just(0), inner, inner),
    max_leaves=8,
)


@settings(max_examples=15)
@given(st.lists(TREES, min_size=20, max_size=20))
def test_folding_of_constants_wraps_and_saturates(trees: list[Tree]) -> None:
    made = ingress_statements(apply="\n".join(f"meta.small = {tree.text()};" for tree in trees))
    values = [each.value for each in made if isinstance(each, ir.Assign)]
    assert values == [ir.Literal(tree.result(), Bits(WIDTH)) for tree in trees]


CONSTANTS = [
    ("0x1F", 31),
    ("0b1010_1010", 170),
    ("0o17", 15),
    ("1_000", 1000),
    ("32w0xFFFF_FFFF", 2**32 - 1),
    ("-1", 2**32 - 1),
    ("1 << 33", 0),
    ("(1 << 40) >> 38", 4),
    ("5 - 7 + 3", 1),
    ("17 / 5 * 10 + 17 % 5", 32),
    ("(bit<32>)(int<32>)-5", 2**32 - 5),
    ("8w3 ++ 24w1", (3 << 24) + 1),
    ("0xABCD[15:8] ++ 24w0", 0xAB000000),
    ("true ? 1 : 2", 1),
    ("(1 < 2 && 3 != 3) || !true ? 7 : 8", 8),
    ("~32w0", 2**32 - 1),
    ("(bit<32>)(bit<1>)true", 1),
    ("hdr.labels.size", 4),
    ("LIMIT + 1", 101),
    ("(bit<32>)16w0xFFFF", 0xFFFF),
    ("(bit<32>)(int<32>)(int<8>)8w0x80", 2**32 - 128),
]


@pytest.mark.parametrize(("text", "value"), CONSTANTS, ids=[text for text, _ in CONSTANTS])
def test_a_constant_is_folded(text: str, value: int) -> None:
    assert assigned(text, top="const bit<32> LIMIT = 100;") == ir.Literal(value, Bits(32))


TYPES = [
    ("meta.small ++ meta.medium ++ 8w0", "ir.Concat", Bits(32)),
    ("(bit<32>)meta.small", "ir.Cast", Bits(32)),
    ("meta.wide + 1", "ir.Binary", Bits(32)),
    ("meta.wide << meta.small", "ir.Binary", Bits(32)),
    ("meta.flag ? meta.wide : 0", "ir.Ternary", Bits(32)),
    ("hdr.ethernet.source[40:9]", "ir.Slice", Bits(32)),
    ("-meta.wide", "ir.Unary", Bits(32)),
]


@pytest.mark.parametrize(("text", "kind", "width"), TYPES, ids=[each[0] for each in TYPES])
def test_expressions_have_the_expected_types(text: str, kind: str, width: Bits) -> None:
    value = assigned(text)
    assert f"ir.{type(value).__name__}" == kind
    assert value.type == width


def test_a_constant_takes_the_width_of_the_other_side() -> None:
    value = assigned("1 + meta.wide")
    assert isinstance(value, ir.Binary)
    assert value.left == ir.Literal(1, Bits(32))


def test_conditions_are_bool_and_constant_ones_are_folded() -> None:
    value = assigned("meta.flag && true", target="meta.flag")
    assert isinstance(value, ir.Binary)
    assert value.type == BOOL
    assert isinstance(assigned("true && meta.flag", target="meta.flag"), ir.Member)
    assert assigned("false && meta.flag", target="meta.flag") == ir.Literal(0, BOOL)


def test_division_by_a_power_of_two_becomes_a_shift_and_its_remainder_a_mask() -> None:
    quotient, rest = assigned("meta.wide / 8"), assigned("meta.wide % 8")
    assert isinstance(quotient, ir.Binary)
    assert (quotient.operator, quotient.right) == (">>", ir.Literal(3, Bits(2)))
    assert isinstance(rest, ir.Binary)
    assert (rest.operator, rest.right) == ("&", ir.Literal(7, Bits(32)))


def test_a_serializable_enum_stands_for_its_number() -> None:
    top = "enum bit<16> kind_t { ipv4 = 0x0800, arp = 0x0806 }"
    assert assigned("kind_t.arp", target="meta.medium", top=top) == ir.Literal(0x0806, Bits(16))
    compared = assigned("(kind_t)hdr.ethernet.type == kind_t.ipv4", target="meta.flag", top=top)
    assert isinstance(compared, ir.Binary)
    assert isinstance(compared.left, ir.Cast)


def test_lists_and_struct_expressions_become_values_in_field_order() -> None:
    in_order = ir.StructValue(
        (ir.Literal(1, Bits(8)), ir.Literal(2, Bits(16))),
        program().metadata.field("pair").type,  # type: ignore[union-attr]
    )
    assert assigned("{ 1, 2 }", target="meta.pair") == in_order
    assert assigned("{ second = 2, first = 1 }", target="meta.pair") == in_order
    assert assigned("(pair_t){ second = 2, first = 1 }", target="meta.pair") == in_order
    assert assigned("{ first = 1, ... }", target="meta.pair").elements[1] == ir.Literal(0, Bits(16))  # type: ignore[union-attr]


def test_generic_calls_and_comparisons_are_distinguished() -> None:
    apply = """
        bit<32> a = 1; bit<32> b = 2; bool c = a < b && (b > (a));
        random<bit<32>>(meta.wide, 0, 9);
        meta.wide = meta.wide >> 2 >> 1;
        bit<(8 >> 1)> nibble = 1;
    """
    made = ingress_statements(apply=apply)
    call = next(each.call for each in made if isinstance(each, ir.CallStatement))
    assert call.type_arguments == (Bits(32),)
    assert [each.variable.type for each in made if isinstance(each, ir.Declare)] == [Bits(32), Bits(32), BOOL, Bits(4)]


def test_a_name_hides_a_type_of_that_name_in_its_scope() -> None:
    top = (
        "struct inner_t { bit<8> x; }\ncontrol Inner(inout inner_t inner_t) { apply { inner_t.x = (inner_t.x) - 1; } }"
    )
    made = ingress_statements(
        top=top, locals="Inner() inner; inner_t outside;", apply="inner_t ethernet_t; inner.apply(ethernet_t);"
    )
    applied = made[-1]
    assert isinstance(applied, ir.Apply)
    assign = applied.callee.body.body[0]  # type: ignore[union-attr]
    assert isinstance(assign.value, ir.Binary)  # type: ignore[union-attr]


SIZES = [
    ("hdr.ethernet.minSizeInBits()", 112),
    ("ethernet_t.maxSizeInBytes()", 14),
    ("hdr.options.minSizeInBits()", 8),
    ("hdr.options.maxSizeInBits()", 328),
    ("options_t.maxSizeInBytes()", 41),
    ("hdr.labels.minSizeInBits()", 128),
    ("hdr.labels[1].maxSizeInBytes()", 4),
    ("meta.pair.minSizeInBytes()", 3),
    ("pair_t.minSizeInBits() + 1", 25),
]


@pytest.mark.parametrize(("text", "size"), SIZES)
def test_sizes_are_known_when_a_program_is_checked(text: str, size: int) -> None:
    assert assigned(text) == ir.Literal(size, Bits(32))


def test_the_size_of_a_type_without_one_is_an_error() -> None:
    assert size_in("minSizeInBits", UnionType("empty_t", ())) == 0
    with pytest.raises(P4Error, match="error has no size, so no minSizeInBits"):
        program(apply="meta.wide = standard_metadata.parser_error.minSizeInBits();")


@pytest.mark.parametrize(
    "text",
    [
        "meta.medium < (bit<16>)hdr.ethernet.type >> (bit<8>)2",
        "meta.medium < (bit<16>)meta.small",
        "meta.medium < (meta.medium) >> (8w2)",
        "(bit<(8 + 8)>)meta.small < meta.medium",
    ],
)
def test_a_comparison_with_a_cast_is_no_list_of_types(text: str) -> None:
    value = assigned(text, target="meta.flag")
    assert isinstance(value, ir.Binary)
    assert value.operator == "<"


def test_type_arguments_may_contain_a_width_in_brackets() -> None:
    top = "T same<T>(in T x) { return x; }\nconst int W = 4;"
    value = assigned("same<bit<(W * 2 + (1 << 3))>>(meta.medium)", target="meta.medium", top=top)
    assert value.type == Bits(16)


@pytest.mark.parametrize(
    "comparison", ["k != 0", "0 == k", "k == 16w1", "k == kind_t.a && kind_t.a == 1", "k == other_t.b", "k < 3"]
)
def test_a_serializable_enum_compares_with_numbers_of_its_width(comparison: str) -> None:
    top = "enum bit<16> kind_t { a = 1 }\nenum bit<16> other_t { b = 2 }"
    assert assigned(comparison, target="meta.flag", top=top, locals="kind_t k = kind_t.a;").type == BOOL


def test_a_serializable_enum_does_not_compare_with_another_width() -> None:
    top = "enum bit<16> kind_t { a = 1 }\nenum bit<8> other_t { b = 2 }"
    with pytest.raises(P4Error, match=r"the operands of '==' differ: bit<16> and bit<8>"):
        assigned("kind_t.a == other_t.b", target="meta.flag", top=top)


@pytest.mark.parametrize(
    ("annotation", "lists"),
    [("FIRST", "1"), ("lists_t.third, 8w2", "3, 2"), ("FIRST + 4, (bit<8>)7", "5, 7"), ("0x10", "16")],
)
def test_field_lists_are_numbered_by_constant_expressions(annotation: str, lists: str) -> None:
    top = f"""const bit<8> FIRST = 1; enum bit<8> lists_t {{ third = 3 }}
        struct kept_t {{ @field_list({annotation}) bit<8> x; }}"""
    kind = program(top=top, locals="kept_t kept;", apply="kept.x = 1;").ingress.locals[0]
    assert isinstance(kind, ir.Declare)
    assert isinstance(kind.variable.type, StructType)
    assert kind.variable.type.fields[0].annotations == {"field_list": lists}


def test_a_wrong_field_list_is_reported_at_its_annotation() -> None:
    with pytest.raises(P4Error, match="@field_list: LOST is not declared") as caught:
        program(top="struct kept_t { @field_list(LOST) bit<8> x; }")
    assert caught.value.place is not None
    assert caught.value.place.text[caught.value.place.column - 1 :].startswith("@field_list(LOST)")


def test_zero_divided_at_run_time_is_zero() -> None:
    assert assigned("16w0 / meta.medium + 16w0 % meta.medium", target="meta.medium") == ir.Literal(0, Bits(16))
