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
from midflight.runtime.p4runtime.addresses import check_address
from midflight.runtime.p4runtime.descriptors import demand_descriptors
from midflight.runtime.p4runtime.server.service import Service, extensions, handlers
from midflight.runtime.p4runtime.server.switch import Switch
from midflight.runtime.p4runtime.tls import ServerTls

__all__ = ["Server"]

T = TypeVar("T")

# The time in seconds for requests in progress when the server stops.
GRACE = 2.0
MESSAGE_LIMIT = 64 * 1024 * 1024
OPTIONS = [
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", -1),
    # Milliseconds. Keepalives detect a peer that disappeared, and end its streams.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 20_000),
]


class Server:
    """Serves a switch at an address until stopped; a context manager.

    `address` is "host:port" or "unix:/path". With port 0 the system chooses a port; the attribute `address` has the
    actual one. With `tls`, only clients with TLS are accepted. Only the owner can connect to a unix socket. DeviceError
    if the address is invalid, if the server cannot listen on it, if a TLS file is wrong, or if this process may not
    open enough files.

    Calls wait for their clients on an event loop in one thread. A small pool of threads does the work that requires the
    switch's lock, and a separate pool processes pipeline configs.
    """

    def __init__(self, switch: Switch, address: str = "127.0.0.1:0", *, tls: ServerTls | None = None) -> None:
        check_address(address, listening=True)
        demand_descriptors()
        credentials = None if tls is None else tls.credentials()
        self.switch = switch
        self._service = Service(switch, tls)
        self._loop = asyncio.new_event_loop()
        self._loop.set_exception_handler(self._service.report)
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"p4runtime {address}", daemon=True)
        self._thread.start()
        self._stopped = threading.Event()
        try:
            port = self._run(self._bind(address, credentials))
        except RuntimeError as error:
            self._end()
            raise DeviceError(f"cannot listen on {address}", hint="check that no other switch uses it") from error
        host = address.rpartition(":")[0]
        self.address = address if address.startswith("unix:") else f"{host}:{port}"

    def start(self) -> Server:
        """Open the server's address, start serving in other threads, and return the server itself."""
        self._run(self._start())
        return self

    def stop(self) -> None:
        """End all streams, and release the address. Idempotent.

        Requests in progress have 2 s to end. A compilation in progress is waited for.
        """
        if not self._stopped.is_set():
            self._stopped.set()
            self._run(self._stop())
            self._end()

    def wait(self) -> None:
        """Block until another thread, or a signal handler, has stopped the server."""
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
        self._server.add_generic_rpc_handlers((handlers(self._service), extensions(self._service)))
        port: int
        if credentials is None:
            port = self._server.add_insecure_port(address)
        else:
            port = self._server.add_secure_port(address, credentials)
        if address.startswith("unix:"):
            Path(address.removeprefix("unix:")).chmod(0o600)  # before `start`, so nobody is served until then
        return port

    async def _start(self) -> None:
        await self._server.start()
        self._tasks = [asyncio.create_task(each) for each in (self._service.patrol(), self._service.send_digests())]

    async def _stop(self) -> None:
        for each in getattr(self, "_tasks", ()):
            each.cancel()
        self._service.end_streams()
        await self._server.stop(GRACE)
        # gRPC ends its own tasks in a later iteration of the loop, which must not close before.
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        if rest:
            await asyncio.wait(rest, timeout=GRACE)
