"""Window: count, sum, minimum and maximum of each series over tumbling or sliding windows of a stream."""

from __future__ import annotations

from typing import Final, Literal

from midflight.primitives.kernel.arithmetic import bits, concat, sat_add
from midflight.primitives.language import Header, Packet, Primitive, Register, bit, int_, one_of, power_of_two, within

__all__ = ["Window"]

RESULT: Final = 1
LATE: Final = 2


class Window(Primitive):
    """Aggregate the items of a stream, and forward one result for each window of each series.

    Parameters:
        pane: the length of a pane, in items or in the unit of `time` (1 to 2**24, a power of two)
        panes: the number of panes in a window (1, 2, 4 or 8). With 1, windows tumble; with more, they slide by a pane
        by: `count`, where the last item of a pane closes it; or `time`, where the first item of a later pane closes it,
            by the items' own `time`
        series: how many series have windows (1 to 65536); items of other series are forwarded unchanged

    An item (`what` is 0) is dropped unless it closes a window. Then it is forwarded with the result: `what` is 1, `end`
    is the end of the window, in items of the series or in time, and `count`, `total`, `least` and `most` are those of
    the window's items. The item that carries the result belongs to the window by `count`, but not by `time`. The first
    windows have fewer panes.

    By `time`, an item of an earlier pane than the series' latest (RFC 1982, on a clock that wraps at 2**32) is late: it
    is forwarded with `what` 2 and not counted. A series must therefore not pause for 2**31, nor skip a whole turn of
    the clock in a few steps: panes of the turn before would count again. If its items skip panes, the sliding windows
    that would have ended in between are omitted.

    `count` saturates at 2**32 - 1, and `total` has 64 bits, so nothing overflows. There is no protocol: duplicated
    items count twice, and lost results are not repeated.

    Follows the panes of Li et al. (SIGMOD Record 2005) and the sub-windows of OmniWindow (SIGCOMM 2023). Different
    here: the packet that closes a window carries its result, so that nobody has to read registers in time. State: 4 to
    5 bytes per series, and about 25 bytes per pane.

    >>> window = Window("load", pane=2, panes=2, by="count").reference()
    >>> empty = {"series": 0, "what": 0, "time": 0, "end": 0, "count": 0, "total": 0, "least": 0, "most": 0}
    >>> def send(value):
    ...     outcome = window.process(Message(REQUEST, "load", 0, {**empty, "value": value}))
    ...     fields = outcome.message.fields
    ...     return (fields["end"], fields["count"], fields["total"]) if outcome.verdict.name == "FORWARD" else None
    >>> [send(value) for value in (1, 10, 100, 1000, 10000, 100000)]
    [None, (2, 2, 11), None, (4, 4, 1111), None, (6, 4, 111100)]
    """

    FAMILY = "aggregation"
    PAPER = "Li et al., SIGMOD Record 2005; OmniWindow, SIGCOMM 2023"
    OVERFLOW = "`count` saturates at 2**32 - 1; `total` has 64 bits"

    pane: int
    panes: int = 1
    by: Literal["count", "time"] = "time"
    series: int = 256

    class Wire(Header):
        """An item of a series, and on the way out the result of the window that it closes.

        `what` is 0 for an item, 1 for a result, and 2 for a late item. `time` is the item's time, on a 32-bit clock,
        and `value` its value; the other fields are the result.
        """

        series = bit[16]
        what = bit[8]
        time = bit[32]
        value = int_[32]
        end = bit[32]
        count = bit[32]
        total = int_[64]
        least = int_[32]
        most = int_[32]

    def validate(self) -> None:
        """Raise KernelError for a parameter outside the limits in the class's description."""
        power_of_two(self, "pane", 1, 2**24)
        within(self, "series", 1, 2**16)
        power_of_two(self, "panes", 1, 8)
        one_of(self, "by", "count", "time")

    def setup(self) -> None:
        """Create, for each series: its latest pane or item; for each pane in a window: its number and results."""
        self.shift = self.pane.bit_length() - 1
        self.width = 32 - self.shift  # bits of a pane's number
        if self.by == "count":
            self.items = Register(bit[32], self.series)
        else:
            self.latest = Register(bit[self.width + 1], self.series)
        self.number = Register(bit[self.width + 1], self.series, lanes=self.panes)
        self.counts = Register(bit[32], self.series, lanes=self.panes)
        self.totals = Register(int_[64], self.series, lanes=self.panes)
        self.leasts = Register(int_[32], self.series, lanes=self.panes)
        self.mosts = Register(int_[32], self.series, lanes=self.panes)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Add an item to its pane.

        If it closes a window, write the result of the window's panes and forward the packet. Otherwise the packet is
        dropped. Late items and those of unknown series are forwarded and not counted.
        """
        if wire.series >= self.series:
            packet.forward()
            return

        # `pane` is the item's pane, `last` the last one of the window that may close; both have a valid bit on top.
        late = False
        if self.by == "count":
            item = self.items.update(wire.series, lambda old: old + 1)
            pane = concat(bit[1](1), bits(item, 31, self.shift))
            last = pane
            closes = item % self.pane == self.pane - 1
            end = item + 1
        else:
            pane = concat(bit[1](1), bits(wire.time, 31, self.shift))
            last = self.latest.update(
                wire.series,
                lambda old: pane if old == 0 or bit[self.width](pane - old) < 2 ** (self.width - 1) else old,
            )
            ahead = bit[self.width](pane - last)
            late = last != 0 and ahead >= 2 ** (self.width - 1)
            closes = last != 0 and ahead > 0
            end = bit[32](last + 1) << self.shift

        mine = self.by == "count"  # whether the item belongs to the window
        count = bit[32](1 if mine else 0)
        total = int_[64](wire.value) if mine else int_[64](0)
        least = wire.value if mine else int_[32](2**31 - 1)
        most = wire.value if mine else int_[32](-(2**31))
        for lane in range(self.panes):
            takes = not late and pane % self.panes == lane
            number = self.number[lane].update_if(wire.series, takes, lambda _: pane)
            more = number == pane
            lane_count = self.counts[lane].update_if(wire.series, takes, lambda old: sat_add(old, 1) if more else 1)
            lane_total = self.totals[lane].update_if(
                wire.series, takes, lambda old: int_[64](wire.value) + (old if more else 0)
            )
            lane_least = self.leasts[lane].update_if(
                wire.series, takes, lambda old: min(old, wire.value) if more else wire.value
            )
            lane_most = self.mosts[lane].update_if(
                wire.series, takes, lambda old: max(old, wire.value) if more else wire.value
            )
            if number != 0 and bit[self.width](last - number) < self.panes:
                count = sat_add(count, lane_count)
                total = total + lane_total
                least = min(least, lane_least)
                most = max(most, lane_most)

        if late:
            wire.what = LATE
            packet.forward()
        elif closes:
            wire.what = RESULT
            wire.end = end
            wire.count = count
            wire.total = total
            wire.least = least
            wire.most = most
            packet.forward()
        else:
            packet.drop()
