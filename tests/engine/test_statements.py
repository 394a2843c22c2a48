"""Statements: control flow, calls with copy-in and copy-out, structs and tuples."""

from __future__ import annotations

from tests.engine.build import engine, run


def test_exit_in_a_nested_call_copies_results_out() -> None:
    switch = engine(
        header="bit<8> x; bit<8> y; bit<8> z;",
        types="""
            control inner(inout bit<8> v) { apply { v = v + 1; if (v > 10) { exit; } v = v + 100; } }
            control outer(inout bit<8> v) { inner() i; apply { i.apply(v); v = v * 2; } }
        """,
        declarations="outer() o; action bump(inout bit<8> v) { v = v + 1; if (v == 5) { exit; } v = v + 50; }",
        ingress="bump(hdr.h.x); o.apply(hdr.h.y); hdr.h.z = 1;",
    )
    out = [data for _, data in run(switch, bytes([4, 0, 0]), bytes([0, 10, 0]), bytes([0, 1, 0]))]
    assert out == [bytes([5, 0, 0]), bytes([51, 11, 0]), bytes([51, 204, 1])]


def test_return_ends_only_its_own_action_or_control() -> None:
    switch = engine(
        header="bit<8> x; bit<8> y;",
        types="control inner(inout bit<8> v) { apply { if (v == 1) { return; } v = 9; } }",
        declarations="inner() i; action a() { if (hdr.h.x == 2) { return; } hdr.h.y = 7; }",
        ingress="i.apply(hdr.h.y); a(); if (hdr.h.x == 3) { return; } hdr.h.x = 50;",
    )
    out = [data for _, data in run(switch, bytes([1, 1]), bytes([2, 1]), bytes([3, 0]), bytes([2, 0]))]
    assert out == [bytes([50, 7]), bytes([50, 1]), bytes([3, 7]), bytes([50, 9])]


def test_aliased_arguments_are_copied() -> None:
    switch = engine(
        header="bit<8> x; bit<8> y;",
        types="control mix(inout bit<8> a, inout bit<8> b) { apply { a = a + 1; b = b + 10; a = a + b; } }",
        declarations="mix() m; action add(inout bit<8> a, in bit<8> b) { a = a + b; hdr.h.y = 100; a = a + b; }",
        ingress="m.apply(hdr.h.x, hdr.h.x); add(hdr.h.x, hdr.h.y);",
    )
    # The second copy-out remains: 5 + 10. Then y is read before the action changes it.
    assert run(switch, bytes([5, 3])) == [(0, bytes([15 + 3 + 3, 100]))]


def test_an_action_works_on_copies_even_of_whole_headers() -> None:
    switch = engine(
        header="bit<8> x; bit<8> y;",
        declarations="action a(inout headers_t all, in h_t one) { hdr.h.x = 9; all.h.y = all.h.y + one.x; }",
        ingress="a(hdr, hdr.h);",
    )
    assert run(switch, b"\1\2") == [(0, b"\1\3")]


def test_slices_can_be_arguments() -> None:
    switch = engine(
        header="bit<16> x;",
        types="control flip(inout bit<4> v, out bit<4> w) { apply { w = v; v = ~v; } }",
        declarations="flip() f;",
        ingress="f.apply(hdr.h.x[7:4], hdr.h.x[15:12]);",
    )
    assert run(switch, b"\x0a\x5c") == [(0, b"\x5a\xac")]


def test_structs_and_tuples_are_assigned_and_compared_whole() -> None:
    switch = engine(
        types="struct pair_t { bit<8> a; bit<16> b; } struct two_t { pair_t p; pair_t q; bool same; }",
        header="bit<8> a; bit<16> b; bit<8> r;",
        metadata="two_t two;",
        ingress="""
            meta.two.p = { hdr.h.a, hdr.h.b };
            meta.two.q = meta.two.p;
            meta.two.q.b = meta.two.q.b - 1;
            meta.two.p = { meta.two.q.a + 1, meta.two.p.b };
            tuple<bit<8>, bit<16>> t = { hdr.h.a + 1, hdr.h.b };
            tuple<bit<8>, bit<16>> u = { meta.two.p.a, meta.two.p.b };
            meta.two.same = meta.two.p == meta.two.q;
            hdr.h.r = (t == u ? 8w1 : 8w0) + (meta.two.same ? 8w2 : 8w0) + (meta.two.p != meta.two.q ? 8w4 : 8w0);
            hdr.h.a = meta.two.p.a;
            hdr.h.b = meta.two.q.b;
        """,
    )
    assert run(switch, b"\x05\x00\x10\x00") == [(0, b"\x06\x00\x0f\x05")]


