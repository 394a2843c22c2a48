"""In-band requests to a switch's program, in packets, for what P4Runtime servers may lack, such as register access."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from midflight.errors import DeviceError
from midflight.runtime.p4runtime.client.results import PacketIn

__all__ = ["CPU_PORT", "InBand"]

CPU_PORT = 510
"""The controller's port in the programs that Midflight generates."""

# The maximum number of requests in flight: few enough for the queues of a slow switch.
WINDOW = 128
# The timeout for the next answer in seconds, and the number of attempts for unanswered requests.
PATIENCE = 2.0
TRIES = 4
# The position of a request's number, which its answer repeats: the sequence number in the common header.
NUMBER = slice(4, 8)


class _Packets(Protocol):
    """The methods of a session that in-band requests use."""

    @property
    def address(self) -> str: ...

    def packets_out(self, payloads: Iterable[bytes], **metadata: object) -> None: ...

    def pick_packets(self, wanted: Callable[[PacketIn], bool], timeout: float = 0.0) -> list[PacketIn]: ...


class InBand:
    """Sends requests to the program of a session's switch in packets. Calling it with requests returns their answers.

    Requests must be idempotent, because one whose answer is lost is sent again.
    """

    def __init__(self, session: _Packets) -> None:
        self._session = session
        self._number = 0

    def __call__(self, requests: Sequence[bytes]) -> list[bytes]:
        """Send requests, which are messages with the common header, and return the answers in the same order.

        Sets the sequence number of each request. Blocks. A request is sent again if no answer at all arrives for 2 s.
        DeviceError if one is still unanswered after 4 attempts, if the program has no packet-out header with the field
        `egress_port`, or if the connection fails; any of the requests may have been processed then.
        """
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
            f"the program of {self._session.address} does not answer requests for its state",
            hint="check that the switch runs a program that Midflight generated",
        )


def _head(packet: bytes) -> bytes:
    """Return the part of the common header that a request and its answer share: version and application."""
    return packet[:1] + packet[2:4]
