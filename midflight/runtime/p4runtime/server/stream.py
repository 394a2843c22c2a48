"""One controller's stream: arbitration, packet-out and acknowledgements in; packet-in, digests and errors out."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from queue import SimpleQueue
from typing import Protocol

import grpc
from finsy.proto import p4r
from google.protobuf.message import DecodeError
from google.protobuf.wrappers_pb2 import BoolValue, BytesValue, StringValue

from midflight.runtime.p4runtime.server.faults import Faults, internal
from midflight.runtime.p4runtime.status import Code, Refusal

__all__ = ["SERVER_NAME", "Stream", "StreamHandler"]

SERVER_NAME = "midflight"
"""What a server says in its capabilities' `experimental` when its streams know two messages more, sent as `other`.

A StringValue is handed back. A BoolValue asks that every packet's way be told, or no more: in BytesValues, as text.
"""

# Packet-ins and digests are best effort: a controller that does not read loses what is beyond.
BACKLOG = 1 << 16


class StreamHandler(Protocol):
    """What a stream hands its messages to."""

    faults: Faults

    def arbitrate(self, stream: Stream, message: p4r.MasterArbitrationUpdate) -> None:
        """Take an arbitration update; a refusal ends the stream."""

    def packet_out(self, stream: Stream, packet: p4r.PacketOut) -> None:
        """Take a packet from the controller."""

    def acknowledge(self, stream: Stream, message: p4r.DigestListAck) -> None:
        """Take the acknowledgement of a digest list."""

    def trace_to(self, stream: Stream, on: bool) -> None:
        """Have packets' ways told on the stream, or no more."""

    def leave(self, stream: Stream) -> None:
        """Forget a stream that has ended."""


class Stream:
    """A controller's stream, from the first message to the last.

    `read` runs in a thread of its own and takes the controller's messages strictly in order, so that the answer
    to one comes behind everything that the messages before it caused.
    """

    def __init__(self, handler: StreamHandler) -> None:
        self.refusal: Refusal | None = None
        self._handler = handler
        self._outgoing: SimpleQueue[p4r.StreamMessageResponse | None] = SimpleQueue()

    def send(self, response: p4r.StreamMessageResponse) -> bool:
        """Queue a message for the controller; return False where there was no room."""
        if self._outgoing.qsize() >= BACKLOG and not response.HasField("arbitration"):
            return False
        self._outgoing.put(response)
        return True

    def send_trace(self, text: str) -> None:
        """Queue a packet's way, while there is room for what matters more."""
        if self._outgoing.qsize() < BACKLOG // 4:
            response = p4r.StreamMessageResponse()
            response.other.Pack(BytesValue(value=text.encode()))
            self._outgoing.put(response)

    def responses(self) -> Iterator[p4r.StreamMessageResponse]:
        """Yield the messages for the controller until the stream ends."""
        while (response := self._outgoing.get()) is not None:
            yield response

    def read(self, requests: Iterable[object]) -> None:
        """Take the controller's messages until there are no more, or one ends the stream."""
        try:
            for request in requests:
                self._take(request)
        except Refusal as refusal:
            self.refusal = refusal
        except grpc.RpcError:
            pass  # the controller has gone
        except Exception as error:
            self.refusal = internal(self._handler.faults.report("a stream", error))
        finally:
            self.close()

    def close(self) -> None:
        """End the stream. May be called more than once."""
        self._handler.leave(self)
        self._outgoing.put(None)

    def _take(self, request: object) -> None:
        """Handle one message. What is wrong with a packet or an acknowledgement is told and the stream goes on."""
        if not isinstance(request, p4r.StreamMessageRequest):
            raise Refusal(Code.INVALID_ARGUMENT, "what came on the stream is not a message of P4Runtime's")
        error = p4r.StreamError()
        try:
            match request.WhichOneof("update"):
                case "arbitration":
                    self._handler.arbitrate(self, request.arbitration)
                    return
                case "packet":
                    error.packet_out.packet_out.CopyFrom(request.packet)
                    self._handler.packet_out(self, request.packet)
                case "digest_ack":
                    error.digest_list_ack.digest_list_ack.CopyFrom(request.digest_ack)
                    self._handler.acknowledge(self, request.digest_ack)
                case "other" if request.other.Is(StringValue.DESCRIPTOR):
                    # Handed back behind the answers to all that came before: so a controller knows it has them.
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
                    raise Refusal(Code.UNIMPLEMENTED, f"stream messages of kind {other} are not understood")
        except Refusal as refusal:
            if request.HasField("arbitration"):
                raise
            self._tell(error, refusal)
        except Exception as unexpected:
            broken = internal(self._handler.faults.report("a stream's message", unexpected))
            if request.HasField("arbitration"):
                raise broken from None
            self._tell(error, broken)

    def _tell(self, error: p4r.StreamError, refusal: Refusal) -> None:
        error.canonical_code = int(refusal.code)
        error.message = refusal.message
        self.send(p4r.StreamMessageResponse(error=error))
