"""P4Runtime over gRPC (specification 1.5, section 16 for the API version)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import NoReturn

import grpc
from finsy.proto import p4r, rpc_status
from google.protobuf.message import DecodeError, Message
from google.protobuf.wrappers_pb2 import StringValue

from midflight.errors import DeviceError
from midflight.runtime.p4runtime.server.arbitration import STREAM_LIMIT
from midflight.runtime.p4runtime.server.read import CHUNK
from midflight.runtime.p4runtime.server.stream import SERVER_NAME, Stream
from midflight.runtime.p4runtime.server.switch import Switch
from midflight.runtime.p4runtime.status import Code, Refusal, batch_status

__all__ = ["API_VERSION", "Server"]

API_VERSION = "1.5.0"

# A stream keeps its thread; requests need some besides. Threads are made when needed.
WORKERS = STREAM_LIMIT + 16
# Seconds that requests in progress are given when the server stops.
GRACE = 2.0
MESSAGE_LIMIT = 256 * 1024 * 1024


class Server:
    """Serves a switch at an address until stopped; a context manager.

    `address` is "host:port", where port 0 lets the system choose and `.address` says what it chose, or "unix:/path".
    DeviceError when the address cannot be had.
    """

    def __init__(self, switch: Switch, address: str = "127.0.0.1:0") -> None:
        self.switch = switch
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="p4runtime")
        options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", MESSAGE_LIMIT)]
        self._server = grpc.server(self._pool, options=options)
        self._servicer = _Servicer(switch)
        self._server.add_generic_rpc_handlers((_handlers(self._servicer),))
        try:
            port = self._server.add_insecure_port(address)
        except RuntimeError as error:
            self._pool.shutdown()
            raise DeviceError(f"cannot listen on {address}", hint="is another switch using it?") from error
        host = address.rpartition(":")[0]
        self.address = address if address.startswith("unix:") else f"{host}:{port}"

    def start(self) -> Server:
        """Begin to serve; returns itself."""
        self._server.start()
        return self

    def stop(self) -> None:
        """End every stream and request, and free the address. May be called more than once."""
        self._servicer.end_streams()
        self._server.stop(GRACE).wait()
        self._pool.shutdown()

    def wait(self) -> None:
        """Return when the server has stopped."""
        self._server.wait_for_termination()

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


class _Garbled:
    """A request whose bytes are no message."""


def _handlers(servicer: _Servicer) -> grpc.GenericRpcHandler:
    """Return the service's handlers.

    Our own rather than the generated ones: there gRPC itself parses, and a request that does not parse leaves a
    traceback in the log and a call that never ends.
    """
    shapes = {
        "Write": (grpc.unary_unary_rpc_method_handler, p4r.WriteRequest),
        "Read": (grpc.unary_stream_rpc_method_handler, p4r.ReadRequest),
        "SetForwardingPipelineConfig": (grpc.unary_unary_rpc_method_handler, p4r.SetForwardingPipelineConfigRequest),
        "GetForwardingPipelineConfig": (grpc.unary_unary_rpc_method_handler, p4r.GetForwardingPipelineConfigRequest),
        "StreamChannel": (grpc.stream_stream_rpc_method_handler, p4r.StreamMessageRequest),
        "Capabilities": (grpc.unary_unary_rpc_method_handler, p4r.CapabilitiesRequest),
    }
    handlers = {
        name: shape(getattr(servicer, name), _parser(kind), lambda message: message.SerializeToString())
        for name, (shape, kind) in shapes.items()
    }
    return grpc.method_handlers_generic_handler("p4.v1.P4Runtime", handlers)


def _parser(kind: type[Message]) -> Callable[[bytes], Message | _Garbled]:
    def parse(data: bytes) -> Message | _Garbled:
        try:
            return kind.FromString(data)
        except DecodeError:
            return _Garbled()

    return parse


def _check(request: object, context: grpc.ServicerContext) -> None:
    if isinstance(request, _Garbled):
        _refuse(context, Refusal(Code.INVALID_ARGUMENT, "the request is not a message of P4Runtime's"))


class _Servicer:
    """The six RPCs, each handed to the switch."""

    def __init__(self, switch: Switch) -> None:
        self._switch = switch
        self._streams: dict[Stream, None] = {}

    def end_streams(self) -> None:
        """Tell every controller that the switch is going, and end its stream."""
        for stream in list(self._streams):
            stream.refusal = Refusal(Code.UNAVAILABLE, "the switch is stopping")
            stream.close()

    def Write(self, request: p4r.WriteRequest, context: grpc.ServicerContext) -> p4r.WriteResponse:  # noqa: N802
        """Apply a batch of updates."""
        _check(request, context)
        try:
            status = self._switch.write(request)
        except Refusal as refusal:
            _refuse(context, refusal)
        if status is not None:
            _refuse_batch(context, status)
        return p4r.WriteResponse()

    def Read(self, request: p4r.ReadRequest, context: grpc.ServicerContext) -> Iterator[p4r.ReadResponse]:  # noqa: N802
        """Stream the entities that were asked for."""
        _check(request, context)
        try:
            entities, outcomes = self._switch.read(request)
        except Refusal as refusal:
            _refuse(context, refusal)
        for start in range(0, len(entities), CHUNK):
            yield p4r.ReadResponse(entities=entities[start : start + CHUNK])
        if any(outcomes):
            _refuse_batch(context, batch_status(outcomes, "requests"))

    def SetForwardingPipelineConfig(  # noqa: N802
        self, request: p4r.SetForwardingPipelineConfigRequest, context: grpc.ServicerContext
    ) -> p4r.SetForwardingPipelineConfigResponse:
        """Verify, save or commit a config."""
        _check(request, context)
        try:
            self._switch.set_pipeline(request)
        except Refusal as refusal:
            _refuse(context, refusal)
        return p4r.SetForwardingPipelineConfigResponse()

    def GetForwardingPipelineConfig(  # noqa: N802
        self, request: p4r.GetForwardingPipelineConfigRequest, context: grpc.ServicerContext
    ) -> p4r.GetForwardingPipelineConfigResponse:
        """Return the config in place."""
        _check(request, context)
        try:
            return self._switch.get_pipeline(request)
        except Refusal as refusal:
            _refuse(context, refusal)

    def StreamChannel(  # noqa: N802
        self, request_iterator: Iterator[p4r.StreamMessageRequest], context: grpc.ServicerContext
    ) -> Iterator[p4r.StreamMessageResponse]:
        """Carry one controller's stream until either side ends it."""
        stream = Stream(self._switch)
        if not context.add_callback(stream.close):
            return
        self._streams[stream] = None
        threading.Thread(target=stream.read, args=(request_iterator,), daemon=True).start()
        try:
            yield from stream.responses()
        finally:
            self._streams.pop(stream, None)
        if stream.refusal is not None:
            _refuse(context, stream.refusal)

    def Capabilities(  # noqa: N802
        self, request: p4r.CapabilitiesRequest, context: grpc.ServicerContext
    ) -> p4r.CapabilitiesResponse:
        """Tell the API version, and by `experimental` whose server this is."""
        _check(request, context)
        if request.device_id:
            try:
                self._switch.demand_device(request.device_id)
            except Refusal as refusal:
                _refuse(context, refusal)
        response = p4r.CapabilitiesResponse(p4runtime_api_version=API_VERSION)
        response.experimental.Pack(StringValue(value=SERVER_NAME))
        return response


def _code(number: int) -> grpc.StatusCode:
    return next(code for code in grpc.StatusCode if code.value[0] == number)


def _refuse(context: grpc.ServicerContext, refusal: Refusal) -> NoReturn:
    context.abort(_code(int(refusal.code)), refusal.message)
    raise AssertionError("abort raises")


def _refuse_batch(context: grpc.ServicerContext, status: rpc_status.Status) -> NoReturn:
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(_code(status.code), status.message)
    raise AssertionError("abort raises")
