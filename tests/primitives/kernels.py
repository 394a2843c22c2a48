"""Kernels as users write them. The type checker reads this file as strictly as the package itself."""

from __future__ import annotations

from typing import Any

from midflight.primitives import Header, Packet, Primitive, Register, bit, bits, concat, hash_, int_, sat_add


class Threshold(Primitive):
    """Raise an alert when a reading crosses `above`; re-arm when it falls below `clear`."""

    above: int
    clear: int
    sensors: int = 1024

    class Wire(Header):
        sensor = bit[16]
        value = bit[32]

    def setup(self) -> None:
        self.armed = Register(bit[1], self.sensors, initial=1)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        was_armed = self.armed.update(
            wire.sensor, lambda old: 0 if wire.value >= self.above else (1 if wire.value <= self.clear else old)
        )
        if was_armed == 1 and wire.value >= self.above:
            packet.alert(wire.sensor, wire.value)
        packet.forward()


class Ewma(Primitive):
    """Smooth readings; flag those far from the average."""

    weight: int = 3
    channels: int = 16

    class Wire(Header):
        channel = bit[4]
        urgent = bit[1]
        reading = int_[16]
        smooth = int_[32]

    def setup(self) -> None:
        self.average = Register(int_[32], self.channels, initial=-100)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        scaled = int_[32](wire.reading) << 8
        smooth = self.average.update_fetch(wire.channel, lambda old: old + (scaled - old) // 2**self.weight)
        wire.smooth = smooth
        wire.urgent = 1 if abs(scaled - smooth) > 2**self.weight * 256 else 0
        if wire.urgent == 1:
            packet.reply()


class Tally(Primitive):
    """Count in lanes, with many features of the language."""

    lanes: int = 3
    mode: str = "strict"

    class Wire(Header):
        index = bit[8]
        limit = bit[8]
        shift = bit[16]
        wide = bit[48]
        counts = bit[24].array("lanes")

    def setup(self) -> None:
        self.counted = Register(bit[24], 100, lanes=self.lanes)
        self.last = Register(bit[16], 256)
        self.seen = Register(bit[32], 1)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        self.seen.update(0, lambda old: sat_add(old, 1))
        big = False
        for lane in range(self.lanes):
            step = bit[24](lane + 1)
            wire.counts[lane] = self.counted[lane].update_fetch(wire.index, lambda old: old + step)  # noqa: B023
            big = big or wire.counts[lane] > 1 << 16
        wire.wide = bit[48](1) << wire.shift
        if self.mode == "strict":
            if big:
                packet.drop()
                return
            packet.multicast()
        elif wire.limit in (1, 2, 3):
            packet.reply()
        last = self.last.read(wire.index)
        if not 1 <= last < 10:
            wire.limit = bit[8](max(wire.limit, 7)) % 64
        else:
            wire.limit ^= 0xFF
        wire.shift -= last


class Rows(Primitive):
    """Count flows in rows of counters, each with a different hash, and sample some of them."""

    rows: int = 3
    width: int = 1000

    class Wire(Header):
        source = bit[32]
        port = bit[12]
        delta = int_[13]
        estimate = bit[32]
        sampled = bit[7]

    def setup(self) -> None:
        self.counts = Register(bit[32], self.width, lanes=self.rows)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        least = bit[32](0xFFFFFFFF)
        for row in range(self.rows):
            index = hash_(wire.source, wire.port, seed=row, range=self.width)
            least = min(least, self.counts[row].update_fetch(index, lambda old: sat_add(old, 1)))
        wire.estimate = least
        if hash_(wire.delta, wire.port) < 1 << 30 and hash_(wire.source, seed=9, range=64) != 3:
            wire.sampled = 1
            wire.port = 0
        if hash_(wire.source, wire.port, seed=7) & 1 == 1:
            packet.reply()


class Samples(Primitive):
    """Raise an alert for one packet in 2**`rate` of each flow, and at most one in `gap` microseconds."""

    rate: int = 2
    gap: int = 1000

    class Wire(Header):
        flow = bit[8]
        coin = bit[8]
        offset = int_[16]
        stamp = bit[48]

    def setup(self) -> None:
        self.last = Register(bit[48], 256)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        wire.coin = packet.random(bit[8])
        wire.offset = packet.random(int_[16])
        wire.stamp = packet.now
        last = self.last.update(wire.flow, lambda old: packet.now if packet.now - old >= self.gap else old)
        if packet.now - last >= self.gap and packet.random(bit[self.rate]) == 0:
            packet.alert(wire.flow, packet.now)


class Calls(Primitive):
    """Perform the operation of the request's code."""

    READ = 1
    CLEAR = 2
    modulus: int = 4

    class Wire(Header):
        code = bit[8]
        index = bit[8]
        value = bit[32]

    def setup(self) -> None:
        self.values = Register(bit[32], 200, initial=7)

    def cost(self, wire: Wire) -> int:
        """Return the cost of a request."""
        match wire.code, wire.index:
            case (self.READ, _):
                return bit[32](1)
            case (self.CLEAR, 0) | (3, 1 | 2):
                return bit[32](2)
        return wire.value

    def ingress(self, packet: Packet, wire: Wire) -> None:
        cost = self.cost(wire)
        old = self.values.update_if(wire.index, wire.code > self.READ, lambda old: 0 if wire.code == 2 else old + cost)
        match wire.code:
            case self.READ | self.CLEAR:
                wire.value = old
                packet.reply()
            case 3 if old > 100:
                packet.multicast()
            case 3:
                wire.value = cost
                packet.forward()
            case _:
                packet.drop()
        match wire.code % self.modulus:
            case 0:
                wire.index = 0
            case 3:
                wire.index += 1


class Point(Header):
    """A point in the plane."""

    x = int_[16]
    y = int_[16]


class Track(Header):
    """A moving object."""

    tag = bit[8]
    place = Point.struct()
    past = bit[8].array(3)


def distance(one: Point, other: Point) -> int:
    """Return the Manhattan distance of two points."""
    return abs(one.x - other.x) + abs(one.y - other.y)


class Nearest(Primitive):
    """Find the nearest track to a point."""

    tracks: int = 3

    class Wire(Header):
        origin = Point.struct()
        nearest = bit[8]
        distance = int_[16]
        tracks = Track.array("tracks")

    def setup(self) -> None:
        self.seen = Register(bit[8], 16, lanes=self.tracks)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        least = distance(wire.origin, wire.tracks[0].place)
        nearest = bit[8](0)
        for number in range(1, len(wire.tracks)):
            far = distance(wire.tracks[number].place, wire.origin)
            if far < least:
                least = far
                nearest = bit[8](number)
        for number in range(self.tracks):
            track = wire.tracks[number]
            seen = self.seen[number].update(track.tag, lambda old: old + 1)
            track.past[1] = seen
            track.place.y += 1
        wire.nearest = nearest
        wire.distance = least
        packet.reply()


class Item(Header):
    """One item of a basket."""

    kind = bit[4]
    price = bit[32]


class Basket(Primitive):
    """Sum up the prices in a basket, and mark expensive items."""

    capacity: int = 4

    class Wire(Header):
        count = bit[8]
        total = bit[32]
        mark = bit[4]
        items = Item.array("capacity", count="count")

    def setup(self) -> None:
        self.sold = Register(bit[32], 16, lanes=self.capacity)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        total = bit[32](0)
        for place in range(len(wire.items)):
            total += wire.items[place].price
            if place < wire.count:
                item = wire.items[place]
                self.sold[place].update(item.kind, lambda old: sat_add(old, item.price))  # noqa: B023
            if wire.items.present(place) and wire.items[place].price > 1000:
                wire.items[place].kind = wire.mark
        wire.total = total
        if wire.count == 0:
            packet.drop()
            return
        wire.items[3].price = wire.items[0].price
        if wire.items[3].price != 7:
            packet.reply()


class Words(Primitive):
    """Split and join numbers."""

    class Wire(Header):
        word = bit[32]
        level = int_[12]
        high = bit[4]
        low = bit[16]

    def setup(self) -> None:
        self.seen = Register(bit[16], 4096)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        prefix = bits(wire.word, 31, 20)
        self.seen.update(prefix, lambda old: old + bit[16](bits(old, 0, 0)))
        wire.high = bits(wire.word + 1, 19, 16)
        wire.low = concat(bits(wire.level, 11, 11), bit[3](5), prefix)
        wire.word = bit[32](concat(wire.level, wire.high))


def saturating_step(old: int, step: int, most: int = 1000) -> int:
    """Return `old` + `step`, at most `most`."""
    if old >= most - step:
        return most
    return old + step


def ones(value: int) -> int:
    """Count the ones in the low eight bits of a number."""
    count = bit[8](0)
    for place in range(8):
        count += bit[8](bits(value, place, place))
    return count


class Counted(Primitive):
    """Count packets by key, and drop those of too frequent keys."""

    limit: int = 3

    class Wire(Header):
        index = bit[4]
        count = bit[16]

    def setup(self) -> None:
        self.counts = Register(bit[16], 16)

    def too_many(self, count: int) -> bool:
        """Return whether a key is too frequent."""
        return count > self.limit

    def ingress(self, packet: Packet, wire: Wire) -> None:
        count = self.counts.update_fetch(wire.index, lambda old: saturating_step(old, 1))
        wire.count = count
        if self.too_many(count):
            packet.drop()
            return
        packet.forward()


class Layered(Counted):
    """Extend Counted with a nested Threshold for the level."""

    class Wire(Counted.Wire, Threshold.Wire):
        weight = bit[8]

    def setup(self) -> None:
        super().setup()
        self.watch = Threshold("watch", above=100, clear=90, sensors=4)
        self.heaviest = Register(bit[8], 16)

    def scale(self, wire: Wire, by: int) -> int:
        """Scale the value up, and return the increase."""
        before = wire.value
        wire.value = before * by
        if wire.value < before:
            wire.value = before
            return 0
        return wire.value - before

    def heavy(self, wire: Wire) -> bool:
        """Return whether a packet is heavier than all before it."""
        weight = ones(wire.weight) + ones(bit[8](wire.value))
        heaviest = self.heaviest.update(wire.index, lambda old: max(old, weight))
        return weight > heaviest

    def ingress(self, packet: Packet, wire: Any) -> None:
        super().ingress(packet, wire)
        grown = self.scale(wire, by=3)
        if grown > 0:
            grown = self.scale(wire, 1 + self.limit)
        heavy = self.heavy(wire)
        self.watch.ingress(packet, wire)
        if heavy and ones(bit[8](grown)) > 2:
            packet.reply()
        wire.weight = ones(wire.weight)
