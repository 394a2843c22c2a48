"""Emits a fair lock in native code: turns are granted in the order of requests, so that no side starves.

It has two 32-bit words: the next ticket, and the ticket being served. Waiting threads sleep in the kernel.
"""

from __future__ import annotations

from llvmlite import ir as ll

from midflight.runtime.engine.ports.native import NativeModule

__all__ = ["build_turns"]


def build_turns(unit: NativeModule) -> tuple[ll.Function, ll.Function]:
    """Build the exported functions `turn_enter(context)`, which waits for a turn, and `turn_leave(context)`."""
    return _enter(unit), _leave(unit)


def _enter(unit: NativeModule) -> ll.Function:
    code = unit.routine("turn_enter", [], exported=True)
    ticket = code.fetch_add(code.slot("turn.next"), code.i32(1))
    code.sleep_until(code.slot("turn.serving"), ticket)
    code.b.ret_void()
    return code.function


def _leave(unit: NativeModule) -> ll.Function:
    code = unit.routine("turn_leave", [], exported=True)
    b = code.b
    serving = code.slot("turn.serving")
    after = b.add(code.load_atomic(serving, 32), code.i32(1))
    code.exchange(serving, after)
    with code.when(b.icmp_unsigned("!=", code.load_atomic(code.slot("turn.next"), 32), after)):
        code.wake(serving)
    b.ret_void()
    return code.function
