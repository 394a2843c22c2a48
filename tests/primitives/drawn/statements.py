"""Random statements of the kernel language."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from midflight.primitives import int_
from midflight.primitives.kernel.types import Kind
from tests.primitives.drawn.ground import Place, constant
from tests.primitives.drawn.numbers import Helper, Numbers

__all__ = ["Statements"]

USUAL = "field field field local bool again aug if if verdict loop access write match map lookup mirror alert constant"
UNUSUAL = "decided lanes method inner bump advance round quiet return"
COMPUTE = "local local again aug if loop constant bool"
"""Statements for helpers that may be called anywhere."""


class Statements(Numbers):
    """Draws the lines of functions."""

    writers: tuple[Helper, ...] = ()
    """Functions that change the header."""
    methods: tuple[Helper, ...] = ()
    """Methods that access state."""
    inner: tuple[str, ...] = ()
    """Calls of other primitives' kernels."""
    inner_alerts = False
    """Whether these raise alerts."""
    alerts: tuple[Kind, ...] = ()
    """The types of the alerts' fields."""
    returns = returns_from_loops = False
    """Whether `return` is permitted, and in loops."""
    rounds = False
    """Whether packets may recirculate."""
    verdicts = "forward reply multicast drop fallback"
    looping = 0

    @property
    def may_return(self) -> bool:
        """Return whether `return` is permitted here."""
        return self.returns and (self.returns_from_loops or not self.looping)

    def body(self, indent: int, count: int, depth: int, what: str = f"{USUAL} {UNUSUAL}") -> None:
        """Write a few statements of these kinds."""
        for _ in range(count):
            if self.scope.ended:
                return
            self.statement(indent, depth, what)

    def branches(self, *bodies: Callable[[], Any]) -> None:
        """Write the sides of a branch, each in a separate scope."""
        start, sides = self.scope, []
        for each in bodies:
            self.scope = start.copy()
            each()
            sides.append(self.scope)
            start.free -= {text for text in start.free - self.scope.free if text.startswith("map ")}
        self.scope = start
        start.join(sides)

    def statement(self, indent: int, depth: int, what: str) -> None:
        """Write one statement."""
        match self.pick(what):
            case "local":
                kind = self.pick(self.ground.kinds)
                name, value = self.fresh(), self.number(kind, 3)
                self.line(indent, f"{name}{self.pick(['', '', ': int'])} = {value}")
                self.scope.known[name] = kind
            case "bool":
                name, value = self.fresh(), self.condition(2)
                self.line(indent, f"{name} = {value}")
                self.scope.known[name] = None
            case "again" if variables := [*self.scope.known.items()]:
                name, kind = self.pick(variables)
                self.line(indent, f"{name} = {self.condition(2) if kind is None else self.number(kind, 2)}")
            case "aug":
                self.augmented(indent, what)
            case "constant" if self.scope.consts and not self.looping:
                text, name = self.pick(list(self.scope.consts)), self.fresh("c")
                plus = self.pick((0, 1, 5))
                self.line(indent, f"{name} = {text} + {plus}")
                self.scope.consts[name] = tuple(each + plus for each in self.scope.consts[text])
            case "if" if depth > 0:
                self.branch(indent, depth - 1, what)
            case "decided" if depth > 0:
                self.decided(indent, depth - 1, what)
            case "match" if depth > 0:
                self.match(indent, depth - 1, what)
            case "loop" if depth > 0 and self.looping < 2:
                self.loop(indent, depth - 1, what)
            case "verdict":
                self.line(indent, f"packet.{self.pick(self.verdicts)}()")
            case "round" if self.rounds and self.chance(3):
                self.line(indent, f"if packet.round < {self.pick((1, 2, 3, 20))} and {self.guarded(2)}:")
                self.line(indent + 1, "packet.recirculate()")
            case "mirror":
                self.line(indent, "packet.mirror()")
            case "alert" | "map" | "method" | "inner" if self.ground.for_bmv2 and indent > 2:
                self.statement(indent, depth, what)
            case "alert" if self.scope.alert and not self.looping and self.alerts:
                self.line(indent, f"packet.alert({', '.join(self.number(each, 1) for each in self.alerts)})")
                self.scope.alert = False
            case "access" if arrays := [each for each in self.ground.arrays if each.text in self.scope.free]:
                array, name = self.pick(arrays), self.fresh()
                if self.chance(4):
                    self.scope.free.discard(array.text)
                    self.line(indent, f"{array.text}.write({self.index(array.size)}, {self.operand(array.kind, 2)})")
                elif self.chance(3):
                    self.line(indent, self.access(array, 2))
                else:
                    self.line(indent, f"{name} = {self.access(array, 2)}")
                    self.scope.known[name] = array.kind
            case "lanes" if self.ground.lanes and not self.looping:
                self.lanes(indent)
            case "map" if maps := [each for each in self.ground.maps if f"map {each.text}" in self.scope.free]:
                self.ask(indent, self.pick(maps))
            case "lookup" if self.lookups:
                kind, name = self.pick(self.ground.kinds), self.fresh()
                self.line(indent, f"{name} = {self.lookup(kind, 2)}")
                self.scope.known[name] = kind
            case "write" if self.writers:
                self.give(indent, self.pick(self.writers))
            case "method" if methods := [each for each in self.methods if each.uses <= self.scope.free]:
                self.give(indent, self.pick(methods))
            case "inner" if calls := [each for each in self.inner if each in self.scope.free]:
                if self.scope.alert or not self.inner_alerts:
                    call = self.pick(calls)
                    self.scope.free.discard(call)
                    self.line(indent, call)
                    self.scope.alert = self.scope.alert and not self.inner_alerts
                else:
                    self.field(indent)
            case "bump" if arrays := [
                each for each in self.ground.arrays if each.text in self.scope.free and each.kind.holds(1)
            ]:
                array, name = self.pick(arrays), self.fresh()
                self.scope.free.discard(array.text)
                more = self.pick(["", ", 0", ", by=1"])
                self.line(indent, f"{name} = bump({array.text}, {self.index(array.size)}{more})")
                self.scope.known[name] = array.kind
            case "advance" if arrays := [
                each for each in self.ground.arrays if each.text in self.scope.free and each.kind.width > 1
            ]:
                array, name = self.pick(arrays), self.fresh()
                self.scope.free.discard(array.text)
                number = self.number(array.kind, 2)
                self.line(indent, f"{name} = advance({array.text}, {self.index(array.size)}, {number})")
                self.scope.known[name] = int_[array.kind.width]
            case "quiet":
                self.line(indent, self.pick(['"""A word about this."""', "pass"]))
            case "return" if self.may_return and not self.looping and self.chance(4):
                self.line(indent, "return")
                self.scope.ended = True
            case _ if "field" in what:
                self.field(indent)
            case _:
                self.line(indent, "pass")

    def field(self, indent: int) -> None:
        """Write to a field or a lane."""
        place: Place = self.pick(self.ground.places)
        if self.ground.rows and self.chance(4):
            text, kind, count = self.pick(self.ground.rows)
            place = Place(f"{text}[{self.lane(count)}]", kind)
        value = self.operand(place.kind, 3)
        self.line(indent, f"{place.text} = {value}")

    def lane(self, count: int) -> str:
        """Return a lane that is known at compile time."""
        fitting = [text for text, values in self.scope.consts.items() if all(0 <= each < count for each in values)]
        return str(self.pick([*fitting, str(self.random.randrange(count))]))

    def augmented(self, indent: int, what: str) -> None:
        """Write an augmented assignment."""
        targets = [(name, kind) for name, kind in self.scope.known.items() if kind is not None]
        if "field" in what:
            targets += [(each.text, each.kind) for each in self.ground.places]
        if not targets:
            self.line(indent, "pass")
            return
        text, kind = self.pick(targets)
        match self.pick("+ - ^ | * & << // %"):
            case "<<":
                self.line(indent, f"{text} <<= {self.pick((0, 1, 9))}")
            case "//":
                self.line(indent, f"{text} //= {self.pick((1, 2, 64))}")
            case "%":
                self.line(indent, f"{text} %= {self.pick([each for each in (1, 2, 64) if each <= kind.high + 1])}")
            case symbol:
                self.line(indent, f"{text} {symbol}= {self.operand(kind, 2)}")

    def branch(self, indent: int, depth: int, what: str) -> None:
        """Write an `if`, possibly with `elif` or `else`."""
        self.line(indent, f"if {self.condition(2)}:")
        sides = [lambda: self.body(indent + 1, self.pick([1, 2]), depth, what)]
        if self.chance(4) and self.may_return:
            sides[0] = lambda: self.leave(indent + 1, depth, what)
        if self.chance(2):

            def second() -> None:
                self.line(indent, f"elif {self.condition(1)}:")
                self.branches(lambda: self.body(indent + 1, 1, depth, what), third)

            def third() -> None:
                self.line(indent, "else:")
                self.body(indent + 1, 1, depth, what)

            self.branches(*sides, self.pick([second, third]))
        else:
            self.branches(*sides, lambda: None)

    def leave(self, indent: int, depth: int, what: str) -> None:
        """Write a branch that ends the kernel."""
        self.body(indent, 1, depth, what)
        if not self.scope.ended:
            self.line(indent, "return")
            self.scope.ended = True

    def decided(self, indent: int, depth: int, what: str) -> None:
        """Write an `if` that is decided at compile time, so that its body may not be in the program."""
        texts = [text for text, values in self.scope.consts.items() if len(values) == 1]
        self.line(indent, f"if {self.pick(texts or ['1'])} {self.pick('< == > !=')} {self.pick((0, 2, 4))}:")
        leaves = self.may_return and self.chance(4)
        end = self.leave if leaves else lambda indent, depth, what: self.body(indent, 1, depth, what)
        if self.chance(2):
            self.branches(lambda: end(indent + 1, depth, what), lambda: None)
        else:
            self.branches(lambda: end(indent + 1, depth, what), lambda: self.otherwise(indent, depth, what))

    def otherwise(self, indent: int, depth: int, what: str) -> None:
        """Write an else."""
        self.line(indent, "else:")
        self.body(indent + 1, 1, depth, what)

    def match(self, indent: int, depth: int, what: str) -> None:
        """Write a match over a number or two."""
        kinds = [self.pick(self.ground.kinds) for _ in range(self.pick((1, 1, 2, 3)))]
        subjects = [self.number(kind, self.pick([0, 0, 1])) for kind in kinds]
        self.line(indent, f"match {subjects[0] if len(subjects) == 1 else '(' + ', '.join(subjects) + ')'}:")

        def pattern(kind: Kind) -> str:
            numbers = [str(constant(self.random, kind)) for _ in range(self.pick((1, 2)))]  # fmt: skip
            return str(self.pick(["_", " | ".join(numbers), " | ".join(numbers)]))

        def case(left: int) -> None:
            parts = [pattern(kind) for kind in kinds]
            shown = parts[0] if len(parts) == 1 else f"({', '.join(parts)})"
            guard = f" if {self.guarded(1)}" if shown == "_" or self.chance(3) else ""
            self.line(indent + 1, f"case {shown}{guard}:")
            self.branches(lambda: self.body(indent + 2, 1, depth, what), lambda: case(left - 1) if left else last())

        def last() -> None:
            if self.chance(2):
                self.line(indent + 1, "case _:")
                self.body(indent + 2, 1, depth, what)

        case(self.pick((0, 1, 2)))

    def loop(self, indent: int, depth: int, what: str) -> None:
        """Write a loop, which accesses only lanes, because each round has the same code."""
        name, start, count, step = (
            self.fresh("i"),
            self.pick((0, 0, 1, 3)),
            self.pick((1, 2, 3)),
            self.pick((1, 1, -1, 2)),
        )
        rounds, stop = range(start, start + count * step, step), str(start + count * step)
        texts = [text for text, values in self.scope.consts.items() if values == (start + count * step,)]
        stop = self.pick([stop, *texts])
        shown = stop if (start, step) == (0, 1) and self.chance(2) else f"{start}, {stop}"
        self.line(indent, f"for {name} in range({shown}{'' if step == 1 else f', {step}'}):")
        outside, self.scope = self.scope, self.scope.copy()
        self.scope.free, self.scope.alert = set(), False
        self.scope.consts[name] = tuple(rounds)
        self.looping += 1
        self.body(indent + 1, self.pick((1, 2)), depth, what)
        self.looping -= 1
        self.scope = outside

    def lanes(self, indent: int) -> None:
        """Write a loop over a register's lanes."""
        text, kind, size, count = self.pick(self.ground.lanes)
        arrays = {f"{text}[{lane}]" for lane in range(count)}
        if not arrays <= self.scope.free:
            self.field(indent)
            return
        name = self.fresh("i")
        self.line(indent, f"for {name} in range({count}):")
        outside, self.scope = self.scope, self.scope.copy()
        self.scope.free, self.scope.alert = set(), False
        self.scope.consts[name] = tuple(range(count))
        self.looping += 1
        rows = [each for each in self.ground.rows if each[1] == kind and each[2] >= count]
        before, self.lazy = self.lazy, False
        self.scope.known["old"] = kind
        lazy, self.lazy, lookups, self.lookups = self.lazy, True, self.lookups, False
        new = self.number(kind, 2)
        del self.scope.known["old"]
        self.lazy, self.lookups = lazy, lookups
        call = f"{text}[{name}].{self.pick('update update_fetch')}({self.index(size)}, lambda old: {new})"
        self.line(indent + 1, f"{self.pick(rows)[0]}[{name}] ^= {call}" if rows else call)
        self.body(indent + 1, self.pick((0, 1)), 1, "field local if aug")
        self.looping -= 1
        self.lazy = before
        outside.free -= arrays
        self.scope = outside

    def ask(self, indent: int, question: Any) -> None:
        """Write a read of a map, in an assignment or in an expression."""
        self.scope.free.discard(f"map {question.text}")
        key = ", ".join(self.number(each, 1) for each in question.keys)
        key = f"({key})" if len(question.keys) > 1 else key
        call = f"{question.text}.get({key}, {self.operand(question.kind, 1)})"
        fields = [each.text for each in self.ground.places if each.kind == question.kind]
        if self.chance(2) or not fields:
            name = self.fresh()
            self.line(indent, f"{name} = {call}")
            self.scope.known[name] = question.kind
        else:
            self.line(indent, f"{self.pick(fields)} = {self.atom(question.kind)} ^ {call}")
        self.scope.asked.add(f"map {question.text}")

    def give(self, indent: int, helper: Helper) -> None:
        """Write the call of a helper on a line of its own."""
        call = self.call(helper, 1)
        if helper.kind is None:
            self.line(indent, call)
            return
        fields = [each.text for each in self.ground.places if each.kind == helper.kind]
        if fields and self.chance(2):
            self.line(indent, f"{self.pick(fields)} = {call}")
        else:
            name = self.fresh()
            self.line(indent, f"{name} = {call}")
            self.scope.known[name] = helper.kind
