"""Writes an application's kernel as a control for Tofino: registers with their updates, tables, hashes, statements."""

from __future__ import annotations

import linecache

from midflight.primitives.emit.expressions import Printer, p4_type
from midflight.primitives.emit.names import KEYWORDS, TAKEN, constant, spelled
from midflight.primitives.emit.tables import IN_TABLES, SearchWriter, found
from midflight.primitives.emit.tna.architecture import RESERVED, Architecture
from midflight.primitives.emit.tna.depth import stages
from midflight.primitives.emit.tna.lowered import Action, Execute, HashOf, Statements, Stored, Tabulated
from midflight.primitives.emit.tna.lowered import found as inside
from midflight.primitives.emit.tna.lowering import lower
from midflight.primitives.emit.tna.stateful import stored_kind
from midflight.primitives.emit.writer import Writer
from midflight.primitives.kernel.primitive import Primitive
from midflight.primitives.kernel.source import Line
from midflight.primitives.kernel.typed import (
    Alert,
    Assign,
    Binary,
    Cast,
    Choose,
    Compare,
    Const,
    Decide,
    Draw,
    Expr,
    If,
    Local,
    Logic,
    Mirror,
    Not,
    Old,
    Return,
    Search,
    Statement,
    Unrolled,
    within,
)
from midflight.primitives.kernel.types import Kind
from midflight.stackless import Walk, run

__all__ = ["POLYNOMIALS", "TnaKernelWriter"]

CELL, ANSWER = "stored", "result"
"""The parameters of a register's update: its cell, and what the update returns."""

POLYNOMIALS = (
    0x04C11DB7,
    0x1EDC6F41,
    0x741B8CD7,
    0x32583499,
    0xA833982B,
    0x814141AB,
    0x000000AF,
    0xF4ACFB13,
)
"""CRC-32 polynomials, without the highest term: those of IEEE 802.3, Castagnoli, Koopman, and others in use."""


