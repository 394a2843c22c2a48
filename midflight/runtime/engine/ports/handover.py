"""Emits the handover of outputs from the thread that runs the program to the sending threads, if there are any.

The program's thread has a ring of outputs. It takes one that all senders have finished, fills it, and passes it on.
Every sending thread goes through all outputs in order and sends its share of the ports. So the packets of a port stay
in order, and nothing is copied.
"""

from __future__ import annotations

from llvmlite import ir as ll

from midflight.runtime.engine.builder import POINTER, Value
from midflight.runtime.engine.ports.native import NativeBuilder, NativeModule
from midflight.runtime.engine.ports.records import OUTPUTS, Output, Port

__all__ = ["build_end", "build_give", "build_sender", "build_take"]


def build_take(unit: NativeModule) -> ll.Function:
    """Build the function `output take(context)`: it returns the next output, once no thread sends from it."""
    code = unit.routine("take", [], POINTER)
    output = _output(code, code.slot_value("output"))
    code.sleep_until(code.at(output, Output.LEFT), code.i32(0))
    code.b.ret(output)
    return code.function


def build_give(unit: NativeModule, dispatch: ll.Function) -> ll.Function:
    """Build the function `give(context, output)`, which passes an output to the sending threads.

    Without any, it calls `dispatch`, which sends it before this returns.
    """
    code = unit.routine("give", [POINTER])
    b = code.b
    output = code.function.args[1]
    senders = code.slot_value("senders")
    with code.when(b.icmp_unsigned("==", senders, code.i64(0))):
        code.call(dispatch, [output, code.i64(0), code.i64(1)])
        b.ret_void()
    _pass_on(code, output, senders)
    b.ret_void()
    return code.function


def build_end(unit: NativeModule, take: ll.Function) -> ll.Function:
    """Build the function `end(context)`, which makes the sending threads finish after they have sent everything."""
    code = unit.routine("end", [])
    output = code.call(take, [])
    code.set_field(output, Output.LAST, code.i64(1))
    _pass_on(code, output, code.slot_value("senders"))
    code.b.ret_void()
    return code.function


def build_sender(unit: NativeModule, dispatch: ll.Function, save: ll.Function) -> None:
    """Build the exported function `send(context)`, which a sending thread runs until no more output follows.

    `dispatch` sends a share of an output, and `save` writes a capture to its file, in idle moments and at the end.
    """
    code = unit.routine("send", [], exported=True)
    b = code.b
    senders = code.slot_value("senders")
    share = code.fetch_add(code.slot("share"), code.i64(1))
    number_at = code.allocate(8)
    code.store(code.i64(0), number_at)
    wait, look, deal, done = (code.block(each) for each in ("wait", "look", "deal", "done"))
    b.branch(wait)
    b.position_at_end(wait)
    number = code.load(number_at, 64)
    output = _output(code, number)
    sequence = code.at(output, Output.SEQUENCE)
    following = b.add(number, code.i64(1))
    with code.when(b.icmp_unsigned("!=", code.load_atomic(sequence, 32), code.resize(following, 32))):
        _save_share(code, save, share, senders)
    code.sleep_until(sequence, code.resize(following, 32))
    b.branch(look)
    b.position_at_end(look)
    b.cbranch(b.icmp_unsigned("==", code.field(output, Output.LAST), code.i64(0)), deal, done)
    b.position_at_end(deal)
    code.call(dispatch, [output, share, senders])
    left = code.at(output, Output.LEFT)
    with code.when(b.icmp_unsigned("==", code.fetch_add(left, code.i32(-1)), code.i32(1))):
        code.wake(left)
    code.store(following, number_at)
    b.branch(wait)
    b.position_at_end(done)
    _save_share(code, save, share, senders)
    b.ret_void()


def _output(code: NativeBuilder, number: Value) -> Value:
    place = code.b.and_(number, code.i64(OUTPUTS - 1))
    return code.index(code.load_pointer(code.slot("outputs")), place, Output.SIZE)


def _pass_on(code: NativeBuilder, output: Value, senders: Value) -> None:
    following = code.b.add(code.slot_value("output"), code.i64(1))
    code.set_slot("output", following)
    code.exchange(code.at(output, Output.LEFT), code.resize(senders, 32))
    sequence = code.at(output, Output.SEQUENCE)
    code.exchange(sequence, code.resize(following, 32))
    code.wake(sequence)


def _save_share(code: NativeBuilder, save: ll.Function, share: Value, shares: Value) -> None:
    """Write the captures of this thread's share of the ports to their files."""
    b = code.b
    records = code.load_pointer(code.slot("ports"))
    with (
        code.loop(code.slot_value("port.count")) as number,
        code.when(b.icmp_unsigned("==", b.urem(number, shares), share)),
    ):
        code.call(save, [code.at(code.index(records, number, Port.SIZE), Port.OUTWARD)])
