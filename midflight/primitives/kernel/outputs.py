"""What a kernel decides about its packet: the verdict, and the alert."""

from __future__ import annotations

import ast

from midflight.primitives.kernel.packet import Verdict
from midflight.primitives.kernel.searches import Searches
from midflight.primitives.kernel.source import Line
from midflight.primitives.kernel.typed import Alert, Decide, Expr, Mirror, Statement
from midflight.primitives.kernel.types import Kind
from midflight.primitives.kernel.values import solid

__all__ = ["Outputs"]

_VERDICTS = {each.name.lower(): each for each in Verdict}


class Outputs(Searches):
    """The rules of what is called on `packet`."""

    alert: tuple[tuple[str, Kind], ...] = ()
    """The fields of the kernel's alerts, once there is one."""

    mirrors = False
    """Whether the kernel sends copies."""

    def decide(self, call: ast.Call, name: str, line: Line) -> list[Statement]:
        """Compile a call on `packet`."""
        if name == "alert":
            return self.raise_alert(call, line)
        if name == "random":
            raise self.source.error(call, "the number drawn is not used", "assign it, or remove the line")
        if name not in _VERDICTS and name != "mirror":
            known = "forward, drop, reply, multicast, fallback, recirculate, mirror and alert"
            raise self.source.error(call, f"a packet cannot `{name}`", f"it can {known}")
        if name == "recirculate":
            self.expressions.rounds = True
        if call.args or call.keywords:
            raise self.source.error(call, f"`packet.{name}` takes no arguments", f"write `packet.{name}()`")
        if name == "mirror":
            self.mirrors = True
            return [Mirror(line)]
        self.verdicts.add(_VERDICTS[name])
        return [Decide(_VERDICTS[name], line)]

    def raise_alert(self, call: ast.Call, line: Line) -> list[Statement]:
        """Compile `packet.alert(...)`."""
        if not call.args or call.keywords:
            raise self.source.error(call, "an alert tells numbers", "write `packet.alert(wire.sensor, wire.value)`")
        if self.scope.alerted is not None:
            raise self.source.error(
                call,
                f"a second alert on one packet; the first is in {self.source.where(self.scope.alerted)}",
                self.also(self.scope.alerted, line) + "a packet raises one alert: put all its numbers there",
            )
        values: list[Expr] = []
        fields: list[tuple[str, Kind]] = []
        for number, argument in enumerate(call.args):
            value = self.expressions.number(argument)
            if not solid(value):
                raise self.expressions.no_width(argument, value.kind)
            assert value.kind is not None
            values.append(value)
            name = argument.attr if isinstance(argument, ast.Attribute) else getattr(argument, "id", f"value_{number}")
            fields.append((name if name not in dict(fields) else f"{name}_{number}", value.kind))
        if self.alert and [kind for _, kind in self.alert] != [kind for _, kind in fields]:
            shape = ", ".join(f"{name} {kind}" for name, kind in self.alert)
            raise self.source.error(
                call, "an application's alerts have one shape", f"the first one told ({shape}): tell the same"
            )
        self.alert = self.alert or tuple(fields)
        self.scope.alerted = line
        return [*self.flush(), Alert(tuple(values), line)]
