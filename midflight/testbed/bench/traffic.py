"""Native packet loops for benchmarks: a generator, and the simplest possible forwarder.

Both are loops over libc calls without Python and without the GIL, like the embedded switch. The forwarder is the
baseline for a switch: recvmmsg from one interface, sendmmsg to the other, and nothing in between.
"""

from __future__ import annotations

import math
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from midflight.runtime.engine.context import Context
from midflight.runtime.engine.jit import Native
from midflight.runtime.engine.ports import linux
from midflight.runtime.engine.ports.native import NativeModule

__all__ = ["BareForwarder", "Generator", "Sent"]

BURST = 64
BUFFER = 1 << 11
SOCKET_BUFFER = 1 << 24


@dataclass(frozen=True, slots=True)
class Sent:
    """The result of a run of a generator: how many packets the interface accepted, and in how many seconds."""

    packets: int
    seconds: float


class Generator:
    """A generator of load: sends the given Ethernet frames over and over by an interface of the current network
    namespace.

    A context manager; leaving it closes the socket. OSError if there is no such interface, PermissionError without
    root.
    """

    def __init__(self, interface: str, packets: Sequence[bytes]) -> None:
        self._socket = _packet_socket(interface, receive=False)
        unit = _generator()
        self._native = Native(str(unit.module))
        self._context = Context(unit.slots)
        bursts = len(packets) // math.gcd(len(packets), BURST)
        chosen = [packets[number % len(packets)] for number in range(bursts * BURST)]
        self._frames = _Messages(len(chosen), max(map(len, chosen)))
        for number, packet in enumerate(chosen):
            self._frames.data[number, : len(packet)] = np.frombuffer(packet, np.uint8)
            self._frames.vectors[number, 1] = len(packet)
        self._context.point("messages", self._frames.messages)
        self._context.set("bursts", bursts)
        self._context.set("socket", self._socket.fileno())

    def run(self, seconds: float, *, rate: float | None = None, limit: int = 1 << 40) -> Sent:
        """Send for `seconds`, at most `rate` packets per second (None: as fast as possible) and at most `limit`
        packets.

        Blocks, without the GIL, until it is done or `stop` is called.
        """
        start = time.monotonic_ns()
        self._context.set("until", start + int(seconds * 1e9))
        self._context.set("gap", int(BURST * 1e9 / rate) if rate else 0)
        self._context.set("limit", limit)
        self._native.function("generate")(self._context.address)
        return Sent(self._context.get("sent"), (time.monotonic_ns() - start) / 1e9)

    def stop(self) -> None:
        """Make `run` return soon, when it blocks in another thread."""
        self._context.set("until", 0)

    def close(self) -> None:
        """Close the generator's socket. May be called more than once."""
        self._socket.close()

    def __enter__(self) -> Generator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class BareForwarder:
    """Copies frames from interface `source` to interface `target`, unchanged, in a native thread, until it is stopped.

    A context manager; leaving it stops and closes it. `cpu_seconds` is the thread's processor time after `stop`.
    OSError if there is no such interface, PermissionError without root.
    """

    def __init__(self, source: str, target: str) -> None:
        self._sockets = _packet_socket(source, receive=True), _packet_socket(target, receive=False)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC)
        unit = _forwarder()
        self._native = Native(str(unit.module))
        context = self._context = Context(unit.slots)
        self._frames = _Messages(BURST, BUFFER)
        context.point("messages", self._frames.messages)
        context.point("vectors", self._frames.vectors)
        polls = b"".join(struct.pack("ihh", each, select.POLLIN, 0) for each in (self._sockets[0].fileno(), self._wake))
        context.point("polls", np.frombuffer(bytearray(polls), np.uint8))
        context.set("source", self._sockets[0].fileno())
        context.set("target", self._sockets[1].fileno())
        self._thread = threading.Thread(target=self._carry, name="bare forwarder", daemon=True)
        self.cpu_seconds = 0.0

    def start(self) -> None:
        """Start the thread that copies packets. Call it once."""
        self._thread.start()

    def stop(self) -> None:
        """Copy the packets that have arrived so far, and end the thread."""
        self._context.set("stop", 1)
        os.eventfd_write(self._wake, 1)
        self._thread.join()

    def _carry(self) -> None:
        start = time.thread_time()
        self._native.function("forward")(self._context.address)
        self.cpu_seconds = time.thread_time() - start

    def close(self) -> None:
        """Stop the thread, if it runs, and close the sockets. Call it once."""
        if self._thread.is_alive():
            self.stop()
        for each in self._sockets:
            each.close()
        os.close(self._wake)

    def __enter__(self) -> BareForwarder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Messages:
    """Buffers for packets, as sendmmsg and recvmmsg expect them."""

    def __init__(self, count: int, size: int) -> None:
        self.data: NDArray[np.uint8] = np.zeros((count, size), np.uint8)
        self.vectors: NDArray[np.uint64] = np.zeros((count, linux.IOVEC // 8), np.uint64)
        self.messages: NDArray[np.uint64] = np.zeros((count, linux.MMSGHDR // 8), np.uint64)
        self.vectors[:, 0] = self.data.ctypes.data + size * np.arange(count, dtype=np.uint64)
        self.vectors[:, 1] = size
        where = linux.IOVEC * np.arange(count, dtype=np.uint64)
        self.messages[:, linux.MMSGHDR_IOV // 8] = self.vectors.ctypes.data + where
        self.messages[:, linux.MMSGHDR_IOVLEN // 8] = 1


def _packet_socket(interface: str, *, receive: bool) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    made.setsockopt(linux.SOL_PACKET, linux.PACKET_QDISC_BYPASS, 1)
    made.setsockopt(linux.SOL_PACKET, linux.PACKET_IGNORE_OUTGOING, 1)
    for option in (linux.SO_RCVBUFFORCE, linux.SO_SNDBUFFORCE):
        made.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER)
    made.bind((interface, linux.ETH_P_ALL if receive else 0))
    return made


def _generator() -> NativeModule:
    """Build `generate(context)`. Packets that the interface rejects are neither retried nor counted."""
    unit = NativeModule("generator")
    code = unit.routine("generate", [], exported=True)
    b = code.b
    clock = code.allocate(16)

    def now() -> object:
        code.libc("clock_gettime", [code.i32(linux.CLOCK_MONOTONIC), clock])
        return b.add(b.mul(code.field(clock, 0), code.i64(10**9)), code.field(clock, 8))

    code.set_slot("sent", code.i64(0))
    code.set_slot("burst", code.i64(0))
    code.set_slot("next", now())
    look, wait, check, attempt, done = (code.block(each) for each in ("look", "wait", "check", "attempt", "done"))
    b.branch(look)
    b.position_at_end(look)
    time_now = now()
    over = b.icmp_unsigned(">=", time_now, code.slot_value("until"))
    enough = b.icmp_unsigned(">=", code.slot_value("sent"), code.slot_value("limit"))
    b.cbranch(b.or_(over, enough), done, wait)
    b.position_at_end(wait)
    b.cbranch(b.icmp_unsigned("<", time_now, code.slot_value("next")), look, check)
    b.position_at_end(check)
    code.set_slot("next", b.add(code.slot_value("next"), code.slot_value("gap")))
    left = b.sub(code.slot_value("limit"), code.slot_value("sent"))
    count = b.select(b.icmp_unsigned("<", left, code.i64(BURST)), left, code.i64(BURST))
    b.branch(attempt)
    b.position_at_end(attempt)
    burst = code.slot_value("burst")
    messages = code.index(code.load_pointer(code.slot("messages")), burst, BURST * linux.MMSGHDR)
    socket_ = code.resize(code.slot_value("socket"), 32)
    took = code.libc("sendmmsg", [socket_, messages, code.resize(count, 32), code.i32(0)])
    with code.when(b.icmp_signed(">", took, code.i32(0))):
        code.set_slot("sent", b.add(code.slot_value("sent"), code.resize(took, 64)))
    following = b.add(burst, code.i64(1))
    wrapped = b.icmp_unsigned(">=", following, code.slot_value("bursts"))
    code.set_slot("burst", b.select(wrapped, code.i64(0), following))
    b.branch(look)
    b.position_at_end(done)
    b.ret_void()
    return unit


def _forwarder() -> NativeModule:
    """Build `forward(context)`. Packets that the interface rejects are lost."""
    unit = NativeModule("forwarder")
    code = unit.routine("forward", [], exported=True)
    b = code.b
    messages, vectors = code.load_pointer(code.slot("messages")), code.load_pointer(code.slot("vectors"))
    source, target = (code.resize(code.slot_value(each), 32) for each in ("source", "target"))
    nothing = code.i64(0)
    null = b.inttoptr(nothing, messages.type)
    look, carry, sleep, done = (code.block(each) for each in ("look", "carry", "sleep", "done"))
    b.branch(look)
    b.position_at_end(look)
    arguments = [source, messages, code.i32(BURST), code.i32(linux.MSG_DONTWAIT), null]
    count = code.libc("recvmmsg", arguments)
    b.cbranch(b.icmp_signed(">", count, code.i32(0)), carry, sleep)
    b.position_at_end(carry)
    with code.loop(count) as number:
        length = code.load(code.at(code.index(messages, number, linux.MMSGHDR), linux.MMSGHDR_LENGTH), 32)
        code.set_field(code.index(vectors, number, linux.IOVEC), 8, code.resize(length, 64))
    code.libc("sendmmsg", [target, messages, count, code.i32(linux.MSG_DONTWAIT)])
    with code.loop(count) as number:
        code.set_field(code.index(vectors, number, linux.IOVEC), 8, code.i64(BUFFER))
    b.branch(look)
    b.position_at_end(sleep)
    code.libc("poll", [code.load_pointer(code.slot("polls")), code.i64(2), code.i32(-1)])
    b.cbranch(b.icmp_unsigned("==", code.load_atomic(code.slot("stop"), 64), nothing), look, done)
    b.position_at_end(done)
    b.ret_void()
    return unit
