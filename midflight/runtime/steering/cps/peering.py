"""Sessions between path selectors over TCP, with TLS if wanted, in a thread of their own.

Each path selector listens, and connects to its peers. The side that connects announces, the other one listens; so two
path selectors that name each other have two sessions. Both sides send KEEPALIVE three times in the hold time, and end
the session after a hold time of silence. The side that connected tries again each second.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from types import TracebackType

from midflight.errors import DeviceError, WireError
from midflight.runtime.steering.agents.reflector import reason
from midflight.runtime.steering.cps.messages import (
    HEADER,
    Announce,
    Keepalive,
    Message,
    Notice,
    Open,
    Withdraw,
    decode_message,
    encode_message,
)

__all__ = ["Closed", "Heard", "Opened", "PeerTls", "Peering"]

_AGAIN = 1.0  # seconds between two attempts to connect
_WAITING = 200_000  # messages that may wait for a slow peer
_SESSIONS = 256  # that others may open

_FAILURES = (WireError, OSError, EOFError, TimeoutError, ssl.SSLError)


@dataclass(frozen=True, slots=True)
class Opened:
    """A session to a peer has begun, also again after another one: send it the whole table.

    `peer` is its place in the list of peers, from 0.
    """

    peer: int


@dataclass(frozen=True, slots=True)
class Heard:
    """A message of a session that a peer has opened. `source` is the session's number, from 1 and never used again."""

    source: int
    message: Announce | Withdraw


@dataclass(frozen=True, slots=True)
class Closed:
    """A session that a peer had opened has ended, for a reason as text."""

    source: int
    reason: str


Event = Opened | Heard | Closed


@dataclass(frozen=True, slots=True)
class PeerTls:
    """The TLS settings of sessions, as paths of PEM files: this side's certificate and key, and the authority.

    Both sides must have a certificate of the authority; host names are not compared.
    """

    certificate: Path
    key: Path
    authority: Path

    def context(self, side: int) -> ssl.SSLContext:
        """Return the TLS settings of one side: `ssl.PROTOCOL_TLS_SERVER` or `ssl.PROTOCOL_TLS_CLIENT`.

        DeviceError if a file cannot be read, or is not a certificate or key.
        """
        made = ssl.SSLContext(side)
        made.check_hostname = False
        made.verify_mode = ssl.CERT_REQUIRED
        try:
            made.load_cert_chain(self.certificate, self.key)
            made.load_verify_locations(self.authority)
        except (OSError, ValueError) as error:
            raise DeviceError(f"the certificate, key or authority of sessions cannot be used: {error}") from None
        return made


