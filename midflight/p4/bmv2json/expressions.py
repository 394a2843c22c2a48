"""Expressions. JSON computes with integers of any size; P4 with the fewest bits that give the same result."""

from __future__ import annotations

from typing import Any

from midflight.p4.bmv2json.names import Json, Names, Value, refusal

__all__ = ["Expressions"]

LARGEST = 2048
# A saturating cast repeats its operand, so casts within casts would grow exponentially.
REPEATED = 4096
COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
MODULAR = ("+", "-", "*", "|", "^", "&")


class Expressions:
    """Translates expressions of BMv2's JSON to P4 text.

    `data` are the values in P4 that stand for the parameters of the action around the expression, by index.
    """

    def __init__(self, names: Names, data: list[Value] | None = None) -> None:
        self.names = names
        self._data = data or []

    def modular(self, node: Json, width: int) -> str:
        """Return the P4 text of an expression's value modulo 2**`width`, of type `bit<width>`.

        `node` is the expression's JSON object. P4Error for an expression that is not supported.
        """
        node = _inner(node)
        if node.get("type") == "hexstr":
            return f"{width}w{_number(node) % (1 << width)}"
        if "op" in node and "type" not in node:
            op: str = node["op"]
            left: Any = node.get("left")
            right: Any = node.get("right")
            if op == "&" and (mask := _constant(right)) is not None and mask >= 0:
                bits = min(width, mask.bit_length())
                if not bits:
                    return f"{width}w0"
                low = self.modular(left, bits)
                masked = (
                    low if mask & ((1 << bits) - 1) == (1 << bits) - 1 else f"({low} & {bits}w{mask % (1 << bits)})"
                )
                return masked if bits == width else f"((bit<{width}>) {masked})"
            if op in MODULAR:
                if left is None:
                    left = {"type": "hexstr", "value": "0x0"}
                return f"({self.modular(left, width)} {op} {self.modular(right, width)})"
            if op == "~":
                return f"(~{self.modular(right, width)})"
            if op == "<<":
                return f"({self.modular(left, width)} << {self._amount(right)})"
            if op == "?":
                yes, no = self.modular(left, width), self.modular(right, width)
                return f"({self.boolean(node['cond'])} ? {yes} : {no})"
            if op == "two_comp_mod" and (bits_of := _constant(right)) is not None and width <= bits_of:
                return self.modular(left, width)
        return _as_bits(self.exact(node), width)

    def exact(self, node: Json) -> Value:
        """Return the P4 text and type of an expression, wide enough that no operation in it wraps.

        `node` is the expression's JSON object. P4Error for an expression that is not supported.
        """
        node = _inner(node)
        match node.get("type"):
            case "hexstr":
                value = _number(node)
                if value < 0:
                    width = value.bit_length() + 1
                    return Value(f"(int<{width}>) ({value})", width, True)
                width = max(1, value.bit_length())
                return Value(f"{width}w{value}", width)
            case "field":
                return self.names.field(node["value"])
            case "runtime_data" | "local":
                return self._data[node["value"]]
            case "stack_field":
                stack, name = node["value"]
                return self.names.element_field(stack, f"{self.names.stack(stack)}.last", name)
            case "lookahead":
                start, width = node["value"]
                if not start:
                    return Value(f"packet.lookahead<bit<{width}>>()", width)
                return Value(f"packet.lookahead<bit<{start + width}>>()[{width - 1}:0]", width)
            case "bool":
                return Value("1w1" if node["value"] else "1w0", 1)
            case None:
                return self._operation(node)
            case kind:
                raise refusal(f"a value of type {kind!r} is not supported")

    def _operation(self, node: Json) -> Value:
        op: str = node["op"]
        left: Any = node.get("left")
        right: Any = node.get("right")
        if op == "&" and (mask := _constant(right)) is not None and mask > 0:
            width = mask.bit_length()
            return Value(self.modular(node, width), width)
        if op == "b2d":
            return Value(f"((bit<1>) {self.boolean(right)})", 1)
        if op in (*COMPARISONS, "and", "or", "not", "d2b", "valid", "valid_union"):
            return Value(f"((bit<1>) {self.boolean(node)})", 1)
        if op == "access_field":
            return self._element(left, right)
        if op == "two_comp_mod":
            size = _constant(right)
            if size is None:
                raise refusal("two_comp_mod needs a constant width")
            return Value(f"((int<{size}>) {self.modular(left, size)})", size, True)
        if op in ("sat_cast", "usat_cast"):
            return self._saturated(self.exact(left), _constant(right) or 0, signed=op == "sat_cast")
        if op == "last_stack_index":
            return Value(f"{self.names.stack(_inner(right)['value'])}.lastIndex", 32)
        if op == ">>":
            whole = self.exact(left)
            return Value(f"({whole.text} >> {self._amount(right)})", whole.width, whole.signed)
        if op == "<<" and (amount := _constant(right)) is not None:
            whole = self.exact(left)
            width = _bounded(whole.width + amount)
            return Value(f"({_as(whole, width, whole.signed)} << {amount})", width, whole.signed)
        if op == "~":
            whole = self.exact(right)
            return Value(f"(~{_as(whole, whole.width + 1, True)})", whole.width + 1, True)
        if op == "?":
            first, second, width, signed = self._common(left, right)
            return Value(f"({self.boolean(node['cond'])} ? {first} : {second})", width, signed)
        if op in MODULAR:
            a = self.exact(left) if left else Value("1w0", 1)
            b = self.exact(right)
            signed = a.signed or b.signed or op == "-"
            size = a.width + b.width if op == "*" else max(a.width, b.width)
            width = _bounded(size + 2)
            return Value(f"({_as(a, width, signed)} {op} {_as(b, width, signed)})", width, signed)
        if op in ("/", "%"):
            first, second, width, signed = self._common(left, right)
            return Value(f"({first} {op} {second})", width, signed)
        raise refusal(f"the operation {op!r} of BMv2's JSON is not supported")

    def boolean(self, node: Json) -> str:
        """Return the P4 text of a condition, of type `bool`. A number is true if it is not 0.

        `node` is the expression's JSON object. P4Error for an expression that is not supported.
        """
        node = _inner(node)
        kind = node.get("type")
        if kind == "bool":
            return "true" if node["value"] else "false"
        if kind == "field" and node["value"][1] == "$valid$":
            base = node["value"][0]
            return f"{self.header(base) if isinstance(base, dict) else self.names.header(base)}.isValid()"
        if kind is not None:
            value = self.exact(node)
            return f"({value.text} != 0)"
        op: str = node["op"]
        left: Any = node.get("left")
        right: Any = node.get("right")
        if op == "d2b":
            return self.boolean(right)
        if op in ("valid", "valid_union"):
            return f"{self.header(right)}.isValid()"
        if op == "not":
            return f"(!{self.boolean(right)})"
        if op in ("and", "or"):
            return f"({self.boolean(left)} {'&&' if op == 'and' else '||'} {self.boolean(right)})"
        if op == "?":
            return f"({self.boolean(node['cond'])} ? {self.boolean(left)} : {self.boolean(right)})"
        if op in COMPARISONS:
            inner = _inner(left)
            if inner.get("type") in ("header", "header_stack", "header_union", "header_union_stack"):
                return f"({self.header(left)} {op} {self.header(right)})"
            first, second, _, _ = self._common(left, right)
            return f"({first} {op} {second})"
        return f"({self.exact(node).text} != 0)"

    def header(self, node: Json) -> str:
        """Return the P4 text of a reference to a header, union or stack, which may be assigned to.

        `node` is the expression's JSON object. P4Error for anything else.
        """
        node = _inner(node)
        match node.get("type"):
            case "header":
                return self.names.header(node["value"])
            case "header_union":
                return self.names.union(node["value"])
            case "header_stack" | "header_union_stack":
                return self.names.stack(node["value"])
            case None if node.get("op") == "dereference_header_stack":
                index = self.exact(node["right"])
                return f"{self.header(node['left'])}[{_index(index)}]"
            case "stack_field" if node["value"][1] == "last":
                return f"{self.names.stack(node['value'][0])}.last"
            case kind:
                raise refusal(f"a header of type {kind or node.get('op')!r} is not supported")

    def target(self, node: Json) -> Value:
        """Return the P4 text and type of a reference to a field, which may be assigned to.

        `node` is the expression's JSON object. P4Error for anything else, and for the read-only `parser_error`.
        """
        inner = _inner(node)
        read_only = inner.get("value") == ["standard_metadata", "parser_error"]
        if inner.get("type") == "field" and inner["value"][1] != "$valid$" and not read_only:
            return self.names.field(inner["value"])
        if inner.get("op") == "access_field":
            return self._element(inner["left"], inner["right"])
        if inner.get("type") == "stack_field":
            return self.exact(inner)
        raise refusal("the target of an assignment is not supported")

    def _element(self, left: Json, at: int) -> Value:
        inner = _inner(left)
        if inner.get("op") != "dereference_header_stack":
            raise refusal("access_field is supported for elements of header stacks only")
        return self.names.element_field(_inner(inner["left"])["value"], self.header(left), at)

    def _amount(self, node: Json) -> str:
        constant = _constant(node)
        if constant is not None:
            return str(constant)
        value = self.exact(node)
        if value.signed:
            raise refusal("a shift by a signed amount is not supported")
        return value.text

    def _common(self, left: Json, right: Json) -> tuple[str, str, int, bool]:
        """Return two values with the same type."""
        a, b = self.exact(left), self.exact(right)
        signed = a.signed or b.signed
        width = max(each.width + (signed and not each.signed) for each in (a, b))
        return _as(a, width, signed), _as(b, width, signed), width, signed

    def _saturated(self, value: Value, width: int, *, signed: bool) -> Value:
        low, high = (-(1 << width - 1), (1 << width - 1) - 1) if signed else (0, (1 << width) - 1)
        if len(value.text) > REPEATED:
            raise refusal(f"a saturating cast of an expression of more than {REPEATED} characters is not supported")
        size = max(value.width, width) + 2
        whole = _as(value, size, True)
        least, most = f"({size}s0 + ({low}))", f"{size}s{high}"
        limited = f"({whole} < {least} ? {least} : ({whole} > {most} ? {most} : {whole}))"
        bits = f"((bit<{width}>) ((bit<{size}>) {limited}))"
        return Value(f"((int<{width}>) {bits})" if signed else bits, width, signed)


