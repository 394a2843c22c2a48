"""The client of a running controller's command service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc

from midflight.errors import MidflightError
from midflight.runtime.controller.service.wire import SERVICE, Json, decoded, encoded, error_from, target

__all__ = ["CommandClient"]


class CommandClient:
    """Calls the controller that holds a state folder, over the Unix socket in that folder. A context manager.

    Methods raise the MidflightError that the controller reports, or one of their own if no controller runs there, it
    does not answer in time, or it does not know the command. Creating the object connects to nothing; MidflightError if
    the path of the socket is too long.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._channel = grpc.insecure_channel(target(folder / "control"))

    def call(self, name: str, /, *, timeout: float = 60.0, **arguments: Any) -> Json:
        """Call the command `name`, a method of `commands.Commands`, with these arguments, and return its result.

        Arguments are values that JSON can represent. Blocks for at most `timeout` seconds.
        """
        method = self._channel.unary_unary(f"/{SERVICE}/{name}", encoded, decoded)
        try:
            result: Json = method(arguments, timeout=timeout)
        except grpc.RpcError as error:
            raise self._error(error) from None
        return result

    def follow(self, name: str, /, **arguments: Any) -> Iterator[Json]:
        """Call the command `name`, one of `Commands.streams`, and yield its results until the controller ends it.

        Blocks while there is no result. Closing the iterator ends the command.
        """
        method = self._channel.unary_stream(f"/{SERVICE}/{name}", encoded, decoded)
        stream = method(arguments)
        try:
            yield from stream
        except grpc.RpcError as error:
            raise self._error(error) from None
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
