"""The state of the lowering of a kernel: variables, the statements so far, and errors with their places."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from midflight.errors import KernelError
from midflight.primitives.emit.state import arrays_of
from midflight.primitives.emit.tables import found
from midflight.primitives.emit.tna.architecture import Architecture
from midflight.primitives.emit.tna.lowered import Execute, HashOf, Stored, Tabulated
from midflight.primitives.emit.tna.unused import written
from midflight.primitives.kernel.primitive import Primitive
from midflight.primitives.kernel.register import Register
from midflight.primitives.kernel.source import Line, place_of
from midflight.primitives.kernel.typed import Assign, Expr, FieldRef, Local, Statement, within
from midflight.primitives.kernel.types import Kind

__all__ = ["Context", "Lower"]

Lower: TypeAlias = Statement | Execute | HashOf | Tabulated
"""A lowered statement."""


@dataclass
class Context:
    """A kernel being lowered. `block` collects statements; `line` is the line of the user's source of the current one.

    `checksums` maps the variable of a hash's input to the variables of its hashes by seed, `known` a variable to the
    condition whose truth it has. `signs` maps the variable of a distance, of which only the sign matters, to two others
    of 32 bits: the first is above 0 if the distance is, and the second if it is below 0. `body` is the whole kernel.
    """

    primitive: Primitive
    architecture: Architecture
    locals: dict[str, Kind | None]
    line: Line
    body: tuple[Statement, ...] = ()
    block: list[Any] = field(default_factory=list)
    registers: dict[str, Stored] = field(default_factory=dict)
    added: dict[str, Register] = field(default_factory=dict)
    checksums: dict[str, dict[int, Local]] = field(default_factory=dict)
    known: dict[Local, Expr] = field(default_factory=dict)
    signs: dict[Local, tuple[Local, Local]] = field(default_factory=dict)
    seeds: list[int] = field(default_factory=list)

    def register(self, name: str) -> Register:
        """Return a register by its name: one of the primitive's, or one that lowering has added."""
        return self.added[name] if name in self.added else self.primitive.registers[name]

    def array(self, name: str, kind: Kind, size: int, initial: int) -> str:
        """Add a register array that holds a part of another register, and return its name.

        The name is `name`, with underscores appended if the primitive uses it. An array of that name that was added
        before is used again.
        """
        while name in self.names():
            name += "_"
        self.added.setdefault(name, Register(kind, size, initial=initial))
        return name

    def names(self) -> set[str]:
        """Return the names of the primitive's arrays and tables."""
        arrays = {each for name, register in self.primitive.registers.items() for each in arrays_of(name, register)}
        return arrays | {each for table in self.primitive.kernel.tables for each in (table, found(table))}

    def add(self, statement: Lower) -> None:
        """Add a lowered statement to the current block, and forget the conditions that it makes obsolete."""
        self.forget(statement)
        self.block.append(statement)

    def learn(self, variable: Local | FieldRef, test: Expr) -> None:
        """Record that a variable has the truth of a condition, until a part of either is written."""
        if isinstance(variable, Local) and variable not in within(test):
            self.known[variable] = test

    def forget(self, statement: Lower) -> None:
        """Forget the conditions recorded by `learn` that a statement makes obsolete: it writes the variable or a part
        of them.
        """
        changed = frozenset(written(statement))
        self.known = {
            variable: test
            for variable, test in self.known.items()
            if variable not in changed and changed.isdisjoint(within(test))
        }

    def fresh(self, name: str, kind: Kind | None) -> Local:
        """Add a variable of type `kind` (None: a condition), and return it.

        It is called `name`, with a number appended if that is taken.
        """
        number, chosen = 1, name
        while chosen in self.locals:
            number += 1
            chosen = f"{name}_{number}"
        self.locals[chosen] = kind
        return Local(chosen, kind)

    def assigned(self, name: str, value: Expr) -> Local:
        """Add an assignment of `value` to a new variable to the current block, and return the variable.

        It is called `name`, with a number appended if that is taken.
        """
        local = self.fresh(name, value.kind)
        self.add(Assign(local, value, self.line))
        return local

    @contextmanager
    def inner(self) -> Iterator[list[Any]]:
        """In the body of the `with`, add statements to a new block, which is yielded, instead of the current one.

        At the end, the current block and the known conditions are those from before.
        """
        outer, known, self.block = self.block, self.known, []
        try:
            yield self.block
        finally:
            self.block, self.known = outer, known

    def refuse(self, message: str, hint: str) -> KernelError:
        """Return, without raising it, an error about the current line: what the architecture cannot do there
        (`message`), and what to do instead (`hint`).
        """
        return KernelError(
            f"{self.primitive.title}: {self.architecture.name}: {message}", place=place_of(self.line), hint=hint
        )
