"""Generated statements."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from midflight.testbed.fuzz.draw import Draw, width_of
from midflight.testbed.fuzz.expressions import Expressions
from midflight.testbed.fuzz.scope import Callee, HeaderAt, Scope, Value
from midflight.testbed.fuzz.tree import Tree, join
from midflight.testbed.fuzz.types import FIRST

__all__ = ["Objects", "Statements", "TableAt"]

ALGORITHMS = ("crc32", "crc16", "csum16", "xor16", "identity")

GROUPS, SESSIONS, FIELD_LISTS = (1, 2), (1, 2), (1, 2)
"""The multicast groups and clone sessions that a control plane creates, and the lists of fields that are preserved."""


@dataclass(frozen=True, slots=True)
class TableAt:
    """A table that a control can apply.

    `actions` are those that a `switch` over it may name, and `spoils` the headers that its actions may make invalid.
    """

    name: str
    actions: tuple[str, ...]
    spoils: frozenset[str]


@dataclass(slots=True)
class Objects:
    """What the statements of a control can use, apart from variables.

    registers: pairs of name and type, with 2 to the power of 4 cells; counters and meters have as many
    stacks: pairs of path and size
    digests: pairs of a struct's name and the types of its fields, those that are not sent yet
    tables: those that are not applied yet, because a control applies a table in one place only
    features: the names of the kinds of statement that the program may have
    """

    features: frozenset[str] = frozenset()
    registers: list[tuple[str, str]] = field(default_factory=list)
    counters: list[str] = field(default_factory=list)
    meters: list[tuple[str, str]] = field(default_factory=list)
    stacks: list[tuple[str, int]] = field(default_factory=list)
    digests: list[tuple[str, tuple[str, ...]]] = field(default_factory=list)
    tables: list[TableAt] = field(default_factory=list)
    subs: list[Callee] = field(default_factory=list)


class Statements:
    """Generates the statements of one body, at most 60 with those inside blocks.

    They use what `scope` and `objects` have; `values` in `scope` grow with the variables that are declared.
    """

    def __init__(self, draw: Draw, scope: Scope, objects: Objects) -> None:
        self._draw = draw
        self._scope = scope
        self._objects = objects
        self._expressions = Expressions(draw, scope)
        self._left = 60  # statements that may still follow, however deep they are nested

    def body(self, count: int, depth: int) -> Tree:
        """Return up to `count` statements, with blocks nested at most `depth` deep."""
        made: list[str | Tree] = []
        for _ in range(count):
            if self._left <= 0:
                break
            self._left -= 1
            statement = self._one(depth)
            if statement is not None:
                made.append(statement)
        return join(made, between="\n")

    def _one(self, depth: int) -> Tree | None:
        simple: list[Callable[[], Tree | None]] = [self._assign] * 8 + [self._declare] * 2 + [self._call] * 3
        simple += [self._slice, self._compound]
        if self._scope.place != "function":
            simple += [self._action_call] * 2 if self._scope.place in ("ingress", "egress") else []
            simple += [self._validity] * 2 + [self._copy] + [self._extern] * 3
        if self._scope.place in ("ingress", "egress"):
            simple += [self._table] * 4 + [self._metadata] * 5 + [self._sub]
        if depth > 0:
            nested: list[Callable[[int], Tree | None]] = [self._if] * 4 + [self._guarded] * 2
            if self._scope.place in ("ingress", "egress", "sub"):
                nested += [self._switch]
            if "loops" in self._objects.features and self._scope.place == "action":  # elsewhere p4c is wrong
                nested += [self._loop]
            if self._objects.stacks and self._scope.place in ("ingress", "egress"):
                nested += [self._stack]
            if self._draw.chance(0.35):
                return self._draw.pick(nested)(depth - 1)
        return self._draw.pick(simple)()

    def _statement(self, *parts: str | Tree) -> Tree:
        return Tree("statement", parts)

    def _block(self, depth: int, count: int = 3) -> Tree:
        """Return a block in braces, which may end by leaving the body."""
        with self._scope.inside():
            body = self.body(self._draw.between(1, count), depth)
            leave = ""
            if self._scope.leave and not self._scope.loops and self._draw.chance(0.06):
                leave = f"\n{self._scope.leave};"
            if self._scope.loops and self._draw.chance(0.1):
                leave = "\n" + self._draw.pick(("break;", "continue;"))
        return Tree("", ("{\n", body, Tree("statement", (leave,)), "\n}"))

    def _target(self) -> Value | None:
        """Return something to assign; None if there is nothing."""
        choices = self._scope.writable()
        return self._draw.pick(choices) if choices else None

    def _numeric(self, signed: bool = False) -> Value | None:
        kinds = ("bit<", "int<") if signed else ("bit<",)
        choices = [each for each in self._scope.writable() if each.kind[:4] in kinds]
        return self._draw.pick(choices) if choices else None

    # Variables

    def _assign(self) -> Tree | None:
        target = self._target()
        if target is None:
            return None
        return self._statement(target.path, " = ", self._expressions.of(target.kind, 3), ";")

    def _compound(self) -> Tree | None:
        target = self._numeric(signed=True)
        if target is None:
            return None
        sign = self._draw.pick(("+=", "-=", "*=", "&=", "|=", "^=", "|+|=", "|-|="))
        return self._statement(target.path, f" {sign} ", self._expressions.of(target.kind, 2), ";")

    def _slice(self) -> Tree | None:
        target = self._numeric()
        if target is None:
            return None
        width = width_of(target.kind)
        low = self._draw.between(0, width - 1)
        high = self._draw.between(low, width - 1)
        value = self._expressions.of(f"bit<{high - low + 1}>", 2)
        return self._statement(f"{target.path}[{high}:{low}] = ", value, ";")

    def _declare(self) -> Tree:
        kinds = sorted({each.kind for each in self._scope.readable()}) or ["bit<8>"]
        kind, name = self._draw.pick(kinds), self._draw.name("v")
        made = self._statement(f"{kind} {name} = ", self._expressions.of(kind, 3), ";")
        self._scope.values.append(Value(name, kind))
        return made

    # Calls

    def _call(self) -> Tree | None:
        if not self._scope.procedures:
            return None
        return self._called(self._draw.pick(self._scope.procedures))

    def _action_call(self) -> Tree | None:
        if not self._scope.actions:
            return None
        return self._called(self._draw.pick(self._scope.actions))

    def _called(self, callee: Callee) -> Tree | None:
        arguments = self._expressions.arguments(callee, 2)
        if arguments is None:
            return None
        for each in sorted(callee.spoils):
            self._scope.spoil(each)
        return self._statement(callee.name, "(", arguments, ");")

    def _sub(self) -> Tree | None:
        if not self._objects.subs:
            return None
        callee = self._draw.pick(self._objects.subs)
        arguments = self._expressions.arguments(callee, 2)
        if arguments is None:
            return None
        for each in sorted(callee.spoils):
            self._scope.spoil(each)
        between = ", " if callee.parameters else ""
        return self._statement(f"{callee.name}.apply(hdr, meta{between}", arguments, ");")

    # Headers

    def _validity(self) -> Tree | None:
        choices = [each for each in self._scope.headers if each.whole and each.path != "hdr.h0"]
        if not choices:
            return None
        header = self._draw.pick(choices)
        if self._scope.loops or self._draw.chance(0.6):
            return self._made_valid(header)
        self._scope.spoil(header.path)
        return self._statement(f"{header.path}.setInvalid();")

    def _made_valid(self, header: HeaderAt) -> Tree:
        """Return statements that make a header valid and assign all its fields, which may have any value before."""
        valid = list(self._scope.valid)
        # p4c compiles lists of a header's own fields wrongly.
        self._scope.valid = [each for each in valid if each != header.path]
        values = join([self._expressions.of(kind, 1) for _, kind in header.fields], between=", ")
        self._scope.valid = valid
        if header.union:
            for each in self._scope.headers:
                if each.union == header.union and each.path != header.path:
                    self._scope.spoil(each.path)
        if not self._scope.loops and header.path not in self._scope.valid:
            self._scope.valid.append(header.path)
        return self._statement(f"{header.path}.setValid();\n{header.path} = {{ ", values, " };")

    def _copy(self) -> Tree | None:
        """Copy a header to another of its type, with its validity."""
        pairs = [
            (left, right)
            for left in self._scope.headers
            for right in self._scope.headers
            if left.path != right.path and left.kind == right.kind and not left.union and not right.union
        ]
        pairs = [each for each in pairs if each[0].path != "hdr.h0"]
        if not pairs or self._scope.loops:
            return None
        left, right = self._draw.pick(pairs)
        if right.path in self._scope.valid:
            if left.path not in self._scope.valid:
                self._scope.valid.append(left.path)
        else:
            self._scope.spoil(left.path)
        return self._statement(f"{left.path} = {right.path};")

    def _guarded(self, depth: int) -> Tree | None:
        """Statements that use a header if it is valid."""
        choices = [each for each in self._scope.headers if each.path not in self._scope.valid]
        if not choices or self._scope.place == "function":
            return self._if(depth)
        header = self._draw.pick(choices)
        with self._scope.inside():
            self._scope.valid.append(header.path)
            body = self._block(depth)
        return self._statement(f"if ({header.path}.isValid()) ", body)

    def _stack(self, depth: int) -> Tree | None:
        """Move a header stack, or use an element with a computed index."""
        path, size = self._draw.pick(self._objects.stacks)
        elements = [each for each in self._scope.headers if each.path.startswith(f"{path}[")]
        if self._draw.chance(0.5):
            for each in elements:
                self._scope.spoil(each.path)
            count = self._draw.between(1, size)
            return self._statement(f"{path}.{self._draw.pick(('push_front', 'pop_front'))}({count});")
        if size not in (2, 4):
            return self._if(depth)
        index, kind = self._draw.name("i"), f"bit<{size.bit_length() - 1}>"
        start = self._expressions.of(kind, 2)
        name, of = self._draw.pick(elements[0].fields)
        with self._scope.inside():
            element = f"{path}[{index}]"
            if self._draw.chance(0.5):
                inner = Tree("", (f"{element}.{name} = ", self._expressions.of(of, 2), ";"))
            else:
                targets = self._scope.writable(of)
                if not targets:
                    return None
                inner = Tree("", (f"{self._draw.pick(targets).path} = {element}.{name};",))
        # BMv2 does not take `isValid()` of an element with a computed index.
        condition = " && ".join(f"{each.path}.isValid()" for each in elements)
        return self._statement("{\n", f"{kind} {index} = ", start, f";\nif ({condition}) {{ ", inner, " }\n}")

    # Branches

    def _if(self, depth: int) -> Tree:
        condition = self._expressions.of("bool", 3)
        first = self._block(depth)
        if self._draw.chance(0.5):
            return self._statement("if (", condition, ") ", first)
        return self._statement("if (", condition, ") ", first, " else ", self._block(depth))

    def _switch(self, depth: int) -> Tree:
        kind = f"bit<{self._draw.pick((2, 4, 8, 16))}>"
        value, width = self._expressions.of(kind, 2), width_of(kind)
        labels: list[int] = []
        for _ in range(self._draw.between(1, 3)):
            label = self._draw.value(width)
            if label not in labels:
                labels.append(label)
        cases: list[str | Tree] = []
        for label in labels:
            through = self._draw.chance(0.2)
            head = f"{width}w{label}: "
            cases.append(Tree("case", (head,)) if through else Tree("case", (head, self._block(depth, 2))))
        return self._statement(
            "switch (", value, ") {\n", join(cases, between="\n"), "\ndefault: ", self._block(depth, 2), "\n}"
        )

    def _loop(self, depth: int) -> Tree:
        """A loop of a few rounds."""
        name, count = self._draw.name("i"), self._draw.between(1, 5)
        with self._scope.inside():
            self._scope.values.append(Value(name, "bit<8>", writable=False))
            self._scope.loops += 1
            body = self._block(min(depth, 1), 2)
            self._scope.loops -= 1
        return self._statement(f"for (bit<8> {name} = 0; {name} < {count}; {name} = {name} + 1) ", body)

    def _table(self) -> Tree | None:
        if not self._objects.tables or self._scope.loops:
            return None
        table = self._objects.tables.pop(0)
        for each in sorted(table.spoils):
            self._scope.spoil(each)
        match self._draw.between(0, 3):
            case 0:
                sign = self._draw.pick(("hit", "miss"))
                text = f"if ({table.name}.apply().{sign}) "
                return self._statement(text, self._block(1, 2), " else ", self._block(1, 2))
            case 1 if table.actions:
                labels = self._draw.some(table.actions, 2) or [table.actions[0]]
                cases: list[str | Tree] = [Tree("case", (f"{each}: ", self._block(1, 2), "\n")) for each in labels]
                end = Tree("", ("default: ", self._block(1, 2), "\n}"))
                return self._statement(f"switch ({table.name}.apply().action_run) {{\n", *cases, end)
            case _:
                return self._statement(f"{table.name}.apply();")

    # Externs and standard metadata

    def _extern(self) -> Tree | None:
        objects, draw = self._objects, self._draw
        choices: list[Callable[[], Tree | None]] = [self._hash]
        if objects.registers and self._scope.place != "egress":
            choices += [self._register] * 3
        if objects.counters:
            choices += [
                lambda: self._statement(f"{draw.pick(objects.counters)}.count(", self._expressions.index(4), ");")
            ]
        if objects.meters:
            choices.append(self._meter)
        if objects.digests and not self._scope.loops:
            choices += [self._digest] * 3
        return draw.pick(choices)()

    def _digest(self) -> Tree:
        name, kinds = self._objects.digests.pop()
        values = join([self._expressions.of(kind, 2) for kind in kinds], between=", ")
        return self._statement(f"digest<{name}>(1, {{ ", values, " });")

    def _register(self) -> Tree | None:
        name, kind = self._draw.pick(self._objects.registers)
        if self._draw.chance(0.5):
            targets = self._scope.writable(kind)
            if not targets:
                return None
            target = self._draw.pick(targets).path
            return self._statement(f"{name}.read({target}, ", self._expressions.index(4), ");")
        value = self._expressions.of(kind, 2)
        return self._statement(f"{name}.write(", self._expressions.index(4), ", ", value, ");")

    def _meter(self) -> Tree | None:
        name, kind = self._draw.pick(self._objects.meters)
        targets = self._scope.writable(kind)
        if not targets:
            return None
        target = self._draw.pick(targets).path
        return self._statement(f"{name}.execute_meter(", self._expressions.index(4), f", {target});")

    def _hash(self) -> Tree | None:
        target = self._numeric()
        if target is None or "hash" not in self._objects.features:
            return None
        width = width_of(target.kind)
        if width > 64:
            return None
        most = (1 << self._draw.between(0, width - 1)) if width > 1 else 1
        data = join(
            [self._expressions.of(f"bit<{self._draw.pick((8, 16, 32, 48))}>", 1) for _ in range(3)], between=", "
        )
        algorithm = self._draw.pick(ALGORITHMS)
        return self._statement(
            f"hash({target.path}, HashAlgorithm.{algorithm}, {width}w{self._draw.between(0, 1)}, {{ ", data,
            f" }}, {width}w{most});",
        )  # fmt: skip

    def _metadata(self) -> Tree | None:
        """What decides where a packet goes."""
        features, draw = self._objects.features, self._draw
        ingress = self._scope.place == "ingress"
        choices: list[Callable[[], Tree | None]] = []
        if ingress:
            port = Tree("", ("(bit<9>)", self._expressions.of("bit<3>", 2)))
            choices += [lambda: self._statement("std.egress_spec = ", port, ";")] * 3
        # Only some packets, so that most programs send something.
        dropped = f"if ({FIRST}.tag == 8w{draw.value(8)}) {{ mark_to_drop(std); }}"
        choices += [lambda: self._statement(dropped)]
        if ingress and "multicast" in features:
            choices += [lambda: self._statement(f"std.mcast_grp = {draw.pick(GROUPS)};")]
        if "clone" in features:
            choices += [self._clone] * 2
        if "again" in features:
            choices += [self._again] * 2
        if "truncate" in features:
            choices += [lambda: self._statement(f"truncate({draw.between(1, 60)});")]
        return draw.pick(choices)()

    def _first(self, *parts: str | Tree) -> Tree:
        """Return a statement that a packet executes once, so that no packet circulates indefinitely."""
        condition = self._expressions.of("bool", 2)
        if self._draw.chance(0.6):
            condition = Tree("bool", (f"{FIRST}.tag != 8w{self._draw.value(8)}",))
        guard = "if (std.instance_type == 0 && meta.rounds == 0 && "
        return self._statement(guard, condition, ") { meta.rounds = 1; ", *parts, " }")

    def _clone(self) -> Tree:
        kind = "I2E" if self._scope.place == "ingress" else "E2E"
        session = self._draw.pick(SESSIONS)
        if self._draw.chance(0.5):
            fields = self._draw.pick(FIELD_LISTS)
            return self._first(f"clone_preserving_field_list(CloneType.{kind}, {session}, {fields});")
        return self._first(f"clone(CloneType.{kind}, {session});")

    def _again(self) -> Tree:
        what = "resubmit" if self._scope.place == "ingress" else "recirculate"
        return self._first(f"{what}_preserving_field_list({self._draw.pick(FIELD_LISTS)});")
