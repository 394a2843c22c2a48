"""Stream of one controller: arbitration, packet-outs and acknowledgements in; packet-ins, digests and errors out."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Protocol

from finsy.proto import p4r
from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import BoolValue, BytesValue, StringValue

from midflight.runtime.p4runtime.server.faults import Faults, internal
from midflight.runtime.p4runtime.status import Code, Refusal

__all__ = ["SERVER_NAME", "Stream", "StreamHandler"]

SERVER_NAME = "midflight"
"""The value of `experimental` in the capabilities of a server that supports two more stream messages, in `other`.

A StringValue is sent back unchanged. A BoolValue starts or stops traces of packets, which are sent as text in
BytesValues.
"""

# Packet-ins and digests are best effort: a controller that does not read loses those beyond this number of messages or
# bytes. The stream of a controller that keeps sending arbitration updates without reading the answers is closed.
BACKLOG = 1 << 16
BACKLOG_BYTES = 1 << 24
OWED = 2 * BACKLOG


class StreamHandler(Protocol):
    """The interface by which a controller's stream passes on its messages; `Switch` implements it."""

    faults: Faults

    def arbitrate(self, stream: Stream, message: p4r.MasterArbitrationUpdate) -> None:
        """Process a controller's arbitration update from this stream. Raises Refusal, which ends the stream."""

    def packet_out(self, stream: Stream, packet: p4r.PacketOut) -> None:
        """Process a packet that the controller sends through the switch. Refusal if its metadata is invalid."""

    def acknowledge(self, stream: Stream, message: p4r.DigestListAck) -> None:
        """Process the acknowledgement of a digest list. Refusal unless the stream is the primary of its role."""

    def trace_to(self, stream: Stream, on: bool) -> None:
        """Start or stop sending traces of packets on the stream."""

    def leave(self, stream: Stream) -> None:
        """Remove a stream that has ended, with the controller that it stood for.

        May be called more than once for a stream, and for one on which no controller has sent an arbitration update.
        """


