"""Emits an application's kernel as a P4 control that contains its registers and tables."""

from __future__ import annotations

import linecache

from midflight.primitives.emit.expressions import Printer, p4_type
from midflight.primitives.emit.names import KEYWORDS, TAKEN, constant, spelled
from midflight.primitives.emit.state import arrays_of, write_state_access
from midflight.primitives.emit.tables import IN_TABLES, SearchWriter, found
from midflight.primitives.emit.writer import Writer
from midflight.primitives.kernel.primitive import Primitive
from midflight.primitives.kernel.source import Line
from midflight.primitives.kernel.typed import (
    Access,
    Alert,
    Assign,
    Checksum,
    Decide,
    Draw,
    Expr,
    If,
    Kernel,
    Mirror,
    Return,
    Search,
    Statement,
    Truth,
    Unrolled,
    accesses,
    reads,
    walk,
)
from midflight.primitives.kernel.types import Kind
from midflight.stackless import Walk, run

__all__ = ["KernelWriter", "alerts_late", "hashes"]


class KernelWriter:
    """Writes one application's kernel as a P4 control, with its registers, tables and variables, to a `Writer`."""

    def __init__(self, name: str, primitive: Primitive, writer: Writer) -> None:
        self.name = name
        kernel, registers = primitive.kernel, primitive.registers
        self.kernel = kernel
        self.registers = {each.name: registers[each.name] for each in primitive.state_layout}
        self.writer = writer
        self.arrays = [array for each, register in self.registers.items() for array in arrays_of(each, register)]
        self.locals: dict[str, tuple[str, Kind | None]] = {}
        self.quoted: set[tuple[str, int]] = set()
        searches = [each for each in walk(kernel.body) if isinstance(each, Search)]
        taken = {*self.arrays, *(name for each in searches for name in (each.table, found(each.table)))}
        taken |= KEYWORDS | TAKEN | (IN_TABLES if searches else frozenset())
        for local, kind in kernel.locals.items():
            self.declare(local, kind, taken)
        for access in accesses(kernel.body):
            if access.new is not None and self.scratch(access):
                self.declare(f"{access.register}_old", registers[access.register].kind, taken)
        for search in searches:
            for key, key_kind in SearchWriter.scratch(search).items():
                self.declare(key, key_kind, taken)
        names = {local: name for local, (name, _) in self.locals.items()}
        self.printer = Printer(f"hdr.{name}", names)
        self.searches = {each.table: SearchWriter(each, primitive.tables[each.source], names) for each in searches}

    def declare(self, local: str, kind: Kind | None, taken: set[str]) -> None:
        """Choose an unused P4 name for the variable `local` of type `kind` (None: a condition), and add it to `taken`.

        Does nothing if the variable has a name.
        """
        if local in self.locals:
            return
        name = local.replace(".", "_")
        while name in taken:
            name += "_value" if not name.endswith("_value") else "_"
        taken.add(name)
        self.locals[local] = (name, kind)

    @staticmethod
    def scratch(access: Access) -> bool:
        """Return whether a register access needs a P4 variable for the old value besides its target."""
        if access.target is None:
            return True
        parts = (access.index, access.condition, access.new)
        return any(access.target in reads(each) for each in parts if each is not None)

    def write(self) -> None:
        """Write the whole control: registers, variables, tables, access to the state, and the kernel's statements."""
        out = self.writer
        clock = ", in standard_metadata_t standard_metadata" if self.kernel.timed else ""
        with out.block(f"control {self.name}_kernel(inout headers_t hdr, inout metadata_t meta{clock})"):
            for name, register in self.registers.items():
                if register.initial:
                    out.line(f"// Holds its values XOR {register.initial}, so that a cleared register means "
                             f"{register.initial}.")  # fmt: skip
                if register.kind.signed:
                    out.line("// Signed: what is read is cast, as BMv2 takes a negative number out as a large one.")
                for array in arrays_of(name, register):
                    out.line(f"register<{p4_type(register.kind)}>({register.size}) {array};")
            for name, kind in self.locals.values():
                out.line(f"{p4_type(kind)} {name};")
            if self.registers or self.locals:
                out.line()
            for each in self.searches.values():
                each.declare(out, self.printer)
            with out.block("apply"):
                if self.registers:
                    write_state_access(out, self.name, self.registers)
                run(self.statements(self.kernel.body))

    def statements(self, body: tuple[Statement, ...]) -> Walk[None]:
        """Write a list of statements with those nested in them, each with its line of the user's source as origin."""
        for each in body:
            with self.writer.origin(each.line):
                match each:
                    case If():
                        yield from self.branch(each)
                    case Unrolled(variable=variable, rounds=rounds):
                        for number, inner in rounds:
                            self.writer.line(f"// {variable} {number}")
                            yield self.statements(inner)
                    case _:
                        self.statement(each)

    def statement(self, statement: Statement) -> None:
        """Write a statement that contains no others."""
        out, show = self.writer, self.printer
        match statement:
            case Assign(target=target, value=value):
                out.long(f"{show(target)} = {show.value(value)};")
            case Checksum(target=target, values=values):
                fields = ", ".join(show(each) for each in values)
                out.long(f"hash({show(target)}, HashAlgorithm.crc32, 32w0, {{ {fields} }}, 64w0x100000000);")
            case Draw(target=target):
                assert target.kind is not None
                low, high = (show.sized(each, target.kind) for each in (0, target.kind.high))
                out.line(f"random({show(target)}, {low}, {high});")
            case Decide(verdict=verdict):
                out.line(f"meta.verdict = {verdict.name};")
            case Return():
                out.line("return;")
            case Mirror():
                out.line(f"clone_preserving_field_list(CloneType.I2E, (bit<32>){constant(self.name)}, 1);")
            case Alert(values=values):
                for (name, kind), value in zip(self.kernel.alert, values, strict=True):
                    # Unsigned: BMv2's P4Runtime server does not accept digests with signed fields.
                    cast = f"(bit<{kind.width}>){show.tight(value)}" if kind.signed else show.value(value)
                    out.long(f"meta.{self.name}_alert.{spelled(name)} = {cast};")
                late = f"meta.{self.name}_alerted = true;"
                now = f"digest<{self.name}_alert_t>(1, meta.{self.name}_alert);"
                out.line(late if alerts_late(self.kernel) else now)
            case Access():
                self.access(statement)
            case Search(table=table, hit=hit):
                self.quote(statement.line)
                self.searches[table].write(out, show, hit=self.locals[hit.name][0] if hit.name in self.locals else "")

    def branch(self, statement: If) -> Walk[None]:
        """Write an `if` with both sides; an `else` that contains only an `if` becomes an `else if`."""
        out = self.writer
        opening = f"if ({self.printer(statement.condition)})"
        if not statement.yes:
            with out.block(f"if (!{self.printer.tight(statement.condition)})"):
                yield self.statements(statement.no)
            return
        while True:
            rest = statement.no
            chained = len(rest) == 1 and isinstance(rest[0], If) and bool(rest[0].yes)
            with out.block(opening, "}" if not rest else ""):
                yield self.statements(statement.yes)
            if not rest:
                return
            out.undo()
            if chained and isinstance(rest[0], If):
                statement = rest[0]
                opening = f"}} else if ({self.printer(statement.condition)})"
                continue
            with out.block("} else"):
                yield self.statements(rest)
            return

    def access(self, access: Access) -> None:
        """Write a register's read-modify-write: a read, the new value, and a write, within a check of the index.

        The check is omitted if the index cannot be outside the register.
        """
        out, show = self.writer, self.printer
        register = self.registers[access.register]
        array = access.register if access.lane is None else f"{access.register}_{access.lane}"
        index = show.index(access.index)
        flip = f" ^ {show.operand(register.initial, register.kind)}" if register.initial else ""
        target = None if access.target is None else self.locals[access.target.name][0]
        old = self.locals[f"{access.register}_old"][0] if self.scratch(access) and access.new is not None else target
        inside = f"if ({show.tight(access.index)} < {register.size})" if access.guarded else ""
        if access.new is None and target is None:
            return
        self.quote(access.line)
        if old is not None and access.guarded:
            out.line(f"{old} = {show.plain(register.initial, register.kind)};")

        def read() -> None:
            out.line(f"{array}.read({old}, {index});")
            kind = register.kind
            # BMv2 reads a negative number as a large one. A cast to bits and back, a no-op in P4, restores the sign.
            value = f"({p4_type(kind)})(bit<{kind.width}>){old}" if kind.signed else old
            if flip or kind.signed:
                out.line(f"{old} = {value}{flip};")

        def new() -> str:
            assert access.new is not None
            show.old = old or ""
            return stored(show, access.new, flip)

        if access.new is None:
            self.guarded(inside, read)
        elif not access.fetch:

            def change() -> None:
                read()
                only = "" if access.condition == Truth(True) else f"if ({show(access.condition)})"
                self.guarded(only, lambda: out.long(f"{array}.write({index}, {new()});"))

            self.guarded(inside, change)
            if target is not None and target != old:
                out.line(f"{target} = {old};")
        else:
            self.guarded(inside, read)
            show.old = old or ""
            result = target or old
            out.long(f"{result} = {show.value(access.new)};")
            self.guarded(inside, lambda: out.long(f"{array}.write({index}, {result}{flip});"))

    def quote(self, line: Line) -> None:
        """Write a line of the user's source as a comment above its P4, once: an access becomes several lines."""
        if (line.file, line) not in self.quoted:
            self.quoted.add((line.file, line))
            text = linecache.getline(line.file, line).strip()
            self.writer.comment(text + "...)" if text.endswith("(") else text)

    def guarded(self, condition: str, write: object) -> None:
        """Call `write`, which writes statements, inside a block that `condition` opens, such as `if (i < 8)`.

        With an empty condition, there is no block.
        """
        assert callable(write)
        if condition:
            with self.writer.block(condition):
                write()
        else:
            write()


def stored(show: Printer, new: Expr, flip: str) -> str:
    """Return the P4 expression that is written to a register for the new value `new`.

    Registers begin at zero in P4, so values are stored XORed with the register's initial value. `flip` is the text of
    that XOR, or empty if the initial value is zero.
    """
    if flip:
        return f"{show.tight(new)}{flip}"
    return show.value(new)


def alerts_late(kernel: Kernel) -> bool:
    """Return whether a kernel has alerts in several places, so that the digest is sent once, after the kernel.

    In BMv2 each call of `digest` creates a separate list. Of several lists with one name it sends one immediately and
    the others up to a second later.
    """
    return sum(isinstance(each, Alert) for each in walk(kernel.body)) > 1


def hashes(kernel: Kernel) -> bool:
    """Return whether a kernel computes a hash, so that the P4 needs the function `scramble`."""
    return any(isinstance(each, Checksum) for each in walk(kernel.body))
