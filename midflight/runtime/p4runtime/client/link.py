"""The transport of a session: a gRPC channel with P4Runtime's calls and its stream, behind blocking methods."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import grpc
from finsy.p4client import P4RpcStatus
from finsy.proto import p4r, p4r_grpc
from google.protobuf.wrappers_pb2 import BytesValue, StringValue

from midflight.errors import DeviceError
from midflight.runtime.p4runtime.addresses import check_address
from midflight.runtime.p4runtime.descriptors import demand_descriptors
from midflight.runtime.p4runtime.handshake import tls_problem
from midflight.runtime.p4runtime.status import Code
from midflight.runtime.p4runtime.tls import ClientTls, open_channel

__all__ = ["Link", "Observer", "RequestError"]

T = TypeVar("T")

Observer = Callable[[str, float, bool], None]
"""Called after each request with the name of the RPC, its duration in seconds, and whether it succeeded.

Messages on the stream are not requests."""

# The time in seconds that a device has to end the stream when the session closes.
GOODBYE = 2.0
# The maximum number of traces that wait to be read; older ones are dropped.
MOST_TRACES = 1 << 14
# The maximum number of messages that wait to be sent; more block their sender.
MOST_UNSENT = 1 << 10


class RequestError(DeviceError):
    """The device rejected a P4Runtime request.

    `code` is gRPC's canonical code. For a batch, it is that of the first element that was rejected for a reason of its
    own, and not only undone with the others. `refused` has the code and message of each element that was rejected or
    undone, by its position in the batch.
    """

    def __init__(
        self, message: str, code: Code, *, refused: Mapping[int, tuple[Code, str]] | None = None, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.refused = dict(refused or {})


class Link:
    """A gRPC channel to a P4Runtime server, with its stream.

    `timeout`, in seconds, limits each request. `observer` is called after each request; None observes nothing.
    Messages from the device wait in the queues `packets`, `digests`, `traces`, `errors` and `arbitration`, by their
    kind. Methods block. They may be called from any thread other than the link's own. They raise DeviceError if the
    device does not answer in time, and RequestError if it rejects a request. If the device's process has ended, `death`
    returns the error to raise instead, otherwise None. The constructor does not connect; it raises DeviceError for an
    invalid address or TLS file, or if this process may not open enough files.
    """

    def __init__(
        self,
        address: str,
        timeout: float,
        observer: Observer | None = None,
        tls: ClientTls | None = None,
        death: Callable[[], DeviceError | None] = lambda: None,
    ) -> None:
        check_address(address)
        demand_descriptors()
        self.address = address
        self._death = death
        self._observer = observer
        self.timeout = timeout
        self.arrived = threading.Condition()
        self.arbitration: deque[p4r.MasterArbitrationUpdate] = deque()
        self.packets: deque[p4r.PacketIn] = deque()
        self.digests: deque[p4r.DigestList] = deque()
        self.errors: deque[p4r.StreamError] = deque()
        self.traces: deque[str] = deque(maxlen=MOST_TRACES)
        self._echoes: deque[str] = deque()
        self._synced = 0
        self.failure: DeviceError | None = None
        self._channel = open_channel(address, tls)
        self._tls = tls
        self._answered = False
        self._stub: Any = p4r_grpc.P4RuntimeStub(self._channel)
        self._outbox: queue.Queue[p4r.StreamMessageRequest | None] = queue.Queue(MOST_UNSENT)
        self._stream: Any = None
        self._reader: threading.Thread | None = None
        self._opening = threading.Lock()
        self._closed = False

    def request(self, rpc: str, message: Any, timeout: float | None = None) -> Any:
        """Make a unary request, wait for its response, and return that.

        `rpc` is the name of the RPC, such as "Write", `message` its request. `timeout` is in seconds; None is the
        link's own. RequestError if the device rejects the request; DeviceError if it does not answer in time, or the
        link is closed.
        """
        with self._measured(rpc):
            return getattr(self._stub, rpc)(message, timeout=timeout or self.timeout)

    def read(self, message: p4r.ReadRequest) -> list[p4r.Entity]:
        """Make a Read request, and return the entities of all its responses. RequestError if the device rejects the
        request.

        DeviceError if it does not answer within the link's timeout.
        """
        with self._measured("Read"):
            return [each for response in self._stub.Read(message, timeout=self.timeout) for each in response.entities]

    def send(self, message: p4r.StreamMessageRequest) -> None:
        """Send a message on the stream, without waiting for an answer. The first one opens the stream.

        Blocks while 1024 messages wait to be sent. DeviceError if the device takes none for as long as the link's
        timeout, if the stream has ended, or if the link is closed.
        """
        self.send_all([message])

    def send_all(self, messages: Sequence[p4r.StreamMessageRequest]) -> None:
        """Send messages on the stream, in order, without waiting for answers. The first message on the stream opens it.

        Blocks while 1024 messages wait to be sent. DeviceError as for `send`; the messages before the error may have
        been sent.
        """
        self._check_open()
        with self._opening:
            if self._stream is None:
                self._stream = self._stub.StreamChannel(iter(self._outbox.get, None))
                name = f"p4runtime {self.address}"
                self._reader = threading.Thread(target=self._receive, name=name, daemon=True)
                self._reader.start()
        for each in messages:
            if self.failure is not None:
                raise self._explained(self.failure)
            try:
                self._outbox.put(each, timeout=self.timeout)
            except queue.Full:
                raise DeviceError(f"{self.address} has not read its messages for {self.timeout:g} s") from None

    def sync(self) -> None:
        """Block until the device has processed all messages sent before on the stream, and its answers have arrived.

        Requires a server that sends back messages with the field `other`, as Midflight's does. DeviceError if it does
        not answer within the link's timeout, or if the connection fails.
        """
        self._synced += 1
        token = f"sync {self._synced}"
        message = p4r.StreamMessageRequest()
        message.other.Pack(StringValue(value=token))
        self.send(message)
        while self.wait(self._echoes) != token:
            pass

    def wait(self, waiting: deque[T]) -> T:
        """Remove and return the first message of one of the queues. Blocks until there is one, up to the link's
        timeout.

        DeviceError if none arrives, or if the connection fails.
        """
        with self.arrived:
            if not self.arrived.wait_for(lambda: waiting or self.failure, self.timeout):
                raise DeviceError(f"{self.address} did not answer within {self.timeout:g} s")
            if not waiting:
                assert self.failure is not None
                raise self._explained(self.failure)
            return waiting.popleft()

    def take(self, waiting: deque[T], timeout: float) -> list[T]:
        """Remove and return all messages of one of the queues. If it is empty, wait up to `timeout` seconds for the
        first.

        Returns an empty list if none arrives, also if the connection fails.
        """
        with self.arrived:
            if not waiting and timeout > 0:
                self.arrived.wait_for(lambda: waiting or self.failure, timeout)
            taken = list(waiting)
            waiting.clear()
            return taken

    def pick(self, waiting: deque[T], wanted: Callable[[T], bool], timeout: float) -> list[T]:
        """Remove and return the messages of one of the queues for which `wanted` returns True; others stay in it.

        Waits up to `timeout` seconds for the first; returns an empty list if none arrives. DeviceError if there is none
        and the connection has failed. `wanted` is called while the link's lock is held, so it must not use the link.
        """
        with self.arrived:
            if timeout > 0:
                self.arrived.wait_for(lambda: self.failure or any(map(wanted, waiting)), timeout)
            taken = [each for each in waiting if wanted(each)]
            if taken:
                rest = [each for each in waiting if not wanted(each)]
                waiting.clear()
                waiting.extend(rest)
            elif self.failure is not None:
                raise self._explained(self.failure)
            return taken

    def close(self) -> None:
        """Close the stream and the channel. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._reader is not None:
            # The device ends the stream after it has released this controller's election id for others.
            with suppress(queue.Full):
                self._outbox.put(None, timeout=GOODBYE)
            self._reader.join(GOODBYE)
            self._stream.cancel()
            self._reader.join()
        self._channel.close()

    @contextmanager
    def _measured(self, rpc: str) -> Iterator[None]:
        """Report the duration of a request to the observer, and turn gRPC's error into one of ours."""
        begun, succeeded = time.perf_counter(), False
        try:
            self._check_open()
            yield
            succeeded = self._answered = True
        except grpc.RpcError as error:
            raise self._failed(error, rpc) from None
        finally:
            if self._observer is not None:
                self._observer(rpc, time.perf_counter() - begun, succeeded)

    def _check_open(self) -> None:
        if self._closed:
            raise DeviceError(f"the session with {self.address} is closed")

    def _explained(self, failure: DeviceError) -> DeviceError:
        """Return the error to raise for a failure: the death of the device's process explains any."""
        return self._death() or failure

    def _receive(self) -> None:
        """Put the device's messages into their queues until the stream ends."""
        try:
            for each in self._stream:
                with self.arrived:
                    self._put(each)
                    self.arrived.notify_all()
            self._fail(DeviceError(f"{self.address} ended the stream"))
        except grpc.RpcError as error:
            self._fail(self._error(error, "StreamChannel"))

    def _put(self, message: p4r.StreamMessageResponse) -> None:
        match message.WhichOneof("update"):
            case "arbitration":
                self.arbitration.append(message.arbitration)
            case "packet":
                self.packets.append(message.packet)
            case "digest":
                self.digests.append(message.digest)
            case "error":
                self.errors.append(message.error)
            case "other":
                echo, trace = StringValue(), BytesValue()
                if message.other.Unpack(echo):
                    self._echoes.append(echo.value)
                elif message.other.Unpack(trace):
                    self.traces.append(trace.value.decode())

    def _fail(self, failure: DeviceError) -> None:
        with self.arrived:
            self.failure = failure
            self.arrived.notify_all()
        with suppress(queue.Empty):  # nobody takes these any more, and senders may wait for room
            while True:
                self._outbox.get_nowait()

    def _failed(self, error: Any, rpc: str) -> DeviceError:
        """Return the error to raise for gRPC's error of a call."""
        failure = self._error(error, rpc)
        if error.code() == grpc.StatusCode.UNAVAILABLE and not self._answered:
            failure = tls_problem(self.address, self._tls) or failure
        return failure if isinstance(failure, RequestError) else self._explained(failure)

    def _error(self, error: Any, rpc: str) -> DeviceError:
        status = _status(error)
        if status.code == Code.UNAVAILABLE:
            return DeviceError(f"no P4Runtime server answers at {self.address}", hint=status.message)
        if status.code == Code.DEADLINE_EXCEEDED:
            return DeviceError(f"{self.address} did not answer within {self.timeout:g} s")
        refused = {at: (Code(each.canonical_code), each.message) for at, each in sorted(status.details.items())}
        code = next((code for code, _ in refused.values() if code != Code.ABORTED), Code(status.code))
        return RequestError(status.message or f"{rpc} failed", code, refused=refused)


def _status(error: Any) -> P4RpcStatus:
    """Return the status of a failed call, with P4Runtime's error details if there are any."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            return P4RpcStatus.from_bytes(value)
    return P4RpcStatus(Code.from_status_code(error.code()), error.details() or "", {})