def _inner(node: Json) -> Json:
    """Return the node inside of wrappers of type `expression`."""
    while node.get("type") == "expression":
        node = node["value"]
    return node


def _constant(node: Json | None) -> int | None:
    inner = _inner(node) if node is not None else {}
    return _number(inner) if inner.get("type") == "hexstr" else None


def _number(node: Json) -> int:
    return int(node["value"], 16)


def _bounded(width: int) -> int:
    if width > LARGEST:
        raise refusal(f"an expression needs {width} bits, more than {LARGEST}")
    return width


def _as_bits(value: Value, width: int) -> str:
    """Return a value modulo 2**width, as `bit<width>`."""
    if value.signed:
        same = f"((bit<{value.width}>) {value.text})"
        if width > value.width:
            return f"((bit<{width}>) ((int<{width}>) {value.text}))"
        return same if width == value.width else f"((bit<{width}>) {same})"
    return value.text if width == value.width else f"((bit<{width}>) {value.text})"


def _as(value: Value, width: int, signed: bool) -> str:
    """Return the same value in a wider type."""
    if signed:
        if value.signed:
            return value.text if width == value.width else f"((int<{width}>) {value.text})"
        return f"((int<{width}>) {_as_bits(value, width)})"
    return _as_bits(value, width)


def _index(value: Value) -> str:
    """Return an index, which is a number alone if it is constant."""
    head, _, tail = value.text.partition("w")
    return tail if head.isdigit() and tail.isdigit() else value.text
