"""Emits expressions as LLVM values, and lvalues as places in memory."""

from __future__ import annotations

from collections.abc import Generator

from midflight.p4 import ir
from midflight.p4.nodes import children
from midflight.p4.types import BOOL, Bits, HeaderType, StackType, StructType, TupleType, Type, UnionType, Varbit
from midflight.runtime.engine import arithmetic
from midflight.runtime.engine.builder import Choice
from midflight.runtime.engine.code import I1, Code, Cursor, Place, Value, unsupported
from midflight.runtime.engine.layout import SCALARS, VARBIT_BYTES, is_empty, is_signed, scalar_width
from midflight.runtime.engine.wire import Item, Scalar, read_bits
from midflight.stackless import Step, Walk, run

__all__ = [
    "assign",
    "components",
    "copy_into",
    "equal",
    "flatten",
    "is_valid",
    "items_of",
    "leaves",
    "place",
    "store",
    "value",
    "zero",
]


def value(code: Code, expression: ir.Expression) -> Value:
    """Emit a scalar expression and return its value, an integer with the width of its type.

    Raises P4Error for an expression that the engine does not support.
    """
    step = _value(code, expression)
    return run(step) if isinstance(step, Generator) else step


def _value(code: Code, expression: ir.Expression) -> Step[Value]:
    if is_empty(expression.type):
        return code.constant(1, 0)
    match expression:
        case ir.Literal(value=str()):
            raise unsupported("a string in this place", expression.place)
        case ir.Literal(value=int() as number, type=kind):
            return code.constant(kind.width if type(kind) is Bits else scalar_width(kind), number)
        case ir.Member() | ir.VariableRef():
            step = _place(code, expression)
            return code.read(step) if isinstance(step, Place) else _computed(code, expression)
    return _computed(code, expression)


def _computed(code: Code, expression: ir.Expression) -> Walk[Value]:
    b = code.b
    where: Place
    inner: Value
    match expression:
        case ir.Slice(base=base, high=high, low=low):
            inner = yield _value(code, base)
            shifted = b.lshr(inner, code.constant(inner.type.width, low)) if low else inner
            return code.resize(shifted, high - low + 1)
        case ir.Unary(operator=operator, operand=operand):
            inner = yield _value(code, operand)
            return b.neg(inner) if operator == "-" else b.not_(inner)
        case ir.Binary():
            inner = yield _binary(code, expression)
            return inner
        case ir.Concat(left=left, right=right) if is_empty(left.type) or is_empty(right.type):
            inner = yield _value(code, right if is_empty(left.type) else left)
            return inner
        case ir.Concat(left=left, right=right, type=kind):
            width = scalar_width(kind)
            low_part: Value = yield _value(code, right)
            inner = yield _value(code, left)
            high_part = b.shl(code.resize(inner, width), code.constant(width, low_part.type.width))
            return b.or_(high_part, code.resize(low_part, width))
        case ir.Cast(operand=operand, type=kind):
            inner = yield _value(code, operand)
            width = scalar_width(kind)
            return inner if inner.type.width == width else code.resize(inner, width, signed=is_signed(operand.type))
        case ir.Ternary(condition=condition, yes=yes, no=no):
            chosen: Value = yield _value(code, condition)
            if _is_pure(code, yes) and _is_pure(code, no):
                first: Value = yield _value(code, yes)
                second: Value = yield _value(code, no)
                return b.select(chosen, first, second)
            inner = yield _choose(code, chosen, yes, no)
            return inner
        case ir.IsValid(header=header):
            where = yield _place(code, header)
            return is_valid(code, where)
        case ir.Last(base=base, index=True, type=kind):
            where = yield _place(code, base)
            return code.resize(b.sub(code.load(where.pointer, 32), code.i32(1)), scalar_width(kind))
        case ir.TableHit(table=table, miss=miss):
            applied = code.unit.apply(code, table)
            return b.not_(applied.hit) if miss else applied.hit
        case ir.Call():
            result = code.unit.call(code, expression)
            assert result is not None, expression.name
            return result
        case ir.Lookahead(type=kind) if isinstance(kind, SCALARS):
            return _lookahead(code, kind)
        case _:
            where = yield _place(code, expression)
            return code.read(where)


def place(code: Code, expression: ir.Expression) -> Place:
    """Emit an expression and return the place of its value; a computed value goes to a new place on the stack.

    Raises P4Error for an expression that the engine does not support.
    """
    step = _place(code, expression)
    return step if isinstance(step, Place) else run(step)


def _place(code: Code, expression: ir.Expression) -> Step[Place]:
    match expression:
        case ir.VariableRef(variable=variable):
            return code.variables[variable]
        case ir.Member():
            names, base = [expression.name], expression.base
            while isinstance(base, ir.Member):
                names.append(base.name)
                base = base.base
            names.reverse()
            if base.type == code.unit.program.standard_metadata:
                code.unit.touched.add(names[0])
            step = _place(code, base)
            if isinstance(step, Place):
                return code.member(step, *names)
            return _member(code, step, names)
    return _other_place(code, expression)


def _member(code: Code, walk: Walk[Place], names: list[str]) -> Walk[Place]:
    whole: Place = yield walk
    return code.member(whole, *names)


def _other_place(code: Code, expression: ir.Expression) -> Walk[Place]:
    match expression:
        case ir.Index(base=base, index=ir.Literal(value=int() as number)):
            stack: Place = yield _place(code, base)
            assert isinstance(stack.type, StackType)
            if not 0 <= number < stack.type.size:
                raise unsupported(f"an index of {number} in a stack of {stack.type.size}", expression.place)
            return code.element(stack, number)
        case ir.Index(base=base, index=index):
            stack = yield _place(code, base)
            computed: Value = yield _value(code, index)
            return _element(code, stack, computed)
        case ir.Next(base=base):
            stack = yield _place(code, base)
            return _parsed_element(code, stack, code.load(stack.pointer, 32))
        case ir.Last(base=base, index=False):
            stack = yield _place(code, base)
            return _parsed_element(code, stack, code.b.sub(code.load(stack.pointer, 32), code.i32(1)))
        case _:
            temporary = code.temporary(expression.type)
            yield _copy_into(code, expression, temporary)
            return temporary


def copy_into(code: Code, expression: ir.Expression, target: Place) -> None:
    """Emit an expression of any type and store its value at `target`, with the validity of headers.

    Raises P4Error for an expression that the engine does not support.
    """
    run(_copy_into(code, expression, target))


def _copy_into(code: Code, expression: ir.Expression, target: Place) -> Walk[None]:
    if isinstance(target.type, SCALARS):
        number: Value = yield _value(code, expression)
        code.write(number, target)
        return
    match expression:
        case ir.StructValue(elements=elements):
            if isinstance(target.type, HeaderType):
                code.store(code.constant(8, 1), target.pointer)
            for element, part in zip(elements, components(code, target), strict=True):
                yield _copy_into(code, element, part)
        case ir.Ternary(condition=condition, yes=yes, no=no):
            chosen: Value = yield _value(code, condition)
            first, second = code.temporary(target.type), code.temporary(target.type)
            yield _copy_into(code, yes, first)
            yield _copy_into(code, no, second)
            chosen_pointer = code.b.select(chosen, first.pointer, second.pointer)
            code.copy(target.pointer, chosen_pointer, code.layout.size(target.type))
        case ir.Cast(operand=operand):
            yield _copy_into(code, operand, target)
        case ir.Lookahead(type=kind):
            _lookahead_into(code, target, kind)
        case ir.Call():
            raise unsupported(f"{expression.name}() giving a {expression.type}", expression.place)
        case _:
            source: Place = yield _place(code, expression)
            code.copy(target.pointer, source.pointer, code.layout.size(target.type))


def assign(code: Code, target: ir.Expression, source: ir.Expression) -> None:
    """Emit `target = source`. The source is read completely before the target changes, so they may overlap.

    Raises P4Error for an expression that the engine does not support.
    """
    if isinstance(target.type, SCALARS):
        store(code, target, value(code, source))
    elif isinstance(source, ir.StructValue):
        temporary = code.temporary(target.type)
        copy_into(code, source, temporary)
        code.copy(place(code, target).pointer, temporary.pointer, code.layout.size(target.type))
    else:
        copy_into(code, source, place(code, target))


def store(code: Code, target: ir.Expression, new: Value) -> None:
    """Emit a store of the scalar `new` to an lvalue. If that is a slice, only its bits are changed.

    Raises P4Error for an lvalue that the engine does not support.
    """
    if isinstance(target, ir.Slice):
        low, base = target.low, target.base
        while isinstance(base, ir.Slice):  # A slice of a slice is a slice of the whole.
            low, base = low + base.low, base.base
        old = value(code, base)
        width = old.type.width
        hole = ((1 << width) - 1) ^ (((1 << (target.high - target.low + 1)) - 1) << low)
        kept = code.b.and_(old, code.constant(width, hole))
        moved = code.b.shl(code.resize(new, width), code.constant(width, low))
        target, new = base, code.b.or_(kept, moved)
    code.write(new, place(code, target))


