"""Packages beside `main`, other architectures, and features that are refused after mistakes were reported."""

from __future__ import annotations

import pytest

from midflight.errors import P4Error
from midflight.p4.frontend import check
from midflight.p4.p4info import p4info
from tests.p4.skeleton import skeleton

TYPES = """
parser Reads<H>(packet_in packet, out H headers);
control Pipe<H, M>(inout H headers, inout M meta);
package Small(Pipe<headers_t, _> pipe);
package Pair<H, M>(Pipe<H, M> first, Pipe<H, M> second);
package Holder(Small inner, bit<8> number);
control Other(inout headers_t hdr, inout pair_t pair) { apply { pair.first = 1; } }
parser Begin(packet_in packet, out headers_t hdr) { state start { transition accept; } }
"""


def complaint(declaration: str) -> str:
    text = skeleton(top=TYPES).replace("V1Switch(", f"{declaration}\nV1Switch(")
    with pytest.raises(P4Error) as caught:
        check(text, "test.p4")
    assert caught.value.place is not None
    return caught.value.message


@pytest.mark.parametrize(
    "declaration",
    [
        "Small(MyVerify()) one;",
        "Pair(MyVerify(), MyCompute()) one;",
        "Pair<headers_t, _>(first = MyVerify(), second = MyCompute()) one;",
        "Small(Other()) one; Holder(one, 8) two;",
        "Holder(Small(Other()), 8) two;",
    ],
)
def test_packages_beside_main_are_checked_and_left_out(declaration: str) -> None:
    plain = check(skeleton(top=TYPES))
    program = check(skeleton(top=TYPES).replace("V1Switch(", f"{declaration}\nV1Switch("))
    assert program.tables.keys() == plain.tables.keys()
    assert program.ingress.name == "MyIngress"


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        ("Small(Begin()) one;", "the pipe must be a control"),
        ("Small(pair_t()) one;", "pair_t is a type, not a parser or control"),
        ("Small(3) one;", "the pipe must be an instance, such as MyPipe()"),
        ("Small() one;", "Small takes 1 part, not none"),
        ("Small(Other(), Other()) one;", "Small takes 1 part, not 2"),
        ("Pair(MyVerify(), Other()) one;", "pair of the second must be metadata_t, not pair_t"),
        ("Pair<pair_t, _>(MyVerify(), MyVerify()) one;", "hdr of the first must be pair_t, not headers_t"),
        ("Pair<headers_t>(MyVerify(), MyVerify()) one;", "Pair takes 2 type arguments, not 1"),
        ("Holder(Other(), 8) one;", "the inner must be an instance of Small"),
        ("Holder(Small(Other()), true) one;", "Holder's number must be bit<8>, not bool"),
        ("Other() alone;", "a control cannot be instantiated at the top level"),
        ("V1Switch(MyVerify()) one;", "V1Switch takes 6 parts, not 1"),
    ],
)
def test_a_part_that_does_not_fit_is_an_error(declaration: str, message: str) -> None:
    assert complaint(declaration) == message


def test_a_mistake_is_reported_before_a_feature_that_is_not_supported() -> None:
    parts = {
        "top": "extern void lookup(in bit<8> x); extern Box { Box(bit<8> size); void put(in bit<8> x); }",
        "locals": "Box(4) box;",
    }
    assert list(check(skeleton(**parts, apply="lookup(1); box.put(2);"), "test.p4").foreign) == ["Box", "lookup"]
    for wrong, message in [
        ("lookup(1, 2);", "lookup takes 1 argument, not 2"),
        ("box.put(true);", "put's x must be bit<8>, not bool"),
        ("box.get();", "Box has no method get"),
        ("lookup(1); meta.small = wrong;", "wrong is not declared"),
    ]:
        with pytest.raises(P4Error) as caught:
            check(skeleton(**parts, apply=wrong), "test.p4")
        assert caught.value.message == message


def test_what_main_does_not_reach_needs_no_support() -> None:
    top = "extern void lookup(in bit<8> x); control Unused(inout bit<8> x) { apply { lookup(x); } }"
    assert check(skeleton(top=top)).ingress.name == "MyIngress"


def test_p4info_may_be_had_of_a_program_with_externs_that_the_switch_does_not_have() -> None:
    parts = {
        "top": "extern Box { Box(bit<8> size); void put(in bit<8> x); }",
        "locals": "Box(4) box; Checksum16() sum; counter(8, CounterType.packets) seen;",
        "apply": "box.put(2); seen.count(1);",
    }
    with pytest.raises(P4Error, match="not supported yet"):
        check(skeleton(**parts))
    info = p4info(check(skeleton(**parts), runs=False))
    assert [each.preamble.name for each in info.counters] == ["MyIngress.seen"]


def test_mistakes_with_extern_objects_as_parameters_are_named() -> None:
    top = "control User(register<bit<8>> r, inout bit<8> x) { apply { r.read(x, 0); } }"
    local = "register<bit<8>>(4) own; register<bit<16>>(4) wide; register<bit<8>>(4) other; User() user;"
    for apply, message in [
        ("user.apply(own, wrong);", "wrong is not declared"),
        ("user.apply(wide, meta.small);", "r must be register<bit<8>>, not register<bit<16>>"),
        ("user.apply(meta.small);", "MyIngress.user takes the extern objects r"),
        (
            "user.apply(own, meta.small); user.apply(other, meta.small);",
            "an instance that is applied with different extern objects is not supported yet",
        ),
    ]:
        with pytest.raises(P4Error) as caught:
            check(skeleton(top=top, locals=local, apply=apply))
        assert caught.value.message == message
    with pytest.raises(P4Error, match="gone is not declared"):
        check(skeleton(top=top.replace("(x, 0)", "(gone, 0)"), locals="User() user;"))


@pytest.mark.parametrize(
    ("annotations", "size", "semantics", "weight"),
    [
        ("@max_group_size(200)", 200, None, 0),
        ('@selector_size_semantics("sum_of_members") @max_member_weight(4000)', 0, "sum_of_members", 4000),
        ('@selector_size_semantics("sum_of_weights")', 0, "sum_of_weights", 0),
    ],
)
def test_p4info_says_how_a_selector_counts(annotations: str, size: int, semantics: str | None, weight: int) -> None:
    parts = {
        "locals": f"""{annotations} action_selector(HashAlgorithm.crc16, 16, 8) choice;
            table t {{ key = {{ meta.small: selector; meta.medium: exact; }} actions = {{ NoAction; }}
                       implementation = choice; }}""",
        "apply": "t.apply();",
    }
    (profile,) = p4info(check(skeleton(**parts))).action_profiles
    assert (profile.max_group_size, profile.WhichOneof("selector_size_semantics")) == (size, semantics)
    assert profile.sum_of_members.max_member_weight == weight
    assert not profile.preamble.annotations
    with pytest.raises(P4Error, match="@max_group_size"):
        p4info(check(skeleton(**{**parts, "locals": "@max_group_size(x)" + parts["locals"].removeprefix(annotations)})))
