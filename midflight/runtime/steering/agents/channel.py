"""Updates over UDP: from agents to path selectors, signed or not."""

from __future__ import annotations

import select
import socket
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from types import TracebackType

from midflight.errors import DeviceError, WireError
from midflight.runtime.steering.agents.board import Board
from midflight.runtime.steering.agents.reflector import reason
from midflight.runtime.steering.metrics.binary import decode, encode
from midflight.runtime.steering.metrics.update import Update
from midflight.runtime.steering.trust.keys import SigningKey
from midflight.runtime.steering.trust.records import seal
from midflight.runtime.steering.trust.verifier import Verifier

__all__ = ["Collector", "Sender"]

_BATCH = 256  # datagrams that are received at a time


class Sender:
    """Sends updates to path selectors over UDP, as signed records, or unsigned without a key. A context manager.

    `keys` has the keys of instances by CSCI-ID, and `key` is that of all others. `receivers` are IP addresses and UDP
    ports. A receiver that does not exist raises no error: the update to it is lost.
    """

    def __init__(
        self,
        receivers: Iterable[tuple[str, int]],
        key: SigningKey | None = None,
        keys: Mapping[str, SigningKey] | None = None,
    ) -> None:
        self._receivers, self._key, self._keys = tuple(receivers), key, dict(keys or {})
        self._sockets = {
            family: socket.socket(family, socket.SOCK_DGRAM)
            for family in dict.fromkeys(_family(address) for address, _ in self._receivers)
        }

    def send(self, update: Update) -> None:
        """Send an update to all receivers. Does not wait, and does not notice whether it arrives.

        WireError if the update has no binary form; UnsupportedError if it is to be signed and the extra `trust` is
        missing.
        """
        key = self._keys.get(update.csci_id, self._key)
        data = encode(update, with_raw=True) if key is None else seal(update, key)
        for address, port in self._receivers:
            with suppress(OSError):
                self._sockets[_family(address)].sendto(data, (address, port))

    def close(self) -> None:
        """Close the sockets. Idempotent."""
        for each in self._sockets.values():
            each.close()

    def __enter__(self) -> Sender:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Collector:
    """Receives updates over UDP onto a board. A context manager.

    With a `verifier`, only signed records of instances that it has admitted count, as far as they do not contradict
    what `measured` returns (see `Verifier.check`); without, everybody is believed, and only networks of one owner can
    do without. `heard` is called with each update that the board accepts, and the time; then `learned` is, with the
    datagram as it was received, its update, and the time. DeviceError if the address cannot be bound.
    """

    def __init__(
        self,
        board: Board,
        verifier: Verifier | None = None,
        address: str = "127.0.0.1",
        port: int = 0,
        *,
        measured: Callable[[str], Mapping[str, float]] | None = None,
        heard: Callable[[Update, int], object] = lambda _update, _now: None,
        learned: Callable[[bytes, Update, int], object] = lambda _record, _update, _now: None,
    ) -> None:
        self._board, self._verifier = board, verifier
        self._measured, self._heard, self._learned = measured, heard, learned
        self.counts: Counter[str] = Counter()
        """Datagrams by outcome: "accepted", "ignored" (old, or the board is full), "refused"."""
        self._socket = socket.socket(_family(address), socket.SOCK_DGRAM)
        try:
            self._socket.bind((address, port))
        except (OSError, OverflowError) as error:  # the latter for an invalid port
            self._socket.close()
            raise DeviceError(f"cannot listen on UDP {address}:{port}: {reason(error)}") from None
        self._socket.setblocking(False)

    @property
    def address(self) -> tuple[str, int]:
        """The IP address and UDP port that the collector is bound to."""
        host, port = self._socket.getsockname()[:2]
        return str(host), int(port)

    def collect(self, now: int, timeout: float = 0.0) -> int:
        """Receive what is there, after waiting up to `timeout` seconds for something. Return how many updates the board
        accepted.

        `now` is in nanoseconds since 1970. Returns after 256 datagrams at the latest. A datagram that is not an update,
        or that the verifier refuses, raises nothing: `counts` has it under "refused". Errors of `heard` and of the
        verifier, such as UnsupportedError if the extra `trust` is not installed, propagate.
        """
        accepted = 0
        if not select.select([self._socket], [], [], timeout)[0]:
            return 0
        for _ in range(_BATCH):
            try:
                data = self._socket.recv(65_535)
            except BlockingIOError:
                break
            accepted += self._accept(data, now)
        return accepted

    def check(self, data: bytes, now: int) -> Update | None:
        """Return the update of a datagram at `now`, in nanoseconds since 1970, or None if it is malformed or refused.

        Errors of the verifier propagate.
        """
        if self._verifier is not None:
            return self._verifier.check(data, now, self._measured)
        with suppress(WireError):
            return decode(data)
        return None

    def close(self) -> None:
        """Close the socket. Idempotent."""
        self._socket.close()

    def __enter__(self) -> Collector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self, data: bytes, now: int) -> bool:
        update = self.check(data, now)
        if update is None:
            self.counts["refused"] += 1
            return False
        accepted = self._board.accept(update, now)
        self.counts["accepted" if accepted else "ignored"] += 1
        if accepted:
            self._heard(update, now)
            self._learned(data, update, now)
        return accepted


def _family(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET
