"""Packet counts of a running program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Stats"]


@dataclass(frozen=True, slots=True)
class Stats:
    """The packet counts of an engine since it was created.

    `received` and `sent` count packets. `dropped` counts dropped packets by reason: `ingress` and `egress` (by the
    program), `replicas` (a multicast group or clone session without members), `memory` (no memory for the output),
    `queue` (the queue for another round was full) and `rounds` (too many rounds). Between ingress and egress, it counts
    `tail` (a full queue), `priority` (no queue has the packet's priority), `buffer` (no memory for packets in queues)
    and `waiting` (in a queue when the program was replaced or the switch closed). An XDP program also counts `busy`
    (another processor ran the program for too long). `assertions` counts `assert` and `assume` calls that failed.
    `digests_lost` and `messages_lost` count digests and log messages that were lost because their buffer was full.
    """

    received: int
    sent: int
    dropped: Mapping[str, int]
    digests_lost: int
    messages_lost: int
    assertions: int
