"""Generic structs and headers (P4_16, section 7.2.11)."""

from __future__ import annotations

import pytest

from midflight.errors import P4Error
from midflight.p4 import ir
from midflight.p4.frontend import check
from midflight.p4.types import Bits, HeaderType, StackType, StructType
from tests.p4.skeleton import assigned, program

TOP = """
struct pair<A, B> { A left; B right; }
header value<T> { T data; bit<8> more; }
struct nested<T> { pair<T, bit<8>> inner; value<T>[2] stack; }
typedef pair<bit<8>, bool> small;
"""


def local(declaration: str, apply: str = "", top: str = TOP) -> ir.Variable:
    made = program(top=top, locals=declaration, apply=apply).ingress.locals[0]
    assert isinstance(made, ir.Declare)
    return made.variable


def test_type_arguments_take_the_place_of_parameters() -> None:
    kind = local("nested<bit<16>> x;", "x.inner.left = 1; x.stack[1].data = x.inner.left; x.inner.right = 2;").type
    assert isinstance(kind, StructType)
    pair, stack = (each.type for each in kind.fields)
    assert str(pair) == "pair<bit<16>, bit<8>>"
    assert isinstance(stack, StackType)
    assert isinstance(stack.element, HeaderType)
    assert [each.type for each in stack.element.fields] == [Bits(16), Bits(8)]


def test_equal_arguments_give_the_same_type() -> None:
    value = assigned("x == y", target="meta.flag", top=TOP, locals="small x; pair<bit<8>, bool> y;")
    assert isinstance(value, ir.Binary)
    assert value.left.type == value.right.type


def test_expressions_build_a_generic_struct() -> None:
    value = assigned("(pair<bit<8>, bit<16>>){ left = 1, right = 2 }", target="x", top=TOP,
                     locals="pair<bit<8>, bit<16>> x;")  # fmt: skip
    assert isinstance(value, ir.StructValue)
    assert [each.type for each in value.elements] == [Bits(8), Bits(16)]


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ("pair<bit<8>> x;", "pair takes 2 type arguments, not 1"),
        ("pair x;", "pair needs type arguments"),
        ("value<pair<bit<8>, bit<8>>[2]> x;", "a stack holds headers, and pair<bit<8>, bit<8>> is not a header"),
        ("value<error> x;", "a header cannot contain error"),
        ("pair<MyParser, bit<8>> x;", "MyParser is a parser, not a type of values"),
        ("itself<bit<8>> x;", "itself contains itself"),
        ("deeper<bit<8>> x;", "types nest 65 deep here, above the limit of 64"),
        ("pair<bit<8>, bit<8>> x = { 1, 2, 3 };", "pair<bit<8>, bit<8>> has 2 fields, and 3 values are given"),
    ],
)
def test_wrong_arguments_are_reported(declaration: str, message: str) -> None:
    top = TOP + "struct itself<T> { itself<T> again; }\nstruct deeper<T> { deeper<tuple<T>> again; }"
    with pytest.raises(P4Error) as caught:
        local(declaration, top=top)
    assert caught.value.message == message
    assert caught.value.place is not None


ANY = """
control Any<T>(inout T x)(T least) { apply { x = least; } }
bit<8> doubled(int n) { return (bit<8>)(n * 2); }
bit<8> directed(in int n) { return 1; }
"""


@pytest.mark.parametrize(
    ("declaration", "apply", "message"),
    [
        ("Any(8w1) a;", "a.apply(meta.small);", "Any takes 1 type argument, not 0"),
        ("Any<bit<8>, bit<8>>(8w1) a;", "a.apply(meta.small);", "Any takes 1 type argument, not 2"),
        ("Any<bit<16>>(16w1) a;", "a.apply(meta.small);", "argument x must be bit<16>, not bit<8>"),
        ("", "meta.small = doubled(meta.small);", "doubled's n must be an int known at compile time, not bit<8>"),
        ("", "meta.small = directed(1);", "n has the type int, so it cannot have a direction"),
        ("", "meta.flag = { a = 1, b = 2 } == { a = 1, b = 2 };", "the type of neither side is known"),
    ],
)
def test_mistakes_with_generic_controls_and_numbers_of_any_size(declaration: str, apply: str, message: str) -> None:
    with pytest.raises(P4Error) as caught:
        program(top=ANY, locals=declaration, apply=apply)
    assert caught.value.message == message
    assert caught.value.place is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("extern void f<T>(in T data); control c() { apply { f(\"hi\"); } }",
         "f's data has a direction, so it takes no string"),
        ("control c() { apply { bit<4> a = 1; switch (a) { 1: { } } } }",
         "a switch on a value needs the match kind exact"),
    ],
)  # fmt: skip
def test_mistakes_in_other_architectures_come_before_the_architecture(text: str, message: str) -> None:
    with pytest.raises(P4Error) as caught:
        check(f"{text}\ncontrol e();\npackage top(e _e);\ntop(c()) main;")
    assert caught.value.message == message


def test_a_package_has_no_methods() -> None:
    text = "control c() { apply { } }\ncontrol e();\npackage top(e _e);\ntop(c()) main = { void a() { } };"
    with pytest.raises(P4Error, match="only an extern object can have methods"):
        check(text)


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ("control c(bit<32> p)(bool p) { apply { } }", "p is declared twice"),
        ("control c<p>(inout bit<32> p) { apply { } }", "p is declared twice"),
        ("struct s<T, T> { T x; }", "T is declared twice"),
        ("package p<T, T>();", "T is declared twice"),
        ("control e(); package p(e c, e c);", "c is declared twice"),
        ("extern e { void f(in bit<1> x, out bit<1> x); }", "x is declared twice"),
        ("extern void f(out bit<32> x = 0);", "x is an output and cannot have a default value"),
        ("extern e { void e(); }", "the constructor of e has a return type"),
    ],
)
def test_parameters_are_checked_where_nothing_uses_them(declaration: str, message: str) -> None:
    with pytest.raises(P4Error) as caught:
        program(top=declaration)
    assert caught.value.message == message
    assert caught.value.place is not None
