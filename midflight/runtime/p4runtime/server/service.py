"""The RPCs of P4Runtime, and one for queues, on an event loop, with limits on concurrent calls, and error handling."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

import grpc
from finsy.proto import p4r
from google.protobuf.message import DecodeError, Message
from google.protobuf.wrappers_pb2 import StringValue

from midflight.errors import DeviceError
from midflight.runtime.p4runtime.queuemessages import METHOD, SERVICE, QueueReport, QueueRequest
from midflight.runtime.p4runtime.server.calls import Call, Calls
from midflight.runtime.p4runtime.server.faults import internal
from midflight.runtime.p4runtime.server.stream import SERVER_NAME, Stream
from midflight.runtime.p4runtime.server.switch import Switch
from midflight.runtime.p4runtime.status import Code, Refusal
from midflight.runtime.p4runtime.tls import ServerTls
from midflight.workers import Workers

__all__ = ["API_VERSION", "Service", "extensions", "handlers"]

T = TypeVar("T")
Context = Any  # grpc.aio's ServicerContext, which is generic in the messages

API_VERSION = "1.5.0"

# Limits for requests in progress, and for streams before their first arbitration update: in total and for each peer. A
# peer is an address.
REQUESTS, PEER_REQUESTS = 512, 256
SILENT, PEER_SILENT = 256, 64
# Timeouts in seconds: of a stream for its first arbitration update, and of a Read for its client to read a part.
SILENT_PATIENCE, READ_PATIENCE = 10.0, 30.0
PATROL = 1.0
# Seconds between two looks for lists of digests to send: half of the shortest `max_timeout_ns`, within these limits.
SOONEST, LATEST = 0.005, 0.1
# The maximum number of calls that time out at once.
AT_ONCE = 16
# The maximum bytes of one message on a stream. Packets and role configs are far smaller.
STREAM_MESSAGE = 1 << 20
# The maximum number of messages of one stream that wait for the switch.
INBOX = 64
# What the next message of a stream raises if the controller disappeared, the call was aborted or the server stopped.
_DISAPPEARED = (grpc.RpcError, asyncio.InvalidStateError, grpc.aio.BaseError)
# The number of threads for requests and streams, and for pipeline configs, which take long. More threads would not
# compute more, but let the event loop wait longer for its turn.
THREADS, PUSHES = 4, 2


class _Garbled:
    """A request that cannot be parsed or is too long."""


def handlers(service: Service) -> grpc.GenericRpcHandler:
    """Return the gRPC handlers of a service.

    With generated handlers, gRPC would parse requests itself; one that cannot be parsed then leaves a traceback in the
    log and a call that never ends.
    """
    shapes = {
        "Write": (grpc.unary_unary_rpc_method_handler, p4r.WriteRequest),
        "Read": (grpc.unary_stream_rpc_method_handler, p4r.ReadRequest),
        "SetForwardingPipelineConfig": (grpc.unary_unary_rpc_method_handler, p4r.SetForwardingPipelineConfigRequest),
        "GetForwardingPipelineConfig": (grpc.unary_unary_rpc_method_handler, p4r.GetForwardingPipelineConfigRequest),
        "StreamChannel": (grpc.stream_stream_rpc_method_handler, p4r.StreamMessageRequest),
        "Capabilities": (grpc.unary_unary_rpc_method_handler, p4r.CapabilitiesRequest),
    }
    longest = {"StreamChannel": STREAM_MESSAGE}
    table = {
        name: shape(
            service.guarded(getattr(service, name)),
            _parser(kind, longest.get(name)),
            lambda message: message.SerializeToString(),
        )
        for name, (shape, kind) in shapes.items()
    }
    return grpc.method_handlers_generic_handler("p4.v1.P4Runtime", table)


def extensions(service: Service) -> grpc.GenericRpcHandler:
    """Return the gRPC handlers of what the server offers beside P4Runtime: its queues."""

    def parse(data: bytes) -> QueueRequest | _Garbled:
        try:
            return QueueRequest.decode(data)
        except ValueError:
            return _Garbled()

    handler = grpc.unary_unary_rpc_method_handler(service.guarded(service.Queues), parse, QueueReport.encode)
    return grpc.method_handlers_generic_handler(SERVICE, {METHOD: handler})


def _parser(kind: type[Message], longest: int | None) -> Callable[[bytes], Message | _Garbled]:
    def parse(data: bytes) -> Message | _Garbled:
        if longest is not None and len(data) > longest:
            return _Garbled()
        try:
            return kind.FromString(data)
        except DecodeError:
            return _Garbled()

    return parse


class Service:
    """P4Runtime's RPCs, which pass requests to the switch. `tls` has the server's certificates and roles; None without
    TLS.

    Methods other than `__init__` and `close` run on the event loop.
    """

    def __init__(self, switch: Switch, tls: ServerTls | None = None) -> None:
        self._switch = switch
        self._tls = tls
        self._requests = Calls("requests", most=REQUESTS, per_peer=PEER_REQUESTS, patience=READ_PATIENCE)
        self._silent = Calls("silent streams", most=SILENT, per_peer=PEER_SILENT, patience=SILENT_PATIENCE)
        self._streams: dict[Stream, Callable[[Refusal], None]] = {}  # with the functions that end them
        self._pool = Workers(THREADS, "p4runtime requests")
        self._stream_pool = Workers(THREADS, "p4runtime streams")
        self._pushes = Workers(PUSHES, "p4runtime pushes")

    def close(self) -> None:
        """Stop the threads that do the work of requests, after their current work."""
        for each in (self._pool, self._stream_pool, self._pushes):
            each.close()

    def guarded(self, method: Callable[[Any, Context], Awaitable[T]]) -> Callable[[Any, Context], Awaitable[T]]:
        """Wrap the method of an RPC, so that its client gets an id for an unexpected exception, and not its text."""

        async def run(request: Any, context: Context) -> T:
            try:
                return await method(request, context)
            except grpc.aio.AbortError:
                raise
            except Exception as error:
                if isinstance(error, grpc.aio.BaseError) and not isinstance(error, grpc.aio.UsageError):
                    raise asyncio.CancelledError from None  # the client has gone, or the server has stopped
                await _abort(context, internal(self._switch.faults.report(method.__name__, error)))

        return run

    def report(self, _: asyncio.AbstractEventLoop, problem: dict[str, Any]) -> None:
        """Report an unexpected exception of the event loop, which goes on: the loop's exception handler.

        Three kinds mean nothing. A Refusal arrives here if the client of the refused request has gone. The others come
        from gRPC, whose event loops in one process share a descriptor: BlockingIOError if another loop was faster, and
        a RuntimeError about a closed loop if the loop that an event is for, of another server, has been closed.
        """
        error = problem.get("exception")
        closed = isinstance(error, RuntimeError) and str(error) == "Event loop is closed"
        if isinstance(error, Exception) and not isinstance(error, (BlockingIOError, Refusal)) and not closed:
            self._switch.faults.report("the event loop", error)

    def end_streams(self) -> None:
        """End the streams of all controllers with the error that the switch stops."""
        for end in list(self._streams.values()):
            end(Refusal(Code.UNAVAILABLE, "the switch is stopping"))

    async def patrol(self) -> None:
        """Run until cancelled, and do what is due at regular intervals.

        Ends the calls that have waited too long for their clients, and lets the switch look for idle entries and
        changed ports (`Switch.tick`).
        """
        loop = asyncio.get_running_loop()
        tick: Future[None] | None = None
        while True:
            await asyncio.sleep(PATROL)
            with self._switch.faults.survived("the patrol"):
                for calls in (self._silent, self._requests):
                    while calls.expire(loop.time(), AT_ONCE):
                        await asyncio.sleep(0)  # other calls go on between them
                if tick is None or tick.done():
                    tick = self._stream_pool.submit(self._switch.tick)

    async def send_digests(self) -> None:
        """Run until cancelled: send lists of digests that are not full when their time has come."""
        sent, patience = self._stream_pool.submit(self._switch.send_digests), None
        while True:
            await asyncio.sleep(LATEST if patience is None else min(LATEST, max(SOONEST, patience / 2e6)))
            if sent.done():
                with self._switch.faults.survived("sending digests"):
                    patience = sent.result()
                sent = self._stream_pool.submit(self._switch.send_digests)

    async def Write(self, request: p4r.WriteRequest, context: Context) -> p4r.WriteResponse:  # noqa: N802
        """Serve P4Runtime's Write: apply a batch of updates, and report the status of each if one fails."""
        await self._permit(request, context)
        status = await self._request("Write", self._pool, self._switch.write, request, context)
        if status is not None:
            await _abort_batch(context, status)
        return p4r.WriteResponse()

    async def Read(self, request: p4r.ReadRequest, context: Context) -> None:  # noqa: N802
        """Serve P4Runtime's Read: stream the requested entities in parts, and end with an error if a part of them
        cannot be read.
        """
        call = await self._enter(request, context)
        loop = asyncio.get_running_loop()
        try:
            parts = await self._do("Read", self._pool, self._switch.read, (request,), context)
            while True:
                entities = await self._do("Read", self._pool, next, (parts, None), context)
                if entities is None:
                    break
                call.waiting = loop.time()
                await context.write(p4r.ReadResponse(entities=entities))
                call.waiting = None
            if parts.status is not None:
                await _abort_batch(context, parts.status)
        finally:
            self._requests.leave(call)

    async def SetForwardingPipelineConfig(  # noqa: N802
        self, request: p4r.SetForwardingPipelineConfigRequest, context: Context
    ) -> p4r.SetForwardingPipelineConfigResponse:
        """Serve the RPC of this name: verify, save or commit a pipeline. An error leaves the current pipeline
        unchanged.
        """
        name = "SetForwardingPipelineConfig"
        await self._permit(request, context)
        await self._request(name, self._pushes, self._switch.set_pipeline, request, context)
        return p4r.SetForwardingPipelineConfigResponse()

    async def GetForwardingPipelineConfig(  # noqa: N802
        self, request: p4r.GetForwardingPipelineConfigRequest, context: Context
    ) -> p4r.GetForwardingPipelineConfigResponse:
        """Serve the RPC of this name: return the current pipeline's config, or the parts of it that the request asks
        for.
        """
        return await self._request(
            "GetForwardingPipelineConfig", self._pool, self._switch.get_pipeline, request, context
        )

    async def Capabilities(  # noqa: N802
        self, request: p4r.CapabilitiesRequest, context: Context
    ) -> p4r.CapabilitiesResponse:
        """Return the API version, and in `experimental` the name of the server. Does not wait for the switch."""
        await _check(request, context)
        if request.device_id:
            try:
                self._switch.demand_device(request.device_id)
            except Refusal as refusal:
                await _abort(context, refusal)
        response = p4r.CapabilitiesResponse(p4runtime_api_version=API_VERSION)
        response.experimental.Pack(StringValue(value=SERVER_NAME))
        return response

    async def Queues(self, request: QueueRequest, context: Context) -> QueueReport:  # noqa: N802
        """Change and return the settings of queues. A change requires the permission to take the default role."""
        await _check(request, context)
        if request.changes:
            await self._permit(request, context)
        return await self._request("Queues", self._pool, self._control_queues, request, context)

    def _control_queues(self, request: QueueRequest) -> QueueReport:
        self._switch.demand_device(request.device_id or self._switch.device_id)
        try:
            return self._switch.queues.answer(request)
        except DeviceError as error:
            raise Refusal(Code.INVALID_ARGUMENT, error.message) from None

    async def StreamChannel(self, requests: AsyncIterator[object], context: Context) -> None:  # noqa: N802
        """Serve P4Runtime's stream of one controller (arbitration, packets, digests) until either side ends it."""
        loop = asyncio.get_running_loop()
        stream = Stream(self._switch, loop, _peer(context), self._roles(context))
        task = asyncio.current_task()

        def end(refusal: Refusal) -> None:
            stream.end(refusal)
            if first is None and task is not None:
                task.cancel()

        first: object = None
        try:
            call = self._silent.enter(stream.peer, end, waiting=loop.time())
        except Refusal as refusal:
            await _abort(context, refusal)
        self._streams[stream] = end
        try:
            # Until its first message, a stream has neither tasks nor a controller to remove: there may be many.
            with suppress(*_DISAPPEARED):
                first = await anext(requests, None)
            if first is not None:
                await self._converse(stream, first, requests, context, call)
        except asyncio.CancelledError:
            if stream.refusal is None:
                raise
        finally:
            self._silent.leave(call)
            self._streams.pop(stream, None)
        if stream.refusal is not None:
            await _abort(context, stream.refusal)

    async def _converse(
        self, stream: Stream, first: object, requests: AsyncIterator[object], context: Context, call: Call
    ) -> None:
        reader = asyncio.create_task(self._read(stream, first, requests, call))
        try:
            async for response in stream.responses():
                await context.write(response)
        finally:
            reader.cancel()
            # The controller is removed before it sees the end of the stream, and also if it disappeared.
            left = asyncio.wrap_future(self._stream_pool.submit(stream.close))
            await asyncio.shield(left)

    async def _read(self, stream: Stream, first: object, requests: AsyncIterator[object], call: Call) -> None:
        """Pass the controller's messages to the switch in order, several at a time if they have arrived."""
        inbox: asyncio.Queue[object] = asyncio.Queue(INBOX)
        inbox.put_nowait(first)
        end = object()

        async def receive() -> None:
            with suppress(*_DISAPPEARED):
                async for request in requests:
                    await inbox.put(request)
            await inbox.put(end)

        receiving = asyncio.create_task(receive())
        try:
            going = True
            while going:
                batch = [await inbox.get()]
                while not inbox.empty():
                    batch.append(inbox.get_nowait())
                if batch[-1] is end:
                    batch.pop()
                    going = False
                work = self._stream_pool.submit(stream.take, batch)
                going = await asyncio.shield(asyncio.wrap_future(work)) and going
                if stream.arbitrated:
                    self._silent.leave(call)
        finally:
            receiving.cancel()
            with suppress(RuntimeError):  # the threads have ended
                self._stream_pool.submit(stream.close)

    def _roles(self, context: Context) -> frozenset[str] | None:
        """Return the roles that a client may take according to its certificate, or None for any role."""
        if self._tls is None:
            return None
        names = context.auth_context().get("x509_common_name", [])
        return self._tls.roles_of(names[0].decode(errors="replace") if names else None)

    async def _permit(self, request: object, context: Context) -> None:
        """Reject a change in a role that the client's certificate does not permit."""
        await _check(request, context)
        roles, role = self._roles(context), getattr(request, "role", "")
        if roles is not None and role not in roles:
            await _abort(
                context, Refusal(Code.PERMISSION_DENIED, f"the client's certificate does not permit role {role!r}")
            )

    async def _enter(self, request: object, context: Context) -> Call:
        """Register a request. If it ends in favour of others, its task is cancelled, and its client gets an error."""
        await _check(request, context)
        task = asyncio.current_task()

        def end(_: Refusal) -> None:
            if task is not None:
                task.cancel()

        try:
            return self._requests.enter(_peer(context), end)
        except Refusal as refusal:
            await _abort(context, refusal)

    async def _request(
        self, name: str, pool: Workers, work: Callable[[Any], T], request: object, context: Context
    ) -> T:
        """Process a request. It counts as in progress until it is done, even if its client no longer waits."""
        call = await self._enter(request, context)
        loop = asyncio.get_running_loop()

        def leave(_: Future[T]) -> None:
            with suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._requests.leave, call)

        return await self._do(name, pool, work, (request,), context, leave)

    async def _do(
        self,
        name: str,
        pool: Workers,
        work: Callable[..., T],
        arguments: tuple[object, ...],
        context: Context,
        done: Callable[[Future[T]], None] | None = None,
    ) -> T:
        """Run work in a pool, and return its result. If it raises, the client gets an error."""
        future = pool.submit(work, *arguments)
        if done is not None:
            future.add_done_callback(done)
        try:
            return await asyncio.shield(asyncio.wrap_future(future))
        except Refusal as refusal:
            await _abort(context, refusal)
        except Exception as error:
            await _abort(context, internal(self._switch.faults.report(name, error)))


def _peer(context: Context) -> str:
    """Return the caller: an address without its port. All clients of a unix socket are one peer."""
    kind, _, rest = str(context.peer()).partition(":")
    return f"{kind}:{rest.rpartition(':')[0]}" if kind in ("ipv4", "ipv6") else kind


async def _check(request: object, context: Context) -> None:
    if isinstance(request, _Garbled):
        await _abort(context, Refusal(Code.INVALID_ARGUMENT, "the request is not a message of this service"))


def _code(number: int) -> grpc.StatusCode:
    return next(code for code in grpc.StatusCode if code.value[0] == number)


async def _abort(context: Context, refusal: Refusal) -> NoReturn:
    try:
        await context.abort(_code(int(refusal.code)), refusal.message)
    except grpc.aio.InternalError:  # the client has gone
        raise asyncio.CancelledError from None
    raise AssertionError("abort raises")


async def _abort_batch(context: Context, status: Any) -> NoReturn:
    details = (("grpc-status-details-bin", status.SerializeToString()),)
    await context.abort(_code(status.code), status.message, details)
    raise AssertionError("abort raises")
