"""P4Runtime over gRPC (specification 1.5, section 16 for the API version): the server, its event loop and threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import grpc

from midflight.errors import DeviceError
from midflight.runtime.p4runtime.server.service import Service, handlers
from midflight.runtime.p4runtime.server.switch import Switch
from midflight.runtime.p4runtime.tls import ServerTls

__all__ = ["Server"]

T = TypeVar("T")

# Seconds that requests in progress are given when the server stops.
GRACE = 2.0
MESSAGE_LIMIT = 64 * 1024 * 1024
OPTIONS = [
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", -1),
    # Milliseconds: a peer that has gone without a word is found out, and its streams end.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
]


class Server:
    """Serves a switch at an address until stopped; a context manager.

    `address` is "host:port", where port 0 lets the system choose and `.address` says what it chose, or "unix:/path".
    With `tls` only clients with TLS are served; a unix socket is its owner's alone. DeviceError when the address cannot
    be had.

    Calls wait for their clients on an event loop, in a thread of its own, which keeps no thread busy however many they
    are. What takes the switch's lock is done by few threads beside it, those of pushes apart.
    """

    def __init__(self, switch: Switch, address: str = "127.0.0.1:0", *, tls: ServerTls | None = None) -> None:
        credentials = None if tls is None else tls.credentials()
        self.switch = switch
        self._service = Service(switch, tls)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"p4runtime {address}", daemon=True)
        self._thread.start()
        self._stopped = threading.Event()
        try:
            port = self._run(self._bind(address, credentials))
        except RuntimeError as error:
            self._end()
            raise DeviceError(f"cannot listen on {address}", hint="is another switch using it?") from error
        host = address.rpartition(":")[0]
        self.address = address if address.startswith("unix:") else f"{host}:{port}"

    def start(self) -> Server:
        """Begin to serve; returns itself."""
        self._run(self._start())
        return self

    def stop(self) -> None:
        """End every stream and request, and free the address. May be called more than once."""
        if not self._stopped.is_set():
            self._stopped.set()
            self._run(self._stop())
            self._end()

    def wait(self) -> None:
        """Return when the server has stopped."""
        self._stopped.wait()

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._service.close()

    async def _bind(self, address: str, credentials: grpc.ServerCredentials | None) -> int:
        self._server = grpc.aio.server(options=OPTIONS)
        self._server.add_generic_rpc_handlers((handlers(self._service),))
        port: int
        if credentials is None:
            port = self._server.add_insecure_port(address)
        else:
            port = self._server.add_secure_port(address, credentials)
        if address.startswith("unix:"):
            Path(address.removeprefix("unix:")).chmod(0o600)  # nobody is served before `start`
        return port

    async def _start(self) -> None:
        await self._server.start()
        self._patrol = asyncio.create_task(self._service.patrol())

    async def _stop(self) -> None:
        patrol = getattr(self, "_patrol", None)
        if patrol is not None:
            patrol.cancel()
        self._service.end_streams()
        await self._server.stop(GRACE)
        # gRPC ends its own tasks in a later turn of the loop, which must not close before.
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        if rest:
            await asyncio.wait(rest, timeout=GRACE)
