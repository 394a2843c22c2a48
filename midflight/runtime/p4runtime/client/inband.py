"""Requests to a switch's own program, carried in packets: for what P4Runtime servers do not do, such as registers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from midflight.errors import DeviceError
from midflight.runtime.p4runtime.client.results import PacketIn

__all__ = ["CPU_PORT", "InBand"]

CPU_PORT = 510
"""The port that stands for the controller in the programs that Midflight writes."""

# Requests under way at once: few enough for the queues of a switch that works packet by packet.
WINDOW = 128
# Seconds that a switch is given for the next answer, and how often what it has not answered is sent again.
PATIENCE = 2.0
TRIES = 4
# Where in a packet its number is, which the answer has too: the sequence of the common header.
NUMBER = slice(4, 8)


class _Packets(Protocol):
    """What is needed of a session."""

    @property
    def address(self) -> str: ...

    def packets_out(self, payloads: Iterable[bytes], **metadata: object) -> None: ...

    def pick_packets(self, wanted: Callable[[PacketIn], bool], timeout: float = 0.0) -> list[PacketIn]: ...


class InBand:
    """A session's way to what runs on its switch. Called with requests, it returns the answer to each.

    A request may reach the switch more than once where an answer is lost, so it must not matter how often it does.
    DeviceError where the switch does not answer.
    """

    def __init__(self, session: _Packets) -> None:
        self._session = session
        self._number = 0

    def __call__(self, requests: Sequence[bytes]) -> list[bytes]:
        """Send requests, their numbers filled in, and return the answers in the same order."""
        answers: list[bytes] = []
        for start in range(0, len(requests), WINDOW):
            answers += self._window(requests[start : start + WINDOW])
        return answers

    def _window(self, requests: Sequence[bytes]) -> list[bytes]:
        waiting: dict[bytes, bytes] = {}
        for each in requests:
            self._number = (self._number + 1) % 2**32
            number = self._number.to_bytes(4, "big")
            waiting[number] = each[: NUMBER.start] + number + each[NUMBER.stop :]
        numbers, heads = list(waiting), {_head(each) for each in requests}

        def is_answer(packet: PacketIn) -> bool:
            return packet.metadata.get("ingress_port") == CPU_PORT and _head(packet.payload) in heads

        answered: dict[bytes, bytes] = {}
        for _ in range(TRIES):
            self._session.packets_out(waiting.values(), egress_port=CPU_PORT)
            while waiting:
                came = self._session.pick_packets(is_answer, PATIENCE)
                if not came:
                    break
                for answer in came:
                    if waiting.pop(answer.payload[NUMBER], None) is not None:
                        answered[answer.payload[NUMBER]] = answer.payload
            if not waiting:
                return [answered[each] for each in numbers]
        raise DeviceError(
            f"{self._session.address} does not answer for the state of its program",
            hint="is it a program of Midflight's that runs there?",
        )


def _head(packet: bytes) -> bytes:
    """Return what a request and its answer have in common, of the common header: version and application."""
    return packet[:1] + packet[2:4]
