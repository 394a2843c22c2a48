"""Fences: packets that show when everything that hosts have sent has passed the switches.

A switch does not report when it has finished a packet. But packets do not overtake each other between two ports of a
switch. So each sender sends one more packet, a fence, to every host. Any program forwards it. When the fences have
arrived, the packets before them have passed.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Mapping, Sequence

from midflight.runtime.endpoint.frames import UdpFlow
from midflight.testbed.fabric.cards import NetnsCard
from midflight.testbed.topology import Topology

__all__ = ["Fences"]

_DISCARD = 9  # RFC 863
_MARK = b"midflight fence "
_LENGTH = len(_MARK) + 8
_AGAIN = 0.1  # seconds after which a lost fence is sent again
_MANY = 16  # senders; if there are more, each sends only to the next host


class Fences:
    """Sends fences between a topology's hosts: packets whose arrival shows that all earlier packets have passed.

    `cards` are the hosts' network cards by name. `let(until, timeout)` handles events until `until()` returns True or
    `timeout` seconds have passed.
    """

    def __init__(
        self, topology: Topology, cards: Mapping[str, NetnsCard], let: Callable[[Callable[[], bool], float], bool]
    ) -> None:
        self._topology = topology
        self._cards = cards
        self._let = let
        self._numbers = itertools.count()
        self.late = 0.0
        """The longest time in seconds that links may delay a packet while a fence overtakes it."""
        self._waiting: dict[bytes, tuple[str, str]] = {}
        for each in cards.values():
            each.tap(self._take)

    def passed(self, senders: Sequence[str], timeout: float) -> list[tuple[str, str]]:
        """Send fences from these hosts, wait for them, and return the pairs (sender, receiver) whose fence is missing.

        An empty list means that all packets which the senders sent before have passed the network. Lost fences are sent
        again every 0.1 s. `timeout` is in seconds of real time.
        """
        self._waiting.clear()
        ways = self._host_pairs(senders)
        end = time.monotonic() + timeout
        missing = ways
        while missing:
            for way in missing:
                payload = _MARK + next(self._numbers).to_bytes(8, "big")
                self._waiting[payload] = way
                self._cards[way[0]].transmit(self._flow(*way).encode(payload))
            left = min(_AGAIN, end - time.monotonic())
            if left <= 0:
                break
            self._let(lambda: not self._waiting, left)
            came = {*ways} - {*self._waiting.values()}
            missing = [way for way in missing if way not in came]
        if self.late:
            self._let(lambda: False, self.late)
        return missing

    def _host_pairs(self, senders: Sequence[str]) -> list[tuple[str, str]]:
        """Return the pairs of hosts that fences travel between.

        Each sender sends to all hosts, or to the next if there are many senders. Only hosts of one IP version can talk.
        """
        hosts = [*self._cards]
        if len(senders) > _MANY:
            ways = [(each, hosts[(hosts.index(each) + 1) % len(hosts)]) for each in senders]
        else:
            ways = [(one, other) for one in senders for other in hosts]
        address = self._topology.address
        return [(one, other) for one, other in ways if address(one).version == address(other).version]

    def _flow(self, source: str, destination: str) -> UdpFlow:
        topology = self._topology
        return UdpFlow(
            source_mac=topology.mac(source),
            destination_mac=topology.gateway(source),
            source=topology.address(source),
            destination=topology.address(destination),
            source_port=_DISCARD,
            destination_port=_DISCARD,
        )

    def _take(self, _now: int, frame: bytes) -> None:
        way = self._waiting.pop(frame[-_LENGTH:], None) if self._waiting else None
        if way is not None:
            # Other fences of this pair, such as retransmissions, are no longer needed.
            for payload in [each for each, other in self._waiting.items() if other == way]:
                del self._waiting[payload]