def zero(code: Code, target: Place) -> None:
    """Emit code that sets a place to the value of uninitialised variables: zeros, and invalid headers.

    P4Error for a type that the engine does not support.
    """
    if isinstance(target.type, SCALARS):
        code.write(code.constant(scalar_width(target.type), 0), target)
    else:
        code.clear(target.pointer, code.layout.size(target.type))


def is_valid(code: Code, header: Place) -> Value:
    """Emit a load of whether the header at a place is valid, or any header of the union there, and return it as an
    i1.
    """
    if isinstance(header.type, UnionType):
        valid = code.constant(1, 0)
        for each in components(code, header):
            valid = code.b.or_(valid, is_valid(code, each))
        return valid
    return code.b.trunc(code.load(header.pointer, 8), I1)


def components(code: Code, whole: Place) -> list[Place]:
    """Return the places of the fields of a struct, header, union or tuple, or of a stack's elements, in order.

    Raises P4Error for a type without parts.
    """
    match whole.type:
        case StructType(fields=members) | HeaderType(fields=members) | UnionType(fields=members):
            return [code.member(whole, each.name) for each in members]
        case TupleType(elements=elements):
            return [code.member(whole, str(number)) for number, _ in enumerate(elements)]
        case StackType(size=size):
            return [code.element(whole, number) for number in range(size)]
        case _:
            raise unsupported(f"the parts of a {whole.type}")


def items_of(code: Code, expression: ir.Expression) -> list[Item]:
    """Emit an expression of any type and return the scalars and varbits in it, in wire order.

    Raises P4Error for an expression that the engine does not support.
    """
    if isinstance(expression.type, SCALARS):
        return [] if is_empty(expression.type) else [Scalar(value(code, expression))]
    if isinstance(expression, ir.StructValue):
        return [item for element in expression.elements for item in items_of(code, element)]
    return flatten(code, place(code, expression))


def flatten(code: Code, whole: Place) -> list[Item]:
    """Emit loads of the scalars within a place, at any depth, and return them in wire order, with the places of
    varbits.
    """
    return [Scalar(code.read(each)) if isinstance(each.type, SCALARS) else each for each in leaves(code, whole)]


def leaves(code: Code, whole: Place) -> list[Place]:
    """Emit the addresses of the scalars and varbits within a place, at any depth, and return their places in order."""
    return [Place(code.at(whole.pointer, offset), kind) for offset, kind in code.layout.leaves(whole.type)]


def equal(code: Code, left: Place, right: Place) -> Value:
    """Emit a comparison of two places of the same type, and return an i1.

    Headers are equal if both are invalid, or both are valid and all fields are equal. Raises P4Error for a type that
    the engine does not support.
    """
    b = code.b
    if is_empty(left.type):
        return code.constant(1, 1)
    if isinstance(left.type, SCALARS):
        return b.icmp_unsigned("==", code.read(left), code.read(right))
    if isinstance(left.type, Varbit):
        lengths = b.icmp_unsigned("==", code.load(left.pointer, 32), code.load(right.pointer, 32))
        # The unused bytes of a varbit are always zero, so all of its storage can be compared.
        size = (code.layout.size(left.type) - VARBIT_BYTES) * 8
        first, second = (code.load(code.at(each.pointer, VARBIT_BYTES), size, alignment=8) for each in (left, right))
        return b.and_(lengths, b.icmp_unsigned("==", first, second))
    result = code.constant(1, 1)
    for one, other in zip(components(code, left), components(code, right), strict=True):
        result = b.and_(result, equal(code, one, other))
    if not isinstance(left.type, HeaderType):
        return result
    first, second = is_valid(code, left), is_valid(code, right)
    neither = b.not_(b.or_(first, second))
    return b.or_(neither, b.and_(b.and_(first, second), result))


def _binary(code: Code, expression: ir.Binary) -> Walk[Value]:
    left, right, operator = expression.left, expression.right, expression.operator
    first: Value
    second: Value
    if operator in ("&&", "||"):
        first = yield _value(code, left)
        if _is_pure(code, right):
            second = yield _value(code, right)
            return code.b.and_(first, second) if operator == "&&" else code.b.or_(first, second)
        settled = ir.Literal(operator == "||", BOOL)
        branches = (right, settled) if operator == "&&" else (settled, right)
        chosen: Value = yield _choose(code, first, *branches)
        return chosen
    if operator in ("==", "!=") and not isinstance(left.type, SCALARS):
        whole: Place = yield _place(code, left)
        other: Place = yield _like(code, right, left.type)
        result = equal(code, whole, other)
        return result if operator == "==" else code.b.not_(result)
    if operator in ("<<", ">>"):
        amount: int | str | Value = right.value if isinstance(right, ir.Literal) else (yield _value(code, right))
        assert not isinstance(amount, str)
        first = yield _value(code, left)
        return arithmetic.shift(code, operator, first, amount, is_signed(left.type))
    first = yield _value(code, left)
    second = yield _value(code, right)
    return arithmetic.binary(code, operator, first, second, is_signed(left.type))


