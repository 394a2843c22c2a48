"""More kernels as users write them, with maps and various verdicts."""

from __future__ import annotations

from midflight.primitives import Header, Lookup, Map, Packet, Primitive, Register, advance, bit, int_, popcount


class Directory(Primitive):
    """Look up the owner of a key, the zone of an address, the grade of a size, and logarithms."""

    room: int = 4

    class Wire(Header):
        key = bit[128]
        address = bit[32]
        port = bit[16]
        owner = bit[16]
        zone = int_[8]
        known = bit[4]
        size = bit[16]
        grade = bit[4]
        flags = bit[8]
        logs = bit[8].array(2)

    def setup(self) -> None:
        self.owner = Map(bit[128], bit[16], size=self.room)
        self.zone = Map(
            (bit[32], bit[16]),
            int_[8],
            size=8,
            match=("lpm", "exact"),
            entries={((10 << 24, 8), 80): -3, ((10 << 24, 16), 80): -4, ((0, 0), 80): 1},
        )
        self.grade = Map(bit[16], bit[4], size=8, match="range")
        for number in range(4):
            self.grade[(number * 100, number * 100 + 99)] = number + 1
        self.marked = Map((bit[8], bit[4]), bit[16], size=8, match="ternary")
        self.marked.insert(((0x80, 0x80), (0, 0)), 1, priority=1)
        self.marked.insert(((0x81, 0x81), (3, 15)), 2, priority=5)
        self.log2 = Lookup(bit[8], (0, *(number.bit_length() - 1 for number in range(1, 8))), default=99)
        self.seen = Register(bit[32], 16)

    def graded(self, size: int) -> int:
        return self.grade.get(size, 15)

    def weight(self, size: int) -> int:
        if size > 100:
            return bit[32](2)
        return bit[32](1)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        owner = self.owner.get(wire.key, wire.owner + 1)
        wire.known = 1 if self.owner.hit else 0
        wire.zone = self.zone.get((wire.address, wire.port), 5)
        if wire.size >= 50:
            value = self.graded(wire.size + 100)
            wire.grade = value
            if not self.grade.hit:
                packet.reply()
        found = self.marked.get((wire.flags, wire.grade), 7)
        wire.owner = owner ^ found
        for lane in range(2):
            wire.logs[lane] = self.log2.read(wire.logs[lane]) + self.log2.read(6)
        wire.flags = bit[8](self.seen.update(self.log2.read(wire.size & 15), lambda old: old + self.weight(wire.size)))


class Walk(Primitive):
    """Count the steps of the Collatz sequence of a number, one in each round."""

    class Wire(Header):
        value = bit[32]
        steps = bit[8]
        flags = bit[8]

    def setup(self) -> None:
        self.rounds = Register(bit[32], 1)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        self.rounds.update(0, lambda old: old + 1)
        if (wire.flags & 1 == 1 and packet.round == 0) or wire.value == 7:
            packet.mirror()
        if wire.flags & 2 == 2:
            packet.fallback()
            wire.steps = packet.round
            return
        if wire.value == 1:
            wire.steps = packet.round
            packet.reply()
        elif wire.value == 0:
            packet.alert(packet.round, wire.flags)
        elif wire.value != 2**32 - 1:
            if wire.value % 2 == 0:
                wire.value = wire.value // 2
            else:
                wire.value = wire.value * 3 + 1
            if wire.flags & 4 == 4 and packet.round == 3:
                wire.flags |= 2
            packet.recirculate()


class Latest(Primitive):
    """Return how far a number is ahead of the latest one of its flow, and the number of its set bits."""

    class Wire(Header):
        flow = bit[16]
        number = bit[4]
        ahead = int_[4]
        ones = bit[16]

    def setup(self) -> None:
        self.held = Register(bit[4], 256)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        wire.ahead = advance(self.held, wire.flow, wire.number)
        wire.ones = popcount(wire.number) + 100 * popcount(~wire.flow) + 10_000 * popcount(bit[1](wire.number))
        packet.reply()