class Peering:
    """The sessions of a path selector with its peers. A context manager.

    Listens at `address` and TCP port `port`, 0 for a free one, and keeps a session to each of `peers`, IP addresses and
    TCP ports. `speaker` is the id of this path selector, a number of 64 bits. `hold` is the hold time in seconds, 0.01
    to 655.35; the smaller one of both sides counts. With `tls`, sessions are encrypted, and both sides must have a
    certificate of its authority. Others may have up to 256 sessions to here. DeviceError if the address cannot be
    bound, or if a file of `tls` is wrong.
    """

    def __init__(
        self,
        speaker: int,
        address: str = "127.0.0.1",
        port: int = 0,
        *,
        peers: Iterable[tuple[str, int]] = (),
        hold: float = 3.0,
        tls: PeerTls | None = None,
    ) -> None:
        self._speaker, self._hold, self._peers = speaker, hold, tuple(peers)
        self._server_tls, self._client_tls = (
            None if tls is None else tls.context(each) for each in (ssl.PROTOCOL_TLS_SERVER, ssl.PROTOCOL_TLS_CLIENT)
        )
        self._events: SimpleQueue[Event] = SimpleQueue()
        self._outgoing: dict[int, asyncio.Queue[Announce | Withdraw]] = {}
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._writers: dict[asyncio.StreamWriter, None] = {}
        self._sources = 0
        self._loop = asyncio.new_event_loop()
        try:
            self._server = self._loop.run_until_complete(
                asyncio.start_server(self._accepted, address, port, ssl=self._server_tls)
            )
        except (OSError, OverflowError) as error:
            self._loop.close()
            raise DeviceError(f"cannot listen on TCP {address}:{port}: {reason(error)}") from None
        self.address: tuple[str, int] = self._server.sockets[0].getsockname()[:2]
        """The IP address and TCP port at which it listens."""
        for number, peer in enumerate(self._peers):
            self._start(self._announce(number, *peer))
        self._thread = threading.Thread(target=self._loop.run_forever, name="peering", daemon=True)
        self._thread.start()

    def events(self) -> list[Event]:
        """Return what has happened since the last call, in order."""
        found = []
        with suppress(Empty):
            while True:
                found.append(self._events.get_nowait())
        return found

    def tell(self, messages: Iterable[Announce | Withdraw], peer: int | None = None) -> None:
        """Send messages to a peer, or to all for None. Does not wait. Without an open session, they are dropped.

        If more than 200,000 messages wait for a slow peer, its session ends with them, and begins again (`Opened`).
        RuntimeError after `close`.
        """
        for each in messages:
            self._loop.call_soon_threadsafe(self._put, each, peer)

    def close(self) -> None:
        """End all sessions, and stop listening. Idempotent."""
        if self._thread.is_alive():
            asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def __enter__(self) -> Peering:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # In the thread of the loop

    def _start(self, work: object) -> None:
        assert asyncio.iscoroutine(work)
        self._keep_task(self._loop.create_task(work))

    def _keep_task(self, task: asyncio.Task[None]) -> None:
        self._tasks[task] = None
        task.add_done_callback(lambda done: self._tasks.pop(done, None))

    def _keep_writer(self, writer: asyncio.StreamWriter) -> None:
        if len(self._writers) > 2 * _SESSIONS:
            self._writers = {each: None for each in self._writers if not each.is_closing()}
        self._writers[writer] = None

    def _put(self, message: Announce | Withdraw, peer: int | None) -> None:
        for number, waiting in list(self._outgoing.items()):
            if peer in (None, number):
                try:
                    waiting.put_nowait(message)
                except asyncio.QueueFull:
                    del self._outgoing[number]  # which its task notices

    async def _end(self) -> None:
        self._server.close()
        while self._tasks:  # again, as a task that awaits the end of another one may lose a cancellation
            for each in list(self._tasks):
                each.cancel()
            await asyncio.wait(list(self._tasks), timeout=1.0)
        for writer in self._writers:
            writer.transport.abort()
            with suppress(*_FAILURES):
                await writer.wait_closed()

    async def _announce(self, number: int, address: str, port: int) -> None:
        """Keep a session to a peer, and announce what is put in its queue."""
        while True:
            with suppress(*_FAILURES):
                async with asyncio.timeout(self._hold):
                    reader, writer = await asyncio.open_connection(address, port, ssl=self._client_tls)
                self._keep_writer(writer)
                try:
                    await self._tell(number, reader, writer)
                finally:
                    self._outgoing.pop(number, None)
                    writer.close()
            await asyncio.sleep(_AGAIN)

    async def _tell(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Run a session to a peer until it fails, with one of `_FAILURES`."""
        writer.write(encode_message(Open(self._speaker, self._hold)))
        opening = await _read(reader, self._hold)
        if not isinstance(opening, Open) or opening.speaker == self._speaker:
            raise WireError("the peer is not another path selector")
        hold = min(self._hold, opening.hold)
        waiting: asyncio.Queue[Announce | Withdraw] = asyncio.Queue(_WAITING)
        self._outgoing[number] = waiting
        self._events.put(Opened(number))
        listening = self._loop.create_task(_listen(reader, hold))
        try:
            sequence = 0
            while self._outgoing.get(number) is waiting and not listening.done():
                try:
                    async with asyncio.timeout(hold / 3):
                        message = await waiting.get()
                except TimeoutError:
                    writer.write(encode_message(Keepalive()))
                else:
                    sequence = (sequence + 1) % (1 << 32)
                    writer.write(encode_message(replace(message, sequence=sequence)))
                async with asyncio.timeout(hold):
                    await writer.drain()
        finally:
            listening.cancel()
            with suppress(asyncio.CancelledError, *_FAILURES):
                await listening

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Listen to a session that a peer has opened."""
        task = asyncio.current_task()
        assert task is not None
        self._keep_task(task)
        self._keep_writer(writer)
        self._sources += 1
        source, why = self._sources, "this path selector ends"
        keeping: asyncio.Task[None] | None = None
        try:
            if len(self._tasks) > _SESSIONS + len(self._peers):
                raise WireError("too many sessions")
            opening = await _read(reader, self._hold)
            if not isinstance(opening, Open):
                raise WireError("a session begins with OPEN")
            writer.write(encode_message(Open(self._speaker, self._hold)))
            if opening.speaker == self._speaker:
                raise WireError("this is its own session")
            hold = min(self._hold, opening.hold)
            keeping = self._loop.create_task(_keep(writer, hold))
            expected = 1
            while True:
                message = await _read(reader, hold)
                match message:
                    case Announce() | Withdraw():
                        if message.sequence != expected:
                            raise WireError(f"message {expected} is missing")
                        expected = (expected + 1) % (1 << 32)
                        self._events.put(Heard(source, message))
                    case Notice():
                        raise WireError(message.reason)
                    case Open():
                        raise WireError("a second OPEN")
        except TimeoutError:
            why = "the peer is silent"
        except EOFError:
            why = "the peer has ended the session"
        except _FAILURES as error:
            why = str(error)
            with suppress(*_FAILURES):
                writer.write(encode_message(Notice(why)))
        finally:
            if keeping is not None:
                keeping.cancel()
                self._events.put(Closed(source, why))
            writer.close()


async def _read(reader: asyncio.StreamReader, patience: float) -> Message:
    """Return the next message, for which it waits `patience` seconds.

    TimeoutError if there is none, EOFError if the session has ended, WireError if the message is malformed.
    """
    async with asyncio.timeout(patience):
        length, kind = HEADER.unpack(await reader.readexactly(HEADER.size))
        if length < HEADER.size:
            raise WireError(f"a message of {length} octets")
        return decode_message(kind, await reader.readexactly(length - HEADER.size))


async def _listen(reader: asyncio.StreamReader, hold: float) -> None:
    """Read the KEEPALIVEs of a listening peer. Ends with one of `_FAILURES` when they stop, or if there is more."""
    while True:
        message = await _read(reader, hold)
        if not isinstance(message, Keepalive):
            raise WireError(message.reason if isinstance(message, Notice) else "a listener announces nothing")


async def _keep(writer: asyncio.StreamWriter, hold: float) -> None:
    with suppress(*_FAILURES):
        while True:
            writer.write(encode_message(Keepalive()))
            await writer.drain()
            await asyncio.sleep(hold / 3)