def test_a_list_is_read_completely_before_it_is_assigned() -> None:
    switch = engine(
        types="struct pair_t { bit<8> a; bit<8> b; }",
        header="bit<8> a; bit<8> b;",
        metadata="pair_t p;",
        ingress="""
            meta.p = { hdr.h.a, hdr.h.b }; meta.p = { meta.p.b, meta.p.a };
            hdr.h.a = meta.p.a; hdr.h.b = meta.p.b;
        """,
    )
    assert run(switch, b"\1\2") == [(0, b"\2\1")]


def test_logical_operators_short_circuit() -> None:
    """The table on the right side is applied only if the left side does not determine the result."""
    switch = engine(
        header="bit<8> x; bit<8> n;",
        declarations="""
            action count() { hdr.h.n = hdr.h.n + 1; }
            table t { key = { hdr.h.x : exact; } actions = { count; } default_action = count(); }
            table u { key = { hdr.h.x : exact; } actions = { count; } default_action = count(); }
        """,
        ingress="""
            if (hdr.h.x == 1 && t.apply().miss) { hdr.h.n = hdr.h.n + 10; }
            if (hdr.h.x == 2 || u.apply().hit) { hdr.h.n = hdr.h.n + 20; }
        """,
    )
    assert [data[1] for _, data in run(switch, b"\1\0", b"\2\0", b"\3\0")] == [12, 20, 1]


def test_switch_over_values_takes_shared_labels_and_a_default() -> None:
    switch = engine(
        header="bit<8> x; bit<8> r;",
        ingress="""
            switch (hdr.h.x) {
                1: { hdr.h.r = 10; }
                2:
                3: { hdr.h.r = 20; }
                default: { hdr.h.r = 30; }
            }
        """,
    )
    assert [data[1] for _, data in run(switch, b"\1\0", b"\2\0", b"\3\0", b"\4\0")] == [10, 20, 20, 30]


def test_variables_are_zero_at_the_start_of_every_packet() -> None:
    switch = engine(
        header="bit<8> x; bit<8> r;",
        declarations="bit<8> kept;",
        ingress="bit<8> fresh; hdr.h.r = kept + fresh; kept = hdr.h.x; fresh = hdr.h.x;",
    )
    assert [data[1] for _, data in run(switch, b"\5\0", b"\6\0")] == [0, 0]


def test_enums_and_errors_are_compared_by_member() -> None:
    switch = engine(
        types="""
            enum kind_t { Apple, Pear } enum bit<8> code_t { One = 10, Two = 20 } error { Mine }
        """,
        header="bit<8> x; code_t c; bit<8> r;",
        metadata="kind_t kind; error e;",
        ingress="""
            if (hdr.h.x > 5) { meta.kind = kind_t.Pear; meta.e = error.Mine; }
            hdr.h.r = (meta.kind == kind_t.Pear ? 8w1 : 8w0) + (meta.e == error.NoError ? 8w2 : 8w0)
                + (hdr.h.c == code_t.Two ? 8w4 : 8w0);
            hdr.h.c = code_t.One;
        """,
    )
    out = [data for _, data in run(switch, bytes([9, 20, 0]), bytes([1, 20, 0]), bytes([9, 5, 0]))]
    assert out == [bytes([9, 10, 5]), bytes([1, 10, 6]), bytes([9, 10, 1])]


def test_an_invalid_header_expression_makes_a_header_invalid() -> None:
    switch = engine(
        types="""
            header more_t { bit<8> y; }
            more_t none(in bool really, in more_t old) { if (really) { return {#}; } return old; }
        """,
        headers="more_t more;",
        header="bit<8> x;",
        parser="state start { packet.extract(hdr.h); packet.extract(hdr.more); transition accept; }",
        ingress="""
            if (hdr.h.x == 1) { hdr.more = {#}; }
            if (hdr.h.x >= 2) { hdr.more = none(hdr.h.x == 2, hdr.more); }
            std.egress_spec = 1;
        """,
    )
    assert [data for _, data in run(switch, b"\0a", b"\1a", b"\2a", b"\3a")] == [b"\0a", b"\1", b"\2", b"\3a"]
