"""The transport of a session: finsy's asynchronous gRPC client on an event loop of its own, behind blocking methods."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import suppress
from typing import Any, TypeVar

import grpc
from finsy import P4Client, P4ClientError
from finsy.proto import p4r, p4r_grpc
from google.protobuf.wrappers_pb2 import BytesValue, StringValue

from midflight.errors import DeviceError
from midflight.runtime.p4runtime.addresses import check_address
from midflight.runtime.p4runtime.descriptors import demand_descriptors
from midflight.runtime.p4runtime.status import Code
from midflight.runtime.p4runtime.tls import ClientTls

__all__ = ["Link", "Observer", "RequestError"]

T = TypeVar("T")

Observer = Callable[[str, float, bool], None]
"""Called after each unary request with the name of the RPC, its duration in seconds, and whether it succeeded."""

# The time in seconds that a device has to end the stream when the session closes.
GOODBYE = 2.0
# The maximum number of traces that wait to be read; older ones are dropped.
MOST_TRACES = 1 << 14


class RequestError(DeviceError):
    """The device rejected a P4Runtime request.

    `code` is gRPC's canonical code, for a batch that of the first rejected element. `refused` has the code and message
    of each rejected element of a batch, by its position.
    """

    def __init__(
        self, message: str, code: Code, *, refused: Mapping[int, tuple[Code, str]] | None = None, hint: str = ""
    ) -> None:
        super().__init__(message, hint=hint)
        self.code = code
        self.refused = dict(refused or {})


class Link:
    """A gRPC channel to a P4Runtime server, with its stream.

    `timeout`, in seconds, limits each request. `observer` is called after each unary request; None observes nothing.
    Messages from the device wait in the queues `packets`, `digests`, `traces`, `errors` and `arbitration`, by their
    kind. Methods block. They may be called from any thread other than the link's own. They raise DeviceError if the
    device does not answer in time, and RequestError if it rejects a request. If the device's process has ended, `death`
    returns the error to raise instead, otherwise None.
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
        self._client = P4Client(address, None if tls is None else tls.credentials())
        self._stream: Any = None
        self._reader: asyncio.Task[None] | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"p4runtime {address}", daemon=True)
        self._thread.start()
        self._run(self._client.open())
        self._stub: Any = p4r_grpc.P4RuntimeStub(self._client.channel)  # its type depends on the channel's

    def request(self, rpc: str, message: Any, timeout: float | None = None) -> Any:
        """Make a unary request and return its response. `rpc` is the name of the RPC, such as "Write", `message` its
        request.

        `timeout` is in seconds; None is the link's own.
        """
        begun, succeeded = time.perf_counter(), False
        try:
            answer = self._run(self._request(rpc, message, timeout or self.timeout))
            succeeded = True
            return answer
        finally:
            if self._observer is not None:
                self._observer(rpc, time.perf_counter() - begun, succeeded)

    def read(self, message: p4r.ReadRequest) -> list[p4r.Entity]:
        """Make a Read request, and return the entities of all its responses. RequestError if the device rejects the
        request.

        DeviceError if it does not answer within the link's timeout.
        """
        return self._run(self._read(message))

    def send(self, message: p4r.StreamMessageRequest) -> None:
        """Send a message on the stream, without waiting for an answer. The first one opens the stream."""
        self.send_all([message])

    def send_all(self, messages: Sequence[p4r.StreamMessageRequest]) -> None:
        """Send messages on the stream, in order, without waiting for answers. The first message on the stream
        opens it.
        """
        if self.failure is not None:
            raise self._explained(self.failure)
        self._run(self._send(messages))

    def sync(self) -> None:
        """Block until the device has processed all messages sent before on the stream, and its answers have arrived.

        Requires a server that sends back messages with the field `other`, as Midflight's does.
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

        Returns an empty list if none arrives.
        """
        with self.arrived:
            if not waiting and timeout > 0:
                self.arrived.wait_for(lambda: waiting or self.failure, timeout)
            taken = list(waiting)
            waiting.clear()
            return taken

    def pick(self, waiting: deque[T], wanted: Callable[[T], bool], timeout: float) -> list[T]:
        """Remove and return the messages of one of the queues for which `wanted` returns True; others stay in it.

        Waits up to `timeout` seconds for the first; returns an empty list if none arrives.
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
        """Close the stream and the channel, and end the event loop's thread. Idempotent."""
        if self._loop.is_closed():
            return
        self._run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop.is_closed():
            work.close()
            raise DeviceError(f"the session with {self.address} is closed")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            # The RPC has its own deadline. This one is for an event loop that is stuck.
            return future.result(self.timeout + 5)
        except RequestError:
            raise
        except DeviceError as error:
            raise self._explained(error) from None
        except FutureTimeoutError:
            future.cancel()
            raise DeviceError(f"{self.address} did not answer within {self.timeout:g} s") from None

    def _explained(self, failure: DeviceError) -> DeviceError:
        """Return the error to raise for a failure: the death of the device's process explains any."""
        return self._death() or failure

    async def _request(self, rpc: str, message: Any, timeout: float) -> Any:
        try:
            return await getattr(self._stub, rpc)(message, timeout=timeout)
        except grpc.RpcError as error:
            raise self._failed(P4ClientError(error, rpc, msg=message), rpc) from None

    async def _read(self, message: p4r.ReadRequest) -> list[p4r.Entity]:
        entities: list[p4r.Entity] = []
        try:
            async for response in self._stub.Read(message, timeout=self.timeout):
                entities.extend(response.entities)
        except grpc.RpcError as error:
            raise self._failed(P4ClientError(error, "Read"), "Read") from None
        return entities

    async def _send(self, messages: Sequence[p4r.StreamMessageRequest]) -> None:
        if self._stream is None:
            self._stream = self._stub.StreamChannel()
            self._reader = asyncio.create_task(self._receive())
        try:
            for each in messages:
                await self._stream.write(each)
        except grpc.RpcError as error:
            raise self._failed(P4ClientError(error, "StreamChannel"), "StreamChannel") from None
        except asyncio.InvalidStateError:
            if self._reader is not None:
                await asyncio.wait([self._reader], timeout=1.0)  # it learns why the stream ended
            raise self.failure or DeviceError(f"{self.address} ended the stream") from None

    async def _receive(self) -> None:
        try:
            while (response := await self._stream.read()) is not grpc.aio.EOF:
                with self.arrived:
                    match response.WhichOneof("update"):
                        case "arbitration":
                            self.arbitration.append(response.arbitration)
                        case "packet":
                            self.packets.append(response.packet)
                        case "digest":
                            self.digests.append(response.digest)
                        case "error":
                            self.errors.append(response.error)
                        case "other":
                            echo, trace = StringValue(), BytesValue()
                            if response.other.Unpack(echo):
                                self._echoes.append(echo.value)
                            elif response.other.Unpack(trace):
                                self.traces.append(trace.value.decode())
                    self.arrived.notify_all()
            self._fail(DeviceError(f"{self.address} ended the stream"))
        except grpc.RpcError as error:
            self._fail(self._failed(P4ClientError(error, "StreamChannel"), "StreamChannel"))

    def _fail(self, failure: DeviceError) -> None:
        with self.arrived:
            self.failure = failure
            self.arrived.notify_all()

    async def _close(self) -> None:
        if self._stream is not None and self._reader is not None:
            # The device ends the stream after it has released this controller's election id for others.
            with suppress(grpc.RpcError, asyncio.InvalidStateError):
                await self._stream.done_writing()
            await asyncio.wait([self._reader], timeout=GOODBYE)
            self._stream.cancel()
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        await self._client.close()
        # gRPC ends its own tasks in a later iteration of the loop, which must not close before.
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        if rest:
            await asyncio.wait(rest, timeout=self.timeout)

    def _failed(self, error: P4ClientError, rpc: str) -> DeviceError:
        """Return the error to raise for an error of finsy."""
        if error.code == Code.UNAVAILABLE:
            return DeviceError(f"no P4Runtime server answers at {self.address}", hint=error.message)
        if error.code == Code.DEADLINE_EXCEEDED:
            return DeviceError(f"{self.address} did not answer within {self.timeout:g} s")
        refused = {at: (Code(each.canonical_code), each.message) for at, each in sorted(error.details.items())}
        code = next((code for code, _ in refused.values() if code != Code.ABORTED), Code(error.code))
        return RequestError(error.message or f"{rpc} failed", code, refused=refused)
