"""Balance: assigns each request to an instance of a service, by stable buckets and by the instances' loads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from midflight.errors import KernelError
from midflight.primitives.kernel.arithmetic import bits, concat, hash_
from midflight.primitives.language import Header, Map, Packet, Primitive, Register, bit, one_of, within

__all__ = ["Balance"]

SEED = 0x42414C41
"""Independent of the small seeds of sketches."""


class Balance(Primitive):
    """Write an instance into each request: that of its flow's bucket, or the less loaded one of two.

    Parameters:
        instances: instances are numbered from 1 to this (1 to 65535)
        buckets: how many buckets the flows are hashed to (1 to 65536)
        choices: 1, or 2 to choose the less loaded one of a bucket's two instances
        lifetime: how long a reported load counts, in microseconds (1 to 2**32 - 1)
        clock: the clock that loads age by: `switch`, the packet's arrival, or `packet`, the header's `time`, for traces
            in virtual time
        patience: how long an instance may leave requests without a report, in microseconds, before its requests go to
            the bucket's other instance (0 to 2**32 - 1); 0 is indefinitely. More needs `choices=2`, and should be at
            least two round trips
        flow_bits: the width of a flow's identifier (8 to 128)
        table: the initial instances (1 to `instances`) by bucket (from 0): (first, second). Other buckets have no entry
            at first; None stands for no entries

    `operation` is `Balance.ASK` or `REPORT`; others are dropped. An ASK gets the `instance` of its flow's bucket, and
    is forwarded; in a program with `Steering`, to that instance. If the bucket has no entry, `instance` becomes 0. A
    REPORT contains an instance's current load, in a unit that all instances share, and is forwarded: an instance sends
    its replies as REPORTs, so that loads are piggybacked on them.

    With `choices=2`, the second instance is chosen if it reported less than the first, and both within `lifetime`.
    Without current loads, only the controller's tables decide, so a lost report attracts nothing and repels nothing.

    With `patience`, the switch itself notices an instance that has died: one that was asked more than `patience` ago
    and has not reported since is silent. Requests for it go to the other instance of their bucket, also those that
    contain it. It is tried again after 64 times as long, and at once when a report of it passes.

    The controller writes the maps `first` and `second` from bucket to instance
    (`midflight.runtime.steering.buckets` computes them, with few flows moved on a change), and `up` with the instances
    that keep their flows. An ASK that already contains an instance that is in `up` keeps it: a client that echoes the
    instance of its first answer stays there, whatever happens to weights and loads, without state for each flow in the
    switch. Remove an instance from the buckets to drain it, and from `up` when it is gone.

    Follows Maglev (Eisenbud et al., NSDI 2016) for buckets and the power of two choices (Mitzenmacher, IEEE TPDS 2001).
    Different here: a bucket has only two instances to choose from, so a flow alternates between at most two. A load
    saturates where the instance says so; nothing overflows. State: with `choices=2`, 128 bits per instance, 192 with
    `patience`; and the maps.

    >>> balance = Balance("balance", instances=3, buckets=1, clock="packet", table={0: (1, 2)}).reference()
    >>> def send(operation, instance=0, load=0, time=0):
    ...     fields = {"operation": operation, "instance": instance, "load": load, "time": time, "flow": 7}
    ...     return balance.process(Message(REQUEST, "balance", 0, fields)).message.fields["instance"]
    >>> send(Balance.ASK), send(Balance.REPORT, 1, load=9, time=10), send(Balance.REPORT, 2, load=4, time=11)
    (1, 1, 2)
    >>> send(Balance.ASK, time=20), send(Balance.ASK, time=2_000_000)
    (2, 1)
    """

    FAMILY = "steering"
    PAPER = "Maglev: Eisenbud et al., NSDI 2016; Mitzenmacher, IEEE TPDS 2001"
    OVERFLOW = "loads are only compared"

    INSTANCE = "instance"

    ASK = 1
    REPORT = 2

    instances: int = 64
    buckets: int = 256
    choices: Literal[1, 2] = 2
    lifetime: int = 1_000_000
    patience: int = 0
    clock: Literal["switch", "packet"] = "switch"
    flow_bits: int = 64
    table: Mapping[int, tuple[int, int]] | None = None

    class Wire(Header):
        """A request of a flow, or an instance's reply with its load; `operation` is one of the class's constants.

        `instance` is 0 for none. `time`, in microseconds, is only read with `clock="packet"`.
        """

        operation = bit[8]
        instance = bit[16]
        load = bit[16]
        time = bit[48]
        flow = bit["flow_bits"]

    def validate(self) -> None:
        """Raise KernelError for a parameter outside the limits in the class's description."""
        within(self, "instances", 1, 2**16 - 1)
        within(self, "buckets", 1, 2**16)
        within(self, "choices", 1, 2)
        within(self, "lifetime", 1, 2**32 - 1)
        within(self, "patience", 0, 2**32 - 1)
        within(self, "flow_bits", 8, 128)
        if self.patience and self.choices == 1:
            raise KernelError(f"{self.title}: patience needs choices=2, as there must be another instance")
        one_of(self, "clock", "switch", "packet")
        for bucket, pair in (self.table or {}).items():
            numbers = [bucket, *pair] if isinstance(pair, Sequence) and len(pair) == 2 else []
            if (
                not numbers
                or not all(isinstance(each, int) for each in numbers)
                or not 0 <= bucket < self.buckets
                or not all(1 <= each <= self.instances for each in pair)
            ):
                raise KernelError(
                    f"{self.title}: table has {bucket!r}: {pair!r}, but buckets are 0 to {self.buckets - 1} with two"
                    f" instances each, and instances 1 to {self.instances}"
                )

    def setup(self) -> None:
        """Create the maps from buckets to instances and of those that are up; with two choices, the reported loads.

        A cell has a valid bit, the time modulo 2**47, and the load; there is one for each choice. With `patience`,
        another register has the time of the first request since the last report.
        """
        self.first = Map(bit[16], bit[16], size=self.buckets)
        self.up = Map(bit[16], bit[1], size=self.instances)
        if self.choices == 2:
            self.second = Map(bit[16], bit[16], size=self.buckets)
            self.loads = Register(bit[64], self.instances + 1, lanes=2)
        if self.patience != 0:
            self.asked = Register(bit[64], self.instances + 1)
        for bucket, (first, second) in (self.table or {}).items():
            self.first[bucket] = first
            if self.choices == 2:
                self.second[bucket] = second

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Write the instance into an ASK, unless it has one that is up; store the load of a REPORT."""
        reporting = wire.operation == self.REPORT
        bucket = bit[16](hash_(wire.flow, seed=SEED, range=self.buckets))
        first = self.first.get(bucket, 0)
        keeps = self.up.get(wire.instance, 0) == 1
        chosen = first
        if self.choices == 2:
            second = self.second.get(bucket, 0)
            now = wire.time if self.clock == "packet" else packet.now
            report = concat(bit[1](1), bits(now, 46, 0), wire.load)
            one = wire.instance if reporting else first
            other = wire.instance if reporting else second
            first_load = self.loads[0].update_if(one, reporting, lambda _: report)
            second_load = self.loads[1].update_if(other, reporting, lambda _: report)
            current = self.current(first_load, now) and self.current(second_load, now)
            if second != 0 and current and bits(second_load, 15, 0) < bits(first_load, 15, 0):
                chosen = second
            if self.patience != 0:
                asking = wire.operation == self.ASK
                target = wire.instance if keeps or reporting else chosen
                asked = concat(bit[17](1), bits(now, 46, 0))
                waited = self.asked.update_if(
                    target,
                    asking or reporting,
                    lambda old: 0 if reporting else (asked if old == 0 or self.over(old, now) else old),
                )
                other = first if first != target else second
                if other != 0 and self.silent(waited, now):
                    keeps = False
                    chosen = other
        if wire.operation == self.ASK:
            if not keeps:
                wire.instance = chosen
        elif not reporting:
            packet.drop()

    def silent(self, asked: int, now: int) -> bool:
        """Return whether an instance that was first asked at `asked` is avoided at `now`, both in microseconds.

        It is avoided when it has been silent for more than `patience`, and not yet for 64 times as long. `asked` is 0
        if the instance has reported since the last request.
        """
        return asked != 0 and bits(now, 46, 0) - bits(asked, 46, 0) > self.patience and not self.over(asked, now)

    def over(self, asked: int, now: int) -> bool:
        """Return whether an instance that was first asked at `asked` is tried again at `now`, both in microseconds."""
        return bits(now, 46, 0) - bits(asked, 46, 0) > 64 * self.patience

    def current(self, load: int, now: int) -> bool:
        """Return whether a cell of `loads` has a load that was reported at most `lifetime` before `now`."""
        return load != 0 and bits(now, 46, 0) - bits(load, 62, 16) <= self.lifetime
