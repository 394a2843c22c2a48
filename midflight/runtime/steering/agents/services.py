"""Two small services, over HTTP and over UDP, that report their own load: what a C-SMA reads beside it.

Both take requests as octets and answer with what `handler` returns, in `workers` threads. Requests that wait form a
queue of at most `queue` requests; further ones are refused. `GET /status` over HTTP, or the datagram `STATUS` over UDP,
returns the load as JSON, with names of `metrics.KINDS`.
"""

from __future__ import annotations

import json
import queue
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

from midflight.errors import DeviceError
from midflight.runtime.steering.agents.reflector import reason
from midflight.runtime.steering.metrics import Statistics, Window

__all__ = ["STATUS", "Handler", "HttpService", "Meter", "UdpService"]

Handler = Callable[[bytes], bytes]
"""Computes the answer to a request."""

STATUS = b"midflight status"
"""The datagram that asks a `UdpService` for its load."""

_LARGEST = 1 << 20  # octets of a request over HTTP
_SECOND = 1_000_000_000


_Queue = queue.SimpleQueue[tuple[bytes, tuple[Any, ...]] | None]


class Meter:
    """Counts the requests of a service as they wait, run and end. Methods may be called from any thread.

    `queue` is the largest number of waiting requests. `window` is the measurement window in nanoseconds, and `clock`
    returns nanoseconds. `workers` is how many requests the service computes at a time, 0 if that is not known.
    """

    def __init__(
        self, queue: int, window: int = 10 * _SECOND, clock: Callable[[], int] = time.monotonic_ns, workers: int = 0
    ) -> None:
        self._queue, self._length, self._clock, self._workers = queue, window, clock, workers
        self._times, self._ends = Window("service_time", window), Window("service_request_rate", window, 100_000)
        self._lock = threading.Lock()
        self._waiting = self._running = 0
        self.refused = 0
        """How many requests were refused because the queue was full."""

    def arrive(self) -> bool:
        """Count a request that has arrived and waits. Return False, and count it as refused, if the queue is full."""
        with self._lock:
            if self._waiting >= self._queue:
                self.refused += 1
                return False
            self._waiting += 1
            return True

    def run(self, handler: Handler, request: bytes) -> bytes:
        """Return the handler's answer to a request that has arrived, and measure the time. Its errors propagate."""
        with self._lock:
            self._waiting -= 1
            self._running += 1
        began = self._clock()
        try:
            return handler(request)
        finally:
            ended = self._clock()
            with self._lock:
                self._running -= 1
                self._times.add((ended - began) / _SECOND, ended)
                self._ends.add(1.0, ended)

    def status(self) -> dict[str, float]:
        """Return the load: waiting and running requests, workers, mean service time in seconds, and requests a
        second.
        """
        with self._lock:
            now = self._clock()
            found = {
                "service_available": 1,
                "service_queue_length": self._waiting,
                "service_concurrency": self._running,
                "service_request_rate": self._ends.count(now) / (self._length / _SECOND),
            }
            if self._workers:
                found["service_workers"] = self._workers
            if mean := self._times.metric(Statistics.MEAN, now):
                found["service_time"] = mean.value
            return found


