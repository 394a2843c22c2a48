"""The records that the native loops of ports and Python share: outputs, ports, and captures of one direction.

Every field is a 64-bit word. The attributes are offsets in bytes.
"""

from __future__ import annotations

__all__ = ["BATCH", "CAPTURE_BYTES", "CPU", "NOWHERE", "OUTPUTS", "Capture", "Output", "Port"]

BATCH = 128
"""The largest number of packets in a batch, and of packets passed to the kernel at once."""

CAPTURE_BYTES = 1 << 18
"""The size of the buffer of a capture's file. No packet is larger."""

NOWHERE, CPU = 0xFFFF, 0xFFFE
"""Entries of the map from the program's port numbers to ports: for unknown ports, and for the CPU port."""


OUTPUTS = 4
"""How many batches can wait for the sending threads. A power of two."""


class Output:
    """Offsets in the record of a batch's output: its buffers, the time of sending, and the fields for the handover.

    SEQUENCE counts the batches and is set last, which passes the output to the sending threads. LEFT is the number of
    threads that have not finished it. LAST means that there is no batch and that none will follow.
    """

    DATA, OFFSETS, LENGTHS, PORTS, SOURCES, COUNT, SECONDS, NANOSECONDS, SEQUENCE, LEFT, LAST = range(0, 88, 8)
    SIZE = 88


class Capture:
    """Offsets in the record of a pcap file being written. FILE is its descriptor plus one, or 0 if nothing is recorded.

    USED bytes of BUFFER wait to be written, and LOST counts bytes that could not be.
    """

    FILE, BUFFER, USED, LOST = range(0, 32, 8)
    SIZE = 32


class Port:
    """Offsets in the record of one interface or UDP port.

    NUMBER is the program's port number. RING, FRAME, FRAMES and HEAD describe the receive ring: its address, the bytes
    of a frame, the number of frames, and the next frame. SOCKET receives; SENDER sends MESSAGES, whose VECTORS refer to
    the PENDING packets. The other fields count packets: RECEIVED, SENT, and dropped ones: OVERSIZE for those larger
    than a frame, OFFLOAD for unsegmented TSO/GSO packets, UNSENT for those that the interface rejected. FAULTS counts
    how often the interface went down. INWARD and OUTWARD are the captures of its two directions.

    The kernel fills the ring of an interface. That of a UDP port is filled by the loop, with the messages at MAIL,
    which is 0 for an interface. SOURCE points to the address that the last datagram came from, and PEER to the one to
    send to; PEER is 0 if the socket is connected.
    """

    NUMBER, RING, FRAME, FRAMES, HEAD, SOCKET, SENDER, MESSAGES, VECTORS, PENDING = range(0, 80, 8)
    RECEIVED, SENT, OVERSIZE, OFFLOAD, UNSENT, FAULTS = range(80, 128, 8)
    INWARD = 128
    OUTWARD = INWARD + Capture.SIZE
    MAIL, SOURCE, PEER = range(OUTWARD + Capture.SIZE, OUTWARD + Capture.SIZE + 24, 8)
    SIZE = PEER + 8
