"""Emits a parser as one native function, in which states are basic blocks (P4_16 specification, section 12).

The code never reads outside the packet: every extract, lookahead and advance checks first that the packet is long
enough. A parser with a cycle ends with ParserTimeout after `MAX_STEPS` transitions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from llvmlite import ir as ll

from midflight.p4 import ir
from midflight.p4.nodes import within
from midflight.p4.types import HeaderType, Varbit
from midflight.runtime.engine.code import Code, Cursor, Frame, Place, Value, unsupported
from midflight.runtime.engine.expressions import place, value
from midflight.runtime.engine.layout import VARBIT_BYTES, fixed_bytes, scalar_width
from midflight.runtime.engine.noting import Event, note
from midflight.runtime.engine.statements import bind, branch, exclude_others, in_union, lower, lower_all
from midflight.runtime.engine.wire import read_bits, runs
from midflight.stackless import Walk, run

__all__ = ["MAX_STEPS", "lower_parser", "matches"]

MAX_STEPS = 1024
"""The number of state transitions after which a parser with a cycle ends with ParserTimeout."""


def lower_parser(code: Code, parser: ir.Parser, packet: Value, length: Value) -> tuple[Value, Value]:
    """Emit a parser at the current position, and return (number of bytes consumed, parser error), both i32.

    `packet` is the packet's address and `length` its length (i32). The places of the parser's parameters must be set in
    `code.variables`. Raises P4Error for constructs that the engine does not support.
    """
    done = code.block("parsed")
    position, error = code.allocate(4, 4), code.allocate(4, 4)
    code.store(code.i32(0), position)
    code.store(code.i32(0), error)
    code.cursor = Cursor(packet, length, position, error, done)
    code.exit = done
    steps = code.allocate(4, 4) if _has_cycle(parser) else None
    if steps is not None:
        code.store(code.i32(0), steps)
    run(_lower_states(code, parser, done, steps))
    code.b.position_at_end(done)
    forget = code.unit.target.forget
    return forget(code, code.load(position, 32)), forget(code, code.load(error, 32))


def matches(code: Code, subject: Value, key: ir.EntryKey, signed: bool = False) -> Value | None:
    """Emit a test whether a value matches one field of a keyset, and return an i1, or None if every value matches."""
    if key.value is None:
        return None
    b, width = code.b, subject.type.width
    low = code.constant(width, key.value)
    if key.high is not None:
        compare = b.icmp_signed if signed else b.icmp_unsigned
        return b.and_(compare(">=", subject, low), compare("<=", subject, code.constant(width, key.high)))
    if key.mask is not None:
        mask = code.constant(width, key.mask)
        return b.icmp_unsigned("==", b.and_(subject, mask), b.and_(low, mask))
    return b.icmp_unsigned("==", subject, low)


def _lower_states(code: Code, parser: ir.Parser, accept: ll.Block, steps: Value | None) -> Walk[None]:
    """Emit the states of a parser or sub-parser. The builder ends up in an arbitrary block."""
    cursor = code.cursor
    assert cursor is not None
    yield lower_all(code, parser.locals)
    blocks: dict[str, ll.Block] = {name: code.block(f"state.{name}") for name in parser.states}
    blocks["accept"], blocks["reject"] = accept, cursor.reject
    code.go(blocks["start"])
    for name, state in parser.states.items():
        code.b.position_at_end(blocks[name])
        if name in ("accept", "reject"):
            continue
        note(code, Event.STATE, name)
        if steps is not None:
            target = code.unit.target
            taken = target.forget(code, code.b.add(code.load(steps, 32), code.i32(1)))
            code.store(taken, steps)
            if (again := target.again(code)) is not None:
                cursor.fail(code, code.b.not_(again), "ParserTimeout")
            cursor.fail(code, code.b.icmp_unsigned(">", taken, code.i32(MAX_STEPS)), "ParserTimeout")
        for statement in state.body:
            yield _lower_statement(code, statement, steps)
        if isinstance(state.next, str):
            code.go(blocks[state.next])
        else:
            _lower_select(code, state.next, blocks)


def _lower_statement(code: Code, statement: ir.Statement, steps: Value | None) -> Walk[None]:
    match statement:
        case ir.Extract(header=header, bits=bits):
            _extract(code, place(code, header), None if bits is None else value(code, bits))
            if in_union(header):
                exclude_others(code, header)
            target = header.base if in_union(header) and isinstance(header, ir.Member) else header
            if isinstance(target, ir.Next):
                stack = place(code, target.base)
                code.store(code.b.add(code.load(stack.pointer, 32), code.i32(1)), stack.pointer)
        case ir.Advance(bits=bits):
            _advance(code, code.resize(value(code, bits), 64))
        case ir.Apply(callee=ir.Parser() as inner, arguments=arguments):
            copy_outs = bind(code, inner.parameters, arguments)
            frame = Frame(code.block("subparsed"), copy_outs)
            code.frames.append(frame)
            yield _lower_states(code, inner, frame.end, steps)
            code.frames.pop()
            code.b.position_at_end(frame.end)
            for each in copy_outs:
                each()
        case ir.Block(body=body):
            for each_statement in body:
                yield _lower_statement(code, each_statement, steps)
        case ir.If():
            yield branch(code, statement, lambda each: _lower_statement(code, each, steps))
        case _:
            yield lower(code, statement)


def _lower_select(code: Code, select: ir.Select, blocks: Mapping[str, ll.Block]) -> None:
    """Emit a select: as a switch for one exact field, otherwise as a chain of tests in source order."""
    cursor = code.cursor
    assert cursor is not None
    subjects = [value(code, each) for each in select.expressions]
    no_match = code.block("nomatch")
    if len(subjects) == 1 and _is_plain(select):
        subject, default, seen = subjects[0], no_match, set()
        targets = []
        for keyset, state in select.cases:
            assert not isinstance(keyset, ir.Table)
            number = keyset[0].value
            if number is None:
                default = blocks[state]
                break
            if number not in seen:
                seen.add(number)
                targets.append((code.constant(subject.type.width, number), blocks[state]))
        branch = code.b.switch(subject, default)
        for constant, block in targets:
            branch.add_case(constant, block)
    else:
        for keyset, state in select.cases:
            if isinstance(keyset, ir.Table):
                test = code.unit.contains(code, keyset, subjects)
            else:
                test = code.constant(1, 1)
                for subject, key in zip(subjects, keyset, strict=True):
                    each = matches(code, subject, key)
                    test = test if each is None else code.b.and_(test, each)
            after = code.block("case")
            code.b.cbranch(test, blocks[state], after)
            code.b.position_at_end(after)
        code.go(no_match)
    code.b.position_at_end(no_match)
    code.store(code.i32(code.unit.program.errors.index("NoMatch")), cursor.error)
    code.go(cursor.reject)


def _is_plain(select: ir.Select) -> bool:
    return all(
        not isinstance(keyset, ir.Table) and all(key.mask is None and key.high is None for key in keyset)
        for keyset, _ in select.cases
    )


def _extract(code: Code, header: Place, bits: Value | None) -> None:
    """Lower `packet.extract(header)`. If the packet is too short, nothing is extracted."""
    cursor = code.cursor
    assert cursor is not None
    assert isinstance(header.type, HeaderType)
    b, fixed = code.b, fixed_bytes(header.type)
    if bits is None:
        cursor.need(code, code.i32(fixed))
        variable = code.i32(0)
    else:
        wide = code.resize(bits, 64)
        varbit = next((each.type for each in header.type.fields if isinstance(each.type, Varbit)), None)
        limit = varbit.width if isinstance(varbit, Varbit) else 0
        cursor.fail(code, b.icmp_unsigned("!=", b.and_(wide, code.i64(7)), code.i64(0)), "ParserInvalidArgument")
        variable = _bytes(code, wide)
        cursor.need(code, variable)
        cursor.need(code, b.add(variable, code.i32(fixed)))
        cursor.fail(code, b.icmp_unsigned(">", wide, code.i64(limit)), "HeaderTooShort")
    pointer, offset = cursor.pointer(code), 0
    leaves = code.layout.leaves(header.type)
    for where, kind, count in runs(leaves) if code.unit.target.vectors else ((*leaf, 1) for leaf in leaves):
        target = Place(code.at(header.pointer, where), kind)
        if count > 1:
            width = scalar_width(kind)
            code.copy_swapped(target.pointer, code.at(pointer, offset // 8), width, count)
            offset += width * count
        elif isinstance(kind, Varbit):
            if offset % 8:
                raise unsupported(f"a varbit that does not begin at a byte boundary, in header {header.type}")
            code.clear(target.pointer, code.layout.size(target.type))
            code.store(b.shl(variable, code.i32(3)), target.pointer)
            pointer = code.at(pointer, offset // 8)
            code.copy(code.at(target.pointer, VARBIT_BYTES), pointer, variable)
            pointer, offset = code.at(pointer, variable), 0
        else:
            width = scalar_width(target.type)
            code.write(read_bits(code, pointer, offset, width), target)
            offset += width
    code.store(code.constant(8, 1), header.pointer)
    cursor.advance(code, b.add(variable, code.i32(fixed)))


def _advance(code: Code, bits: Value) -> None:
    cursor = code.cursor
    assert cursor is not None
    b = code.b
    cursor.fail(code, b.icmp_unsigned("!=", b.and_(bits, code.i64(7)), code.i64(0)), "ParserInvalidArgument")
    step = _bytes(code, bits)
    cursor.need(code, step)
    cursor.advance(code, step)


def _bytes(code: Code, bits: Value) -> Value:
    """Return a 64-bit number of bits in bytes (i32). A number too large for 32 bits becomes longer than any packet."""
    count = code.b.lshr(bits, code.i64(3))
    far = code.b.icmp_unsigned(">", count, code.i64(0xFFFF_FFFF))
    return code.b.select(far, code.i32(0xFFFF_FFFF), code.resize(count, 32))


def _has_cycle(parser: ir.Parser) -> bool:
    """Return whether the states of a parser or one of its sub-parsers contain a cycle."""
    waiting, seen = [parser], {parser}
    while waiting:
        states = waiting.pop().states
        if _comes_back(states):
            return True
        for node in within(*states.values()):
            if isinstance(node, ir.Apply) and isinstance(node.callee, ir.Parser) and node.callee not in seen:
                seen.add(node.callee)
                waiting.append(node.callee)
    return False


def _comes_back(states: Mapping[str, ir.State]) -> bool:
    """Return whether there is a cycle among the states that are reachable."""
    trail, finished = {"start": _following(states["start"])}, set[str]()
    while trail:
        name = next(reversed(trail))
        target = next(trail[name], None)
        if target is None:
            finished.add(name)
            del trail[name]
        elif target in trail:
            return True
        elif target in states and target not in finished:
            trail[target] = _following(states[target])
    return False


def _following(state: ir.State) -> Iterator[str]:
    return iter([state.next] if isinstance(state.next, str) else [target for _, target in state.next.cases])
