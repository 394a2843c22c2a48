"""A reflector of probes over UDP, and a socket for a prober: the two ends of `stamp.py` in real time."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

from midflight.errors import DeviceError, WireError
from midflight.runtime.steering.agents.stamp import Prober, reflect

__all__ = ["PORT", "ProbeSocket", "Reflector", "reason"]

PORT = 862
"""The UDP port of STAMP."""


class Reflector:
    """Answers STAMP probes at an IP address and UDP port; `serve` does the work. A context manager.

    Port 0 takes a free one. `clock` returns nanoseconds since 1970. An answer is as long as its probe, so a reflector
    amplifies nothing. DeviceError if the address cannot be bound.
    """

    def __init__(self, address: str = "127.0.0.1", port: int = PORT, clock: Callable[[], int] = time.time_ns) -> None:
        self._clock = clock
        self._socket = _bound(address, port)
        self.reflected = 0
        """How many probes have arrived."""

    @property
    def address(self) -> tuple[str, int]:
        """The IP address and UDP port that the reflector is bound to."""
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    def serve(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for a datagram, and answer it if it is a probe. Return whether a datagram
        arrived.
        """
        if not select.select([self._socket], [], [], timeout)[0]:
            return False
        with suppress(OSError, WireError):  # a sender that has gone, or a datagram that is not a probe
            data, sender = self._socket.recvfrom(65_535)
            arrived = self._clock()
            answer = reflect(data, arrived, self._clock())
            self.reflected += 1
            self._socket.sendto(answer, sender)
        return True

    def close(self) -> None:
        """Close the socket. Idempotent."""
        self._socket.close()

    def __enter__(self) -> Reflector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ProbeSocket:
    """Sends the probes of a prober to the reflector at an IP address and UDP port, and passes the answers to the
    prober.

    A context manager. `clock` returns nanoseconds since 1970. DeviceError if there is no route to the reflector.
    """

    def __init__(self, prober: Prober, address: str, port: int = PORT, clock: Callable[[], int] = time.time_ns) -> None:
        self._prober, self._clock = prober, clock
        self._socket = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.connect((address, port))
        except (OSError, OverflowError) as error:
            self._socket.close()
            raise DeviceError(f"cannot probe {address}:{port}: {reason(error)}") from None
        self._socket.setblocking(False)

    def send(self) -> None:
        """Send a probe. If it cannot be sent, it counts as lost."""
        with suppress(OSError):
            self._socket.send(self._prober.probe(self._clock()))

    def receive(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for a datagram, and pass it to the prober as an answer. Return whether one
        arrived.
        """
        if not select.select([self._socket], [], [], timeout)[0]:
            return False
        with suppress(OSError):  # nobody listens there: the probe is lost
            self._prober.answer(self._socket.recv(65_535), self._clock())
        return True

    def close(self) -> None:
        """Close the socket. Idempotent."""
        self._socket.close()

    def __enter__(self) -> ProbeSocket:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _bound(address: str, port: int) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        made.bind((address, port))
    except (OSError, OverflowError) as error:
        made.close()
        raise DeviceError(f"cannot listen on UDP {address}:{port}: {reason(error)}") from None
    made.setblocking(False)
    return made


def reason(error: OSError | OverflowError) -> str:
    """Return why a socket could not be bound or connected; OverflowError is that of an invalid port."""
    return str(error.strerror if isinstance(error, OSError) else error)