class TnaKernelWriter:
    """Writes the kernel of the application `name` as a control, for one of Tofino's architectures.

    KernelError, with the place in the kernel, for a kernel that the architecture cannot run.
    """

    def __init__(self, name: str, primitive: Primitive, architecture: Architecture, out: Writer) -> None:
        self.name = name
        self.primitive = primitive
        self.kernel = primitive.kernel
        self.out = out
        self.lowered = lower(primitive, architecture)
        self.quoted: set[tuple[str, int]] = set()
        searches = inside(self.lowered.body, Search)
        tabulated = inside(self.lowered.body, Tabulated)
        self.names: dict[str, str] = {}
        self._name(searches, tabulated)
        self.printer = Printer(f"hdr.{name}", self.names, now="meta.now")
        self.searches = {each.table: SearchWriter(each, primitive.tables[each.source], self.names) for each in searches}
        self.tabulated = tabulated
        self.operations = self._operations()

    def _name(self, searches: list[Search], tabulated: list[Tabulated]) -> None:
        """Choose a P4 name for each variable that nothing else has."""
        self.taken = taken = {*self.lowered.registers, *KEYWORDS, *TAKEN, *IN_TABLES, *RESERVED, CELL, ANSWER}
        taken |= {each.name for stored in self.lowered.registers.values() for each in stored.actions.values()}
        taken |= {name for each in searches for name in (each.table, found(each.table))}
        taken |= {name for each in tabulated for name in (each.table, found(each.table))}
        for local in self.lowered.locals:
            name = local.replace(".", "_")
            while name in taken:
                name += "_value" if not name.endswith("_value") else "_"
            taken.add(name)
            self.names[local] = name

    def _operations(self) -> dict[str, str]:
        """Return the name of an action for each assignment of an operation or of a hash, by the assignment's P4.

        p4c puts operations that are assigned directly back into the conditions and operations that use the result, so
        that these become too complex. It does not do that with actions. Statements that follow each other become one
        action, which has room for one hash only.
        """
        found: dict[str, str] = {}
        computed: list[Assign | HashOf] = [each for each in inside(self.lowered.body, Assign) if _computes(each)]
        computed += inside(self.lowered.body, HashOf)
        for each in computed:
            text = self._assignment(each)
            if text in found:
                continue
            base = self.names[each.target.name] if isinstance(each.target, Local) else spelled(each.target.name)
            name, number = f"compute_{base}", 1
            while name in self.taken:
                number += 1
                name = f"compute_{base}_{number}"
            self.taken.add(name)
            found[text] = name
        return found

    def _assignment(self, each: Assign | HashOf) -> str:
        if isinstance(each, HashOf):
            covered = ", ".join(self.printer(value) for value in each.values)
            return f"{self.names[each.target.name]} = hash_{each.number}_of.get({{ {covered} }});"
        return f"{self.printer(each.target)} = {self._value(each.value)};"

    def write(self) -> None:
        """Write the whole control: variables, registers with their updates, hashes, tables, and the kernel's
        statements.
        """
        out = self.out
        out.line(f"// Its longest chain of operations that depend on each other takes {stages(self.lowered)} stages.")
        opening = f"control {self.name}_kernel("
        parameters = "inout headers_t hdr, inout metadata_t meta"
        if self.kernel.alert or self.kernel.mirrors:
            out.line(f"{opening}{parameters},")
            opening, parameters = " " * len(opening), "inout ingress_intrinsic_metadata_for_deparser_t ig_dprsr_md"
        with out.block(f"{opening}{parameters})"):
            for local, kind in self.lowered.locals.items():
                out.line(f"{p4_type(kind)} {self.names[local]};")
            if self.lowered.locals:
                out.line()
            for array, stored in self.lowered.registers.items():
                self._register(array, stored)
            for number in range(len(self.lowered.seeds)):
                self._hash(number)
            for draw in inside(self.lowered.body, Draw):
                out.line(f"Random<{p4_type(draw.target.kind)}>() {self.names[draw.target.name]}_random;")
                out.line()
            for each in self.tabulated:
                self._table(each)
            for search in self.searches.values():
                search.declare(out, self.printer)
            for text, name in self.operations.items():
                with out.block(f"action {name}()"):
                    out.long(text)
                out.line()
            with out.block("apply"):
                run(self._statements(self.lowered.body))

    def _register(self, array: str, stored: Stored) -> None:
        """Write a register array and its updates. Single bits stay so if they are only set and cleared."""
        out = self.out
        kind = self._cell(array)
        index = Kind(max(1, (stored.size - 1).bit_length()))
        initial = self.printer.plain(stored.initial, kind)
        out.line(f"Register<{p4_type(kind)}, {p4_type(index)}>({stored.size}, {initial}) {array};")
        for action in stored.actions.values():
            kinds = f"{p4_type(kind)}, {p4_type(index)}, {p4_type(kind)}"
            with out.block(f"RegisterAction<{kinds}>({array}) {action.name} =", "};"):
                answer = f", out {p4_type(kind)} {ANSWER}" if action.returns else ""
                with out.block(f"void apply(inout {p4_type(kind)} {CELL}{answer})"):
                    if action.returns == "old":
                        out.line(f"{ANSWER} = {CELL};")
                    self._update(action, kind)
                    if action.returns == "new":
                        out.line(f"{ANSWER} = {CELL};")
        out.line()

    def _cell(self, array: str) -> Kind:
        """Return the type of an array's cells."""
        stored = self.lowered.registers[array]
        if stored.of.width == 1 and all(isinstance(each.new, (Const, Old)) for each in stored.actions.values()):
            return stored_kind(stored.of, bits=True)
        return stored.kind

    def _update(self, action: Action, kind: Kind) -> None:
        run(self._assigned(_Cell(self.printer, kind), action.new))

    def _assigned(self, show: _Cell, new: Expr) -> Walk[None]:
        """Write the statements that give a register's cell its new value."""
        out = self.out
        match new:
            case Old():
                return
            case Choose(condition=condition, yes=yes, no=no) if isinstance(yes, Old):
                with out.block(f"if ({show.condition(Not(condition))})"):
                    yield self._assigned(show, no)
            case Choose(condition=condition, yes=yes, no=no):
                with out.block(f"if ({show.condition(condition)})"):
                    yield self._assigned(show, yes)
                if not isinstance(no, Old):
                    out.undo()
                    with out.block("} else"):
                        yield self._assigned(show, no)
            case _:
                out.long(f"{CELL} = {show(new)};")

    def _hash(self, number: int) -> None:
        """Write a hash. The first is the CRC-32 of IEEE 802.3; each further one has another polynomial."""
        polynomial = POLYNOMIALS[number]
        name = f"hash_{number}"
        if number == 0:
            self.out.line(f"Hash<bit<32>>(HashAlgorithm_t.CRC32) {name}_of;")
        else:
            ones = "32w0xFFFFFFFF"
            arguments = f"32w{polynomial:#010x}, true, false, false, {ones}, {ones}"
            self.out.line(f"CRCPolynomial<bit<32>>({arguments}) {name}_polynomial;")
            self.out.line(f"Hash<bit<32>>(HashAlgorithm_t.CUSTOM, {name}_polynomial) {name}_of;")
        self.out.line()

    def _table(self, each: Tabulated) -> None:
        """Write a table with constant entries, such as the powers of two for a shift of 1 by a number of the packet."""
        out, kind = self.out, each.target.kind
        assert kind is not None
        target = self.names[each.target.name]
        with out.block(f"action {found(each.table)}({p4_type(kind)} {each.called})"):
            out.line(f"{target} = {each.called};")
        out.line()
        with out.block(f"table {each.table}"):
            with out.block("key ="):
                out.line(f"{self.printer(each.key)}: exact;")
            with out.block("actions ="):
                out.line(f"{found(each.table)};")
            out.line(f"const default_action = {found(each.table)}(0);")
            with out.block("const entries ="):
                for place, value in enumerate(each.values):
                    out.line(f"{place}: {found(each.table)}({value});")
            out.line(f"size = {len(each.values)};")
        out.line()

    def _statements(self, body: Statements) -> Walk[None]:
        for each in body:
            with self.out.origin(each.line):
                match each:
                    case If():
                        yield from self._branch(each)
                    case Unrolled(variable=variable, rounds=rounds):
                        for number, inner in rounds:
                            self.out.line(f"// {variable} {number}")
                            yield self._statements(inner)
                    case _:
                        self._statement(each)

    def _branch(self, each: If) -> Walk[None]:
        out = self.out
        if not each.yes:
            with out.block(f"if (!{self.printer.tight(each.condition)})"):
                yield self._statements(each.no)
            return
        opening = f"if ({self.printer(each.condition)})"
        while True:
            rest = each.no
            with out.block(opening):
                yield self._statements(each.yes)
            if not rest:
                return
            out.undo()
            if len(rest) == 1 and isinstance(rest[0], If) and rest[0].yes:
                each = rest[0]
                opening = f"}} else if ({self.printer(each.condition)})"
                continue
            with out.block("} else"):
                yield self._statements(rest)
            return

    def _statement(self, each: Statement | Execute | HashOf | Tabulated) -> None:
        out, show = self.out, self.printer
        match each:
            case Assign() | HashOf():
                text = self._assignment(each)
                out.long(f"{self.operations[text]}();" if text in self.operations else text)
            case Execute(array=array, action=action, index=index, target=target, line=line):
                self._quote(line)
                call = f"{action}.execute({show(index)})"
                out.line(f"{self._cast(array, target)}{call};" if target is not None else f"{call};")
            case Tabulated(table=table):
                out.line(f"{table}.apply();")
            case Draw(target=target):
                out.line(f"{self.names[target.name]} = {self.names[target.name]}_random.get();")
            case Decide(verdict=verdict):
                out.line(f"meta.verdict = {verdict.name};")
            case Return():
                out.line("return;")
            case Mirror():
                out.line(f"meta.mirror_session = (MirrorId_t){constant(self.name)};")
                out.line("ig_dprsr_md.mirror_type = MIRROR;")
            case Alert(values=values):
                for (name, kind), value in zip(self.kernel.alert, values, strict=True):
                    cast = f"(bit<{kind.width}>){show.tight(value)}" if kind.signed else show.value(value)
                    out.long(f"meta.{self.name}_alert.{spelled(name)} = {cast};")
                out.line(f"ig_dprsr_md.digest_type = {self.name.upper()}_DIGEST;")
            case Search(table=table, hit=hit, line=line):
                self._quote(line)
                hits = self.names.get(hit.name, "") if hit.name in self.lowered.locals else ""
                self.searches[table].write(out, show, hit=hits)
            case _:
                raise AssertionError(f"{each} is not lowered")

    def _cast(self, array: str, target: Local) -> str:
        """Return the start of the assignment of what an update returns."""
        cell = self._cell(array)
        cast = "" if cell == target.kind else f"({p4_type(target.kind)})"
        if cast and target.kind and cell.width != target.kind.width and cell.signed != target.kind.signed:
            cast += f"({p4_type(Kind(target.kind.width, cell.signed))})"
        return f"{self.names[target.name]} = {cast}"

    def _value(self, value: Expr) -> str:
        match value:
            case Binary(operator="min" | "max" as operator, left=left, right=right):
                return f"{operator}({self.printer.value(left)}, {self.printer.value(right)})"
            case _:
                return self.printer.value(value)

    def _quote(self, line: Line) -> None:
        """Write a line of the user's source as a comment above its P4, once."""
        if (line.file, line) not in self.quoted:
            self.quoted.add((line.file, line))
            text = linecache.getline(line.file, line).strip()
            self.out.comment(text + "...)" if text.endswith("(") else text)


def _computes(each: Assign) -> bool:
    return any(isinstance(part, Binary) for part in within(each.value))


class _Cell:
    """Prints the expressions of a register's update, in which numbers have the type of the cell."""

    def __init__(self, printer: Printer, kind: Kind) -> None:
        self.printer = printer
        self.kind = kind

    def __call__(self, expr: Expr) -> str:
        """Return the text of a value that the cell gets."""
        match expr:
            case Binary(operator="min" | "max" as operator, left=left, right=right):
                return f"{operator}({self.operand(left)}, {self.operand(right)})"
            case Binary(operator=operator, left=left, right=right):
                return f"{self.operand(left)} {operator} {self.operand(right)}"
            case _:
                return self.operand(expr)

    def operand(self, expr: Expr) -> str:
        match expr:
            case Old():
                return CELL
            case Const(value=value):
                return self.printer.operand(self.kind.wrap(value), self.kind)
            case _ if expr.kind == self.kind:
                return self.printer.tight(expr)
            case _:
                return self.printer(Cast(expr, self.kind))

    def condition(self, expr: Expr) -> str:
        """Return the text of a condition on the cell."""
        return run(self._condition(expr))

    def _condition(self, expr: Expr) -> Walk[str]:
        match expr:
            case Not(operand=Compare(operator=operator, left=left, right=right)):
                opposite = {"==": "!=", "!=": "==", "<": ">=", ">": "<=", "<=": ">", ">=": "<"}[operator]
                return f"{self.side(left)} {opposite} {self.side(right)}"
            case Not(operand=Not(operand=operand)):
                inner: str = yield self._condition(operand)
                return inner
            case Not(operand=Logic(operator=operator, left=left, right=right)):
                opposed = Logic("||" if operator == "&&" else "&&", Not(left), Not(right))
                turned: str = yield self._condition(opposed)
                return turned
            case Logic(operator=operator, left=left, right=right):
                one: str = yield self._condition(left)
                other: str = yield self._condition(right)
                first = f"({one})" if isinstance(left, Logic) and left.operator != operator else one
                second = f"({other})" if isinstance(right, Logic) and right.operator != operator else other
                return f"{first} {operator} {second}"
            case Compare(operator=operator, left=left, right=right):
                return f"{self.side(left)} {operator} {self.side(right)}"
            case _:
                return self.printer(expr)

    def side(self, expr: Expr) -> str:
        """Return the text of one side of a comparison: a number, or a sum or difference."""
        match expr:
            case Cast(operand=Binary() as inner):
                return self(inner)
            case Const(value=value):
                return self.printer.plain(self.kind.wrap(value), self.kind)
            case Binary():
                return self(expr)
            case _:
                return self.operand(expr)