class HttpService:
    """A service over HTTP: `POST /` computes, `GET /status` reports. Runs from its creation; a context manager.

    It computes up to `workers` requests at a time. Up to `queue` wait, which each request does until a worker takes it.
    A full queue is answered with status 503, a handler that fails with 500. `port` 0 chooses a free TCP port.
    DeviceError if the address cannot be bound.
    """

    def __init__(
        self, handler: Handler, address: str = "127.0.0.1", port: int = 0, *, workers: int = 4, queue: int = 64
    ) -> None:
        meter, slots = Meter(queue, workers=workers), threading.Semaphore(workers)

        class Requests(BaseHTTPRequestHandler):
            timeout = 10  # seconds for a slow client

            def do_GET(self) -> None:
                known = self.path == "/status"
                self.answer(200 if known else 404, json.dumps(meter.status()).encode() if known else b"")

            def do_POST(self) -> None:
                length = self.headers.get("Content-Length", "")
                if not length.isdecimal() or len(length) > 8 or int(length) > _LARGEST:
                    self.answer(413 if length else 411, b"")
                    return
                request = self.rfile.read(int(length))
                if not meter.arrive():
                    self.answer(503, b"")
                    return
                with slots:
                    try:
                        code, answer = 200, meter.run(handler, request)
                    except Exception as error:
                        code, answer = 500, str(error).encode()
                self.answer(code, answer)

            def answer(self, code: int, body: bytes) -> None:
                with suppress(OSError):  # the client has gone
                    self.send_response(code)
                    self.send_header("Content-Length", str(len(body)))
                    self.end_headers()
                    self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.meter = meter
        """The service's load."""
        try:
            self._server = ThreadingHTTPServer((address, port), Requests)
        except (OSError, OverflowError) as error:
            raise DeviceError(f"cannot listen on TCP {address}:{port}: {reason(error)}") from None
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="http service")
        self._thread.start()

    @property
    def url(self) -> str:
        """The URL of the service, without a path."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def close(self) -> None:
        """Stop serving. Idempotent."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> HttpService:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class UdpService:
    """A service over UDP: a datagram is a request, and its answer goes back; `STATUS` asks for the load instead.

    Runs from its creation; a context manager. It computes up to `workers` requests at a time. Up to `queue` wait, which
    each request does until a worker takes it. Requests beyond the queue, and those whose handler fails, are not
    answered. `port` 0 chooses a free UDP port.
    DeviceError if the address cannot be bound.
    """

    def __init__(
        self, handler: Handler, address: str = "127.0.0.1", port: int = 0, *, workers: int = 4, queue: int = 64
    ) -> None:
        self.meter = Meter(queue, workers=workers)
        """The service's load."""
        self.failed = 0
        """How many requests the handler raised an error for."""
        self._handler, self._closing = handler, False
        self._socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.bind((address, port))
        except (OSError, OverflowError) as error:
            self._socket.close()
            raise DeviceError(f"cannot listen on UDP {address}:{port}: {reason(error)}") from None
        self._requests = _Queue()
        self._threads = [threading.Thread(target=self._work, name="udp service") for _ in range(workers)]
        self._threads.append(threading.Thread(target=self._receive, name="udp service"))
        for each in self._threads:
            each.start()

    @property
    def url(self) -> str:
        """The address of the service as `udp://host:port`."""
        host, port = self._socket.getsockname()[:2]
        return f"udp://[{host}]:{port}" if ":" in host else f"udp://{host}:{port}"

    def close(self) -> None:
        """Stop serving; requests that wait are not computed. Idempotent."""
        if not self._closing:
            self._closing = True
            with socket.socket(self._socket.family, socket.SOCK_DGRAM) as waker:
                waker.sendto(b"", self._socket.getsockname())
            for each in self._threads:
                each.join()
            self._socket.close()

    def __enter__(self) -> UdpService:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _receive(self) -> None:
        while not self._closing:
            request, sender = self._socket.recvfrom(65_535)
            if self._closing:
                break
            if request == STATUS:
                self._answer(json.dumps(self.meter.status()).encode(), sender)
            elif self.meter.arrive():
                self._requests.put((request, sender))
        for _ in self._threads:
            self._requests.put(None)

    def _work(self) -> None:
        while (item := self._requests.get()) is not None and not self._closing:
            request, sender = item
            try:
                answer = self.meter.run(self._handler, request)
            except Exception:
                self.failed += 1
            else:
                self._answer(answer, sender)

    def _answer(self, data: bytes, receiver: tuple[Any, ...]) -> None:
        with suppress(OSError):  # the receiver has gone, or the answer is too long: to it, a lost packet
            self._socket.sendto(data, receiver)
