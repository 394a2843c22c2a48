"""The controller of a learning switch."""

from __future__ import annotations

from finsy.proto import p4i, p4r


class Controller:
    """Learns addresses, and delivers frames."""

    def __init__(self, p4info: bytes, ports: list[int], most: int) -> None:
        self.info = p4i.P4Info.FromString(p4info)
        self.ports = ports
        self.most = most

    def start(self) -> list[p4r.Update]:
        """Return the updates that create the group of all ports."""
        # TODO: create multicast group 1.
        return []

    def packet_in(self, message: bytes) -> list[tuple[str, object]]:
        """Return what to do about a frame, in order."""
        packet = p4r.PacketIn.FromString(message)
        port = int.from_bytes(packet.metadata[0].value, "big")
        destination = int.from_bytes(packet.payload[0:6], "big")
        source = int.from_bytes(packet.payload[6:12], "big")
        # TODO: learn the source, and deliver the frame.
        self.seen = (port, source, destination)
        return []
