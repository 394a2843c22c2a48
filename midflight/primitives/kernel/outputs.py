"""Compiles a kernel's outputs: verdicts, alerts and mirrored copies."""

from __future__ import annotations

import ast

from midflight.primitives.kernel.coercion import no_width, sized
from midflight.primitives.kernel.context import Context, also
from midflight.primitives.kernel.operators import values_of
from midflight.primitives.kernel.packet import Verdict
from midflight.primitives.kernel.source import Line
from midflight.primitives.kernel.typed import Alert, Decide, Expr, ForwardedRef, Mirror, Statement, Truth
from midflight.primitives.kernel.types import Kind
from midflight.primitives.kernel.values import solid
from midflight.stackless import Walk

__all__ = ["forwarded", "packet_call"]

_VERDICTS = {each.name.lower(): each for each in Verdict}


def forwarded(code: Context) -> Expr:
    """Compile `packet.forwarded`, whether the last verdict so far is FORWARD.

    True if the kernel has given no other verdict.
    """
    return ForwardedRef() if code.facts.verdicts - {Verdict.FORWARD} else Truth(True)


def packet_call(code: Context, call: ast.Call, name: str, line: Line) -> Walk[list[Statement]]:
    """Compile a statement that calls the packet's method `name`: a verdict, `mirror` or `alert`.

    Return the statements. Raises KernelError for an unknown method, wrong arguments, a second alert of a packet, and
    alerts of one kernel with different types.
    """
    if name == "alert":
        return (yield from _alert(code, call, line))
    if name == "random":
        raise code.error(call, "the random number is not used", "assign it, or remove the line")
    if name not in _VERDICTS and name != "mirror":
        known = "forward, drop, reply, multicast, fallback, recirculate, mirror and alert"
        raise code.error(call, f"a packet has no method `{name}`", f"it has {known}")
    if name == "recirculate":
        code.facts.rounds = True
    if call.args or call.keywords:
        raise code.error(call, f"`packet.{name}` takes no arguments", f"write `packet.{name}()`")
    if name == "mirror":
        code.facts.mirrors = True
        return [Mirror(line)]
    code.facts.verdicts.add(_VERDICTS[name])
    return [Decide(_VERDICTS[name], line)]


def _alert(code: Context, call: ast.Call, line: Line) -> Walk[list[Statement]]:
    """Compile `packet.alert(...)`."""
    if not call.args or call.keywords:
        raise code.error(call, "an alert takes numbers", "write `packet.alert(wire.sensor, wire.value)`")
    if code.scope.alerted is not None:
        raise code.error(
            call,
            f"a second alert for one packet; the first is in {code.source.where(code.scope.alerted)}",
            also(code.scope.alerted, line) + "a packet raises one alert: pass all numbers to it",
        )
    values: list[Expr] = []
    fields: list[tuple[str, Kind]] = []
    given = yield from values_of(code, *call.args)
    for number, (argument, each) in enumerate(zip(call.args, given, strict=True)):
        value = sized(code, each, argument)
        if not solid(value):
            raise no_width(code, argument, value.kind)
        assert value.kind is not None
        values.append(value)
        name = argument.attr if isinstance(argument, ast.Attribute) else getattr(argument, "id", f"value_{number}")
        fields.append((name if name not in dict(fields) else f"{name}_{number}", value.kind))
    facts = code.facts
    if facts.alert and [kind for _, kind in facts.alert] != [kind for _, kind in fields]:
        shape = ", ".join(f"{name} {kind}" for name, kind in facts.alert)
        raise code.error(call, "all alerts of an application have the same fields", f"the first one has ({shape})")
    facts.alert = facts.alert or tuple(fields)
    code.scope.alerted = line
    return [*code.flush(), Alert(tuple(values), line)]