class Stream:
    """A controller's stream.

    `take` processes the controller's messages strictly in order, so the answer to one follows everything that earlier
    messages caused. Any thread may queue messages for the controller; `responses` yields them on the event loop. `peer`
    is the address of the controller, and `roles` are the roles that it may take, or None for any.
    """

    def __init__(
        self,
        handler: StreamHandler,
        loop: asyncio.AbstractEventLoop,
        peer: str = "",
        roles: frozenset[str] | None = None,
    ) -> None:
        self.peer = peer
        self.roles = roles
        self.refusal: Refusal | None = None
        self.arbitrated = False
        self._handler = handler
        self._loop = loop
        self._lock = threading.Lock()
        self._outgoing: deque[tuple[p4r.StreamMessageResponse, int]] = deque()
        self._bytes = 0
        self._ended = False
        self._woken = False
        self._wake = asyncio.Event()

    def send(self, response: p4r.StreamMessageResponse) -> bool:
        """Queue a message for the controller, without waiting. Return False if the queue is full or the stream has
        ended.

        The queue holds 65,536 messages and 16 MiB, and twice as much with arbitration updates; an update for which
        there is no room ends the stream.
        """
        return self._queue(response, BACKLOG, BACKLOG_BYTES)

    def send_trace(self, text: str) -> None:
        """Queue the text of a packet's trace for the controller; if the queue is a quarter full, discard it.

        So there is space for more important messages.
        """
        response = p4r.StreamMessageResponse()
        response.other.Pack(BytesValue(value=text.encode()))
        self._queue(response, BACKLOG // 4, BACKLOG_BYTES // 4)

    async def responses(self) -> AsyncIterator[p4r.StreamMessageResponse]:
        """Yield the messages for the controller until the stream ends."""
        while True:
            with self._lock:
                response = None
                if self._outgoing:
                    response, size = self._outgoing.popleft()
                    self._bytes -= size
                elif self._ended:
                    return
                else:
                    self._woken = False
                    self._wake.clear()
            if response is None:
                await self._wake.wait()
            else:
                yield response

    def take(self, requests: Iterable[object]) -> bool:
        """Process messages of the controller, in order. Return False if the stream has ended. Raises nothing.

        A refused arbitration update, or what is not a message of P4Runtime, ends the stream with an error; the rest of
        `requests` is ignored. For other refused messages, such as a packet-out, the controller gets an error message.
        """
        try:
            for request in requests:
                self._take(request)
        except Refusal as refusal:
            self.end(refusal)
        return not self._ended

    def end(self, refusal: Refusal | None = None) -> None:
        """End the stream after the queued messages; with a refusal, immediately and with that error. Idempotent."""
        with self._lock:
            if self._ended:
                return
            self._ended = True
            self.refusal = refusal
            if refusal is not None:
                self._outgoing.clear()
                self._bytes = 0
            self._notify()

    def close(self) -> None:
        """Remove the controller from the switch, whose lock this acquires, and end the stream. Idempotent."""
        with self._handler.faults.survived("the end of a stream"):
            self._handler.leave(self)
        self.end()

    def _queue(self, response: p4r.StreamMessageResponse, most: int, most_bytes: int) -> bool:
        size = response.ByteSize()
        with self._lock:
            if self._ended:
                return False
            if response.HasField("arbitration"):
                most, most_bytes = OWED, 2 * BACKLOG_BYTES
            if len(self._outgoing) < most and self._bytes + size <= most_bytes:
                self._outgoing.append((response, size))
                self._bytes += size
                self._notify()
                return True
        if response.HasField("arbitration"):
            self.end(Refusal(Code.RESOURCE_EXHAUSTED, "the controller does not read its messages"))
        return False

    def _notify(self) -> None:
        if not self._woken:
            self._woken = True
            with suppress(RuntimeError):  # the loop is closed: the server has stopped
                self._loop.call_soon_threadsafe(self._wake.set)

    def _take(self, request: object) -> None:
        """Process one message. Errors of packets and acknowledgements are sent back, and the stream goes on."""
        if not isinstance(request, p4r.StreamMessageRequest):
            raise Refusal(Code.INVALID_ARGUMENT, "a message on the stream is not a P4Runtime message, or is too long")
        error = p4r.StreamError()
        try:
            match request.WhichOneof("update"):
                case "arbitration":
                    self._handler.arbitrate(self, request.arbitration)
                    self.arbitrated = True
                    return
                case "packet":
                    error.packet_out.packet_out.CopyFrom(request.packet)
                    self._handler.packet_out(self, request.packet)
                case "digest_ack":
                    error.digest_list_ack.digest_list_ack.CopyFrom(request.digest_ack)
                    self._handler.acknowledge(self, request.digest_ack)
                case "other" if request.other.Is(StringValue.DESCRIPTOR):
                    # The echo follows the answers to all earlier messages, so the controller knows that it has them.
                    self.send(p4r.StreamMessageResponse(other=request.other))
                case "other" if request.other.Is(BoolValue.DESCRIPTOR):
                    error.other.other.CopyFrom(request.other)
                    try:
                        wanted = BoolValue.FromString(request.other.value)
                    except DecodeError:
                        raise Refusal(Code.INVALID_ARGUMENT, "the BoolValue cannot be decoded") from None
                    self._handler.trace_to(self, wanted.value)
                case other:
                    error.other.other.CopyFrom(request.other)
                    raise Refusal(Code.UNIMPLEMENTED, f"stream messages of kind {other} are not supported")
        except Refusal as refusal:
            if request.HasField("arbitration"):
                raise
            self._send_error(error, refusal)
        except Exception as unexpected:
            broken = internal(self._handler.faults.report("a stream's message", unexpected))
            if request.HasField("arbitration"):
                raise broken from None
            self._send_error(error, broken)

    def _send_error(self, error: p4r.StreamError, refusal: Refusal) -> None:
        error.canonical_code = int(refusal.code)
        error.message = refusal.message
        self.send(p4r.StreamMessageResponse(error=error))
