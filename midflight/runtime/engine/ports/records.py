"""The records that native loops and Python share: a port, and a capture of one direction of it.

Every field is a 64-bit word; the attributes are its offset in bytes.
"""

from __future__ import annotations

__all__ = ["BATCH", "CAPTURE_BYTES", "CPU", "NOWHERE", "OUTPUTS", "Capture", "Output", "Port"]

BATCH = 128
"""Packets in a batch at most, and packets handed to the kernel at once."""

CAPTURE_BYTES = 1 << 18
"""The buffer in front of a capture's file. No packet is larger."""

NOWHERE, CPU = 0xFFFF, 0xFFFE
"""What the map from a program's port to the place of a port says where no port is."""


OUTPUTS = 4
"""Batches that can wait for the threads that send. A power of two."""


class Output:
    """Where a batch's output goes, as the engine has it, with the time of sending and what hands it on.

    SEQUENCE counts the batches and is set last, which gives the output to the threads that send; LEFT is how many of
    them have yet to deal with it. LAST says that there is no batch, and that none will follow.
    """

    DATA, OFFSETS, LENGTHS, PORTS, SOURCES, COUNT, SECONDS, NANOSECONDS, SEQUENCE, LEFT, LAST = range(0, 88, 8)
    SIZE = 88


class Capture:
    """A pcap file being written: FILE is its descriptor plus one, 0 where nothing is to be kept."""

    FILE, BUFFER, USED, LOST = range(0, 32, 8)
    SIZE = 32


class Port:
    """One interface.

    NUMBER is what the program calls it. RING, FRAME, FRAMES and HEAD say where packets arrive: memory that is shared
    with the kernel, the bytes of a frame, how many there are, and which is next. SOCKET receives; SENDER sends
    MESSAGES, whose VECTORS say where the PENDING packets lie. What follows counts packets: RECEIVED, SENT, and lost
    ones: OVERSIZE for the ring's frames, OFFLOAD for segments that the sender's host has left to its interface to
    cut, UNSENT ones that the interface did not take. FAULTS counts the times that the interface went down.
    """

    NUMBER, RING, FRAME, FRAMES, HEAD, SOCKET, SENDER, MESSAGES, VECTORS, PENDING = range(0, 80, 8)
    RECEIVED, SENT, OVERSIZE, OFFLOAD, UNSENT, FAULTS = range(80, 128, 8)
    INWARD = 128
    OUTWARD = INWARD + Capture.SIZE
    SIZE = OUTWARD + Capture.SIZE
