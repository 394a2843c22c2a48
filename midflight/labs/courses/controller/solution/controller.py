"""The controller of a learning switch."""

from __future__ import annotations

from finsy.proto import p4i, p4r


def shortest(number: int) -> bytes:
    """Return a number in P4Runtime's shortest form."""
    return number.to_bytes(8, "big").lstrip(b"\0") or b"\0"


class Controller:
    """Learns addresses, and delivers frames."""

    def __init__(self, p4info: bytes, ports: list[int], most: int) -> None:
        self.info = p4i.P4Info.FromString(p4info)
        self.ports = ports
        self.most = most
        self.places: dict[int, int] = {}
        self.tables = {each.preamble.name: each.preamble.id for each in self.info.tables}
        self.actions = {each.preamble.name: each.preamble.id for each in self.info.actions}

    def start(self) -> list[p4r.Update]:
        """Return the updates that create the group of all ports."""
        update = p4r.Update(type=p4r.Update.INSERT)
        group = update.entity.packet_replication_engine_entry.multicast_group_entry
        group.multicast_group_id = 1
        for port in self.ports:
            group.replicas.add(port=shortest(port), instance=1)
        return [update]

    def packet_in(self, message: bytes) -> list[tuple[str, object]]:
        """Return what to do about a frame, in order."""
        packet = p4r.PacketIn.FromString(message)
        port = int.from_bytes(packet.metadata[0].value, "big")
        destination = int.from_bytes(packet.payload[0:6], "big")
        source = int.from_bytes(packet.payload[6:12], "big")
        if source >> 40 & 1:
            return []
        actions = [("write", update) for update in self.learn(source, port)]
        if destination in self.places:
            to = self.places[destination]
            if to != port:
                actions.append(("packet_out", self.out(packet.payload, to, 0)))
        else:
            actions.append(("packet_out", self.out(packet.payload, port, 1)))
        return actions

    def learn(self, source: int, port: int) -> list[p4r.Update]:
        """Return the updates that make the switch know where a source is."""
        old = self.places.pop(source, None)
        room = sum(each == port for each in self.places.values()) < self.most
        updates = []
        if old is not None:
            updates.append(self.known(p4r.Update.DELETE, source, old))
            if not room:
                updates.append(self.forward(p4r.Update.DELETE, source, old))
        if room:
            self.places[source] = port
            updates.append(self.known(p4r.Update.INSERT, source, port))
            kind = p4r.Update.INSERT if old is None else p4r.Update.MODIFY
            updates.append(self.forward(kind, source, port))
        return updates

    def known(self, kind: int, source: int, port: int) -> p4r.Update:
        """Return an update of the table `known`."""
        update = p4r.Update(type=kind)
        entry = update.entity.table_entry
        entry.table_id = self.tables["ingress.known"]
        entry.match.add(field_id=1, exact=p4r.FieldMatch.Exact(value=shortest(source)))
        entry.match.add(field_id=2, exact=p4r.FieldMatch.Exact(value=shortest(port)))
        if kind != p4r.Update.DELETE:
            entry.action.action.action_id = self.actions["NoAction"]
        return update

    def forward(self, kind: int, address: int, port: int) -> p4r.Update:
        """Return an update of the table `forward`."""
        update = p4r.Update(type=kind)
        entry = update.entity.table_entry
        entry.table_id = self.tables["ingress.forward"]
        entry.match.add(field_id=1, exact=p4r.FieldMatch.Exact(value=shortest(address)))
        if kind != p4r.Update.DELETE:
            entry.action.action.action_id = self.actions["ingress.send"]
            entry.action.action.params.add(param_id=1, value=shortest(port))
        return update

    def out(self, frame: bytes, port: int, flood: int) -> p4r.PacketOut:
        """Return a packet-out."""
        message = p4r.PacketOut(payload=frame)
        for number, value in enumerate((port, flood, 0), 1):
            message.metadata.add(metadata_id=number, value=shortest(value))
        return message