def _choose(code: Code, condition: Value, yes: ir.Expression, no: ir.Expression) -> Walk[Value]:
    """Emit both branches and return the value of the one taken."""
    choice = Choice(code, condition)
    first: Value = yield _value(code, yes)
    choice.otherwise(first)
    second: Value = yield _value(code, no)
    return choice.end(second)


def _like(code: Code, expression: ir.Expression, kind: Type) -> Walk[Place]:
    """Return the place of the right side of a comparison. A list gets the type of the left side."""
    if not isinstance(expression, ir.StructValue):
        where: Place = yield _place(code, expression)
        return where
    temporary = code.temporary(kind)
    yield _copy_into(code, expression, temporary)
    return temporary


def _is_pure(code: Code, expression: ir.Expression) -> bool:
    """Return whether evaluating an expression unnecessarily is harmless and cheap."""
    step = _pure(code.unit.pure, expression)
    return step if isinstance(step, bool) else run(step)


def _pure(known: dict[int, bool], node: ir.Node | ir.Case) -> Step[bool]:
    """Compute it for a node and all nodes below it, each once. Ids are valid keys, as the program keeps nodes alive."""
    while isinstance(node, ir.Member | ir.Slice | ir.Unary | ir.Cast):
        node = node.operand if isinstance(node, ir.Unary | ir.Cast) else node.base
    if isinstance(node, ir.Literal | ir.VariableRef):
        return True
    if isinstance(node, ir.Call | ir.TableHit | ir.Lookahead | ir.Last | ir.Next):
        return False
    found = known.get(id(node))
    return _all_pure(known, node) if found is None else found


def _all_pure(known: dict[int, bool], node: ir.Node | ir.Case) -> Walk[bool]:
    pure = True
    for each in children(node):
        below: bool = yield _pure(known, each)
        if not below:
            pure = False
            break
    known[id(node)] = pure
    return pure


def _element(code: Code, stack: Place, index: Value) -> Place:
    """Return the element at an index. With an index out of range, it is a spare element, invalid and zero."""
    assert isinstance(stack.type, StackType)
    width = max(32, index.type.width)
    wide = code.resize(index, width)
    inside = code.b.icmp_unsigned("<", wide, code.constant(width, stack.type.size))
    spare = code.temporary(stack.type.element)
    zero(code, spare)
    safe = code.b.select(inside, code.resize(wide, 32), code.i32(0))
    return Place(code.b.select(inside, code.element(stack, safe).pointer, spare.pointer), stack.type.element)


def _parsed_element(code: Code, stack: Place, index: Value) -> Place:
    """Return `next` or `last`. Outside the stack, the parser ends with StackOutOfBounds."""
    assert isinstance(stack.type, StackType)
    cursor = _cursor(code)
    cursor.fail(code, code.b.icmp_unsigned(">=", index, code.i32(stack.type.size)), "StackOutOfBounds")
    return code.element(stack, index)


def _cursor(code: Code) -> Cursor:
    if code.cursor is None:
        raise unsupported("next, last and lookahead outside a parser")
    return code.cursor


def _lookahead(code: Code, kind: Type) -> Value:
    cursor, width = _cursor(code), scalar_width(kind)
    cursor.need(code, code.i32(-(-width // 8)))
    return read_bits(code, cursor.pointer(code), 0, width)


def _lookahead_into(code: Code, target: Place, kind: Type) -> None:
    cursor, parts = _cursor(code), leaves(code, target)
    if any(isinstance(each.type, Varbit) for each in parts):
        raise unsupported("a lookahead of a type with a varbit")
    total = sum(scalar_width(each.type) for each in parts)
    cursor.need(code, code.i32(-(-total // 8)))
    pointer, offset = cursor.pointer(code), 0
    if isinstance(kind, HeaderType):
        code.store(code.constant(8, 1), target.pointer)
    for part in parts:
        width = scalar_width(part.type)
        code.write(read_bits(code, pointer, offset, width), part)
        offset += width
