"""The server of a running controller's command service, which `midflight admit` and other commands connect to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc

from midflight.errors import MidflightError
from midflight.runtime.controller.service.wire import SERVICE, Json, decoded, encoded, error_text, target

__all__ = ["Call", "CommandServer", "Stream"]

Call = Callable[[Json], Json]
"""A command with one result: takes the arguments and returns the result. The client receives a MidflightError."""

Stream = Callable[[Json, Callable[[], bool]], Iterator[Json]]
"""A command with many results, which it yields.

Takes the arguments, and a function that returns whether the client is still connected. Call that at least once a
second, and end when it returns False.
"""

_THREADS = 32  # each open stream occupies one
_GRACE_PERIOD = 1.0  # seconds for calls in progress to finish before they are cancelled


class CommandServer:
    """Serves commands by name over gRPC on the Unix socket `socket`, from its creation on. A context manager.

    Each command runs in a thread of its own, up to 32 at a time; an open stream counts as one, and others wait. The
    socket gets the mode 0600, so that only its owner can connect. An existing socket is replaced. MidflightError if
    the socket cannot be bound, or if its path has more than 107 bytes.
    """

    def __init__(self, socket: Path, calls: Mapping[str, Call], streams: Mapping[str, Stream]) -> None:
        handlers = {name: _unary(each) for name, each in calls.items()}
        handlers |= {name: _streaming(each) for name, each in streams.items()}
        self._socket = socket
        self._server = grpc.server(ThreadPoolExecutor(_THREADS, "command"))
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
        socket.unlink(missing_ok=True)
        try:
            self._server.add_insecure_port(target(socket))
        except RuntimeError as error:
            raise MidflightError(f"cannot listen on {socket}: {error}") from None
        socket.chmod(0o600)
        self._server.start()

    def close(self) -> None:
        """Stop the server, give commands in progress one second to finish, and remove the socket. Idempotent."""
        self._server.stop(_GRACE_PERIOD).wait()
        self._socket.unlink(missing_ok=True)

    def __enter__(self) -> CommandServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _unary(call: Call) -> Any:
    def handle(arguments: Json, context: Any) -> Json:
        try:
            return call(arguments)
        except MidflightError as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, error_text(error))
            raise AssertionError("abort raises") from None

    return grpc.unary_unary_rpc_method_handler(handle, decoded, encoded)


def _streaming(stream: Stream) -> Any:
    def handle(arguments: Json, context: Any) -> Iterator[Json]:
        context.send_initial_metadata(())
        try:
            yield from stream(arguments, context.is_active)
        except MidflightError as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, error_text(error))

    return grpc.unary_stream_rpc_method_handler(handle, decoded, encoded)
