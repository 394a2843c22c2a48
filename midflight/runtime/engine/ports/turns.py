"""A lock in native code that is given in the order of asking, so that neither side starves.

Two 32-bit words: the next ticket, and the ticket being served. Whoever waits sleeps in the kernel.
"""

from __future__ import annotations

from llvmlite import ir as ll

from midflight.runtime.engine.builder import POINTER
from midflight.runtime.engine.ports import linux
from midflight.runtime.engine.ports.native import NativeModule

__all__ = ["build_turns"]


def build_turns(unit: NativeModule) -> tuple[ll.Function, ll.Function]:
    """Build `turn_enter(context)` and `turn_leave(context)`."""
    return _enter(unit), _leave(unit)


def _enter(unit: NativeModule) -> ll.Function:
    code = unit.routine("turn_enter", [], exported=True)
    b = code.b
    serving_at = code.slot("turn.serving")
    ticket = code.fetch_add(code.slot("turn.next"), code.i32(1))
    look, wait, mine = code.block("look"), code.block("wait"), code.block("mine")
    b.branch(look)
    b.position_at_end(look)
    serving = code.load_atomic(serving_at, 32)
    b.cbranch(b.icmp_unsigned("==", serving, ticket), mine, wait)
    b.position_at_end(wait)
    null = ll.Constant(POINTER, None)
    number, operation = code.i64(linux.futex_number()), code.i64(linux.FUTEX_WAIT_PRIVATE)
    code.libc("syscall", [number, serving_at, operation, code.resize(serving, 64), null, null, code.i64(0)])
    b.branch(look)
    b.position_at_end(mine)
    b.ret_void()
    return code.function


def _leave(unit: NativeModule) -> ll.Function:
    code = unit.routine("turn_leave", [], exported=True)
    b = code.b
    serving_at = code.slot("turn.serving")
    after = b.add(code.load_atomic(serving_at, 32), code.i32(1))
    code.exchange(serving_at, after)
    with code.when(b.icmp_unsigned("!=", code.load_atomic(code.slot("turn.next"), 32), after)):
        null = ll.Constant(POINTER, None)
        operation, everybody = code.i64(linux.FUTEX_WAKE_PRIVATE), code.i64((1 << 31) - 1)
        number = code.i64(linux.futex_number())
        code.libc("syscall", [number, serving_at, operation, everybody, null, null, code.i64(0)])
    b.ret_void()
    return code.function
