"""The client of a running controller's command service."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc

from midflight.errors import MidflightError
from midflight.runtime.controller.service.wire import SERVICE, Json, decoded, encoded, error_from, target

__all__ = ["CommandClient"]

_LONGEST_PAUSE = 1000  # milliseconds between two attempts to connect


class CommandClient:
    """Calls the controller that holds a state folder, over the Unix socket in that folder. A context manager.

    Methods raise the MidflightError that the controller reports, or one of their own if no controller runs there, it
    does not answer in time, or it does not know the command. Creating the object connects to nothing; MidflightError if
    the path of the socket is too long.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        options = [("grpc.min_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", _LONGEST_PAUSE)]
        self._channel = grpc.insecure_channel(target(folder / "control"), options)

    def call(self, name: str, /, *, timeout: float = 60.0, **arguments: Any) -> Json:
        """Call the command `name`, a key of `Commands.calls`, with these arguments, and return its result.

        Arguments are values that JSON can represent. Blocks for at most `timeout` seconds; after that it raises
        MidflightError, and the controller may still carry out the command. For `Commands.streams`, see `follow`.
        """
        method = self._channel.unary_unary(f"/{SERVICE}/{name}", encoded, decoded)
        try:
            result: Json = method(arguments, timeout=timeout)
        except grpc.RpcError as error:
            raise self._error(error) from None
        return result

    def follow(self, name: str, /, lost: Callable[[], object] | None = None, **arguments: Any) -> Iterator[Json]:
        """Call the command `name`, a key of `Commands.streams`, and yield its results until the controller ends it.

        Blocks while there is no result. Closing the iterator ends the command. If the controller dies after it has
        answered once, `lost()` is called, and the same command continues at the next controller of the folder, such as
        a standby, as soon as it answers; what happens in between is not reported. Without `lost`, the death of the
        controller raises MidflightError.
        """
        method = self._channel.unary_stream(f"/{SERVICE}/{name}", encoded, decoded)
        connected = False
        while True:
            stream = method(arguments, wait_for_ready=connected)
            try:
                stream.initial_metadata()  # waits for the controller, which sends it before any result
                connected = connected or stream.is_active()
                yield from stream
            except grpc.RpcError as error:
                if lost is None or not connected or error.code() is not grpc.StatusCode.UNAVAILABLE:
                    raise self._error(error) from None
                lost()
            else:
                return
            finally:
                stream.cancel()

    def close(self) -> None:
        """Close the connection to the controller. Idempotent."""
        self._channel.close()

    def __enter__(self) -> CommandClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _error(self, error: Any) -> MidflightError:
        reported = error_from(error.details() or "")
        if reported is not None:
            return reported
        match error.code():
            case grpc.StatusCode.UNAVAILABLE:
                return MidflightError(
                    f"no controller answers in {self._folder}",
                    hint="start one with `midflight deploy`, or name its folder with --state",
                )
            case grpc.StatusCode.PERMISSION_DENIED:
                return MidflightError(f"{self._folder} belongs to another user's controller")
            case grpc.StatusCode.DEADLINE_EXCEEDED:
                return MidflightError("the controller did not answer in time", hint="it may be waiting for a switch")
            case grpc.StatusCode.UNIMPLEMENTED:
                return MidflightError("the controller runs another version of Midflight without this command")
        return MidflightError(f"the controller failed: {error.details()}", hint="see its log for details")
