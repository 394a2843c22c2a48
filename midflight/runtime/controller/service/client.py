"""The client of a running controller's command service."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import grpc

from midflight.errors import MidflightError
from midflight.runtime.controller.holder import Holder, Pulse
from midflight.runtime.controller.service.wire import SERVICE, Json, decoded, encoded, error_from, target

__all__ = ["CommandClient"]

_LONGEST_PAUSE = 1000  # milliseconds between two attempts to connect
_PATIENCE = 8.0  # seconds; a standby waits for less, so it takes over first
_INTERVAL = 0.25  # seconds between two looks at the heartbeat


class CommandClient:
    """Calls the controller that holds a state folder, over the Unix socket in that folder. A context manager.

    Methods raise the MidflightError that the controller reports, or one of their own if no controller runs there, it
    does not answer in time, or it does not know the command. They also raise one if the controller sends no heartbeat
    for `patience` seconds while they wait, as when its process is stopped or hangs. Creating the object connects to
    nothing; MidflightError if the path of the socket is too long.
    """

    def __init__(self, folder: Path, *, patience: float = _PATIENCE) -> None:
        self._folder = folder
        self._patience = patience
        options = [("grpc.min_reconnect_backoff_ms", 100), ("grpc.max_reconnect_backoff_ms", _LONGEST_PAUSE)]
        self._channel = grpc.insecure_channel(target(folder / "control"), options)

    def call(self, name: str, /, *, timeout: float = 60.0, **arguments: Any) -> Json:
        """Call the command `name`, a key of `Commands.calls`, with these arguments, and return its result.

        Arguments are values that JSON can represent. Blocks for at most `timeout` seconds, also while the controller is
        starting; after that it raises MidflightError, and the controller may still carry out the command.
        MidflightError also if the command fails: that which the controller reports. For `Commands.streams`, see
        `follow`.
        """
        method = self._channel.unary_unary(f"/{SERVICE}/{name}", encoded, decoded)
        before = _running(self._folder)
        call = method.future(arguments, timeout=timeout, wait_for_ready=before is not None)
        with self._watched(call, before) as watch:
            try:
                result: Json = call.result()
            except (grpc.RpcError, grpc.FutureCancelledError) as error:
                raise watch.problem or self._error(error, before) from None
        return result

    def follow(self, name: str, /, lost: Callable[[], object] | None = None, **arguments: Any) -> Iterator[Json]:
        """Call the command `name`, a key of `Commands.streams`, and yield its results until the controller ends it.

        Blocks while there is no result. Closing the iterator ends the command. If the controller dies after it has
        answered once, `lost()` is called, and the same command continues at the next controller of the folder, such as
        a standby, as soon as it answers; what happens in between is not reported. Without `lost`, the death of the
        controller raises MidflightError, and a controller that is alive, but does not respond, does in any case.
        """
        method = self._channel.unary_stream(f"/{SERVICE}/{name}", encoded, decoded)
        connected = False
        while True:
            before = _running(self._folder)
            stream = method(arguments, wait_for_ready=connected or before is not None)
            with self._watched(stream, None if connected else before) as watch:
                try:
                    stream.initial_metadata()  # waits for the controller, which sends it before any result
                    connected = connected or stream.is_active()
                    watch.expected = None
                    yield from stream
                except grpc.RpcError as error:
                    gone = error.code() is grpc.StatusCode.UNAVAILABLE
                    if watch.problem or lost is None or not connected or not gone:
                        raise watch.problem or self._error(error, before) from None
                    lost()
                else:
                    return

    def close(self) -> None:
        """Close the connection to the controller. Idempotent."""
        self._channel.close()

    def __enter__(self) -> CommandClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _watched(self, call: Any, expected: Holder | None) -> Iterator[_Watch]:
        """Watch the controller during a call. Cancels the call if it does not respond, and at the end."""
        watch = _Watch(self._folder, expected, self._patience, call.cancel)
        try:
            yield watch
        finally:
            watch.close()
            call.cancel()

    def _error(self, error: Any, before: Holder | None) -> MidflightError:
        """Return the error for a call that failed, if `before` held the folder at its beginning and ran."""
        code = error.code()
        reported = error_from(error.details() or "")
        if reported is not None:
            return reported
        match code:
            case grpc.StatusCode.UNAVAILABLE if before:
                return _ended(before)
            case grpc.StatusCode.UNAVAILABLE:
                return MidflightError(
                    f"no controller answers in {self._folder}",
                    hint="start one with `midflight deploy`, or name its folder with --state",
                )
            case grpc.StatusCode.PERMISSION_DENIED:
                return MidflightError(f"{self._folder} belongs to another user's controller")
            case grpc.StatusCode.DEADLINE_EXCEEDED:
                return MidflightError(
                    f"the controller{f' (process {before.pid})' if before else ''} runs, but did not answer in time",
                    hint="it may be starting, or waiting for a switch: its log says which",
                )
            case grpc.StatusCode.UNIMPLEMENTED:
                return MidflightError("the controller runs another version of Midflight without this command")
        return MidflightError(f"the controller failed: {error.details()}", hint="see its log for details")


class _Watch:
    """Watches the controller that holds a folder, in a thread, until it is closed.

    If it sends no heartbeat for `patience` seconds although its process is there, or if the process `expected` has
    ended, sets `problem`, calls `cancel` and ends.
    """

    def __init__(self, folder: Path, expected: Holder | None, patience: float, cancel: Callable[[], object]) -> None:
        self._pulse = Pulse(lambda: _look(folder))
        self.expected = expected
        self._patience = patience
        self._cancel = cancel
        self._end = threading.Event()
        self.problem: MidflightError | None = None
        self._thread = threading.Thread(target=self._run, name="watching the controller", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, and wait for that."""
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(_INTERVAL) and self.problem is None:
            quiet, holder, expected = self._pulse.quiet(), self._pulse.holder, self.expected
            state = holder.state
            if expected and (not state or holder != expected):
                self.problem = _ended(expected)
            elif state and quiet >= self._patience:
                self.problem = _hanging(holder.pid, state, self._patience)
            if self.problem:
                self._cancel()


def _ended(holder: Holder) -> MidflightError:
    return MidflightError(
        f"the controller (process {holder.pid}) ended before it answered",
        hint="start one with `midflight deploy`; `midflight status` then shows whether the command took effect",
    )


def _hanging(pid: str, state: str, seconds: float) -> MidflightError:
    resume = f"`kill -KILL {pid}` ends it, and `midflight deploy` resumes from its saved state"
    if state in "Tt":
        return MidflightError(
            f"the controller (process {pid}) is stopped", hint=f"`kill -CONT {pid}` continues it; or {resume}"
        )
    return MidflightError(f"the controller (process {pid}) has not responded for {seconds:g} s", hint=resume)


def _running(folder: Path) -> Holder | None:
    """Return the process that holds a folder, or None if there is none or it is not visible here."""
    holder = _look(folder)[1]
    return holder if holder.state else None


def _look(folder: Path) -> tuple[int, Holder]:
    """Return the time of the last heartbeat of the process that holds a folder, and that process."""
    try:
        with (folder / "lock").open("rb") as lock:
            return os.fstat(lock.fileno()).st_mtime_ns, Holder.parse(lock.read(128))
    except OSError:
        return 0, Holder("", "")
