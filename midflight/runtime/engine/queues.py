"""The queues between ingress and egress, as the control plane sees them: depth, rate, weight and counts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from midflight.errors import DeviceError
from midflight.runtime.engine.trafficmanager import PORTS, QUEUES

__all__ = ["DEPTH", "QueueOptions", "QueueSettings", "QueueState", "Queueing", "Rate", "as_rate", "parse_rate"]

DEPTH = 64
"""The default depth of a queue in packets, as on BMv2."""

MOST_DEPTH = 1 << 20
MOST_WEIGHT = 100
MOST_RATE = 10**12

_SCALE = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_RATE = re.compile(r"(\d{1,18}(?:\.\d{1,18})?)\s*([kmg]?)(pps|bit|bit/s|bps)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Rate:
    """A rate in packets a second or in bits a second. 0 for both is unlimited.

    Bits are those of the packet, without preamble and frame check sequence. DeviceError if a rate is negative, above
    10**12, or limits both.
    """

    packets: int = 0
    bits: int = 0

    def __post_init__(self) -> None:
        for each in (self.packets, self.bits):
            if not 0 <= each <= MOST_RATE:
                raise DeviceError(f"a queue's rate is 0 (unlimited) to {MOST_RATE}, not {each}")
        if self.packets and self.bits:
            raise DeviceError("a rate is in packets or in bits a second, not both")

    @property
    def gap(self) -> int:
        """The time that each packet takes, in nanoseconds, rounded up; 0 if the rate is not in packets."""
        return -(-1_000_000_000 // self.packets) if self.packets else 0

    def __str__(self) -> str:
        if self.packets:
            return f"{self.packets}pps"
        return f"{self.bits}bit" if self.bits else "unlimited"


def parse_rate(text: str) -> Rate:
    """Return the rate that a text describes: "100", "100pps" or "5kpps" in packets a second, "10Mbit" in bits a second.

    Units are pps, bit, bps and bit/s, after k, M or G for a multiple of 1000; neither depends on upper or lower case.
    Fractions are rounded to whole packets or bits a second. "unlimited" and 0 are no limit. DeviceError for other texts
    and for more than 10**12.
    """
    if text.lower() == "unlimited":
        return Rate()
    found = _RATE.fullmatch(text.strip())
    if found is None:
        raise DeviceError(f"{text!r} is not a rate", hint="write packets a second, such as 100pps, or bits: 10Mbit")
    number, scale, unit = found.groups()
    value = round(float(number) * _SCALE[scale.lower()])
    return Rate(packets=value) if unit is None or unit.lower() == "pps" else Rate(bits=value)


def as_rate(rate: Rate | str | None) -> Rate | None:
    """Return the rate that a text describes, and a `Rate` or None as it is. DeviceError as for `parse_rate`."""
    return parse_rate(rate) if isinstance(rate, str) else rate


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """What can be set of a queue: its depth in packets (0 to 1,048,576), its rate, and its weight (0 to 100).

    A queue with weight 0 has strict priority over all with a lower number or with a weight. Queues with weights share
    what strict queues leave, in proportion, counted in bytes. DeviceError if depth or weight is out of its range.
    """

    depth: int = DEPTH
    rate: Rate = field(default_factory=Rate)
    weight: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.depth <= MOST_DEPTH:
            raise DeviceError(f"a queue's depth is 0 to {MOST_DEPTH} packets, not {self.depth}")
        if not 0 <= self.weight <= MOST_WEIGHT:
            raise DeviceError(f"a queue's weight is 0 (strict priority) to {MOST_WEIGHT}, not {self.weight}")


@dataclass(frozen=True, slots=True)
class QueueState:
    """A queue's settings, and its packets: `waiting` now, `peak` at most, and those queued, sent and dropped so far.

    The counts start with the program.
    """

    settings: QueueSettings
    waiting: int
    peak: int
    enqueued: int
    sent: int
    dropped: int


@dataclass(frozen=True, slots=True)
class QueueOptions:
    """The queues that a switch starts with, the same on all ports.

    queues: the number of queues of each port, 1 to 8; a packet's `priority` selects one
    depth: the packets that a queue holds, 0 to 1,048,576
    rate: of each queue, as a `Rate` or as text such as "100pps", "10Mbit" or "unlimited"
    port_rate: the rate at which a port takes packets from all of its queues together, in the same forms

    None is the default: a depth of 64 and no limit of the rate. DeviceError if a number is out of its range, or if a
    text is not a rate.
    """

    queues: int = 1
    depth: int | None = None
    rate: Rate | str | None = None
    port_rate: Rate | str | None = None

    def __post_init__(self) -> None:
        for name in ("rate", "port_rate"):
            value = getattr(self, name)
            object.__setattr__(self, name, as_rate(value))
        self.queueing()

    def queueing(self) -> Queueing:
        """Return new settings (`Queueing`) of the queues of one switch with these options.

        DeviceError if a number or a rate is out of its range.
        """
        made = Queueing(self.queues, port_rate=as_rate(self.port_rate))
        made.set(depth=self.depth, rate=as_rate(self.rate))
        return made

    @property
    def command_line(self) -> list[str]:
        """The options of `midflight switch` that give a switch these queues."""
        values = {
            "--priority-queues": self.queues, "--queue-depth": self.depth, "--queue-rate": self.rate,
            "--port-rate": self.port_rate,
        }  # fmt: skip
        return [word for name, value in values.items() if value is not None for word in (name, str(value))]


class Queueing:
    """The settings of all queues between ingress and egress of a switch. They outlive its programs.

    queues: the number of queues of each port, 1 to 8; a packet's `priority` selects one
    settings: of all queues at first, or None for the defaults
    port_rate: the rate of all ports at first, or None for no limit

    Changes take effect with `Engine.apply_queueing`. Ports are 0 to 511, and the queues of a port 0 to `queues` - 1.
    DeviceError for another port or queue, or a number of queues out of its range.
    """

    def __init__(
        self, queues: int = 1, settings: QueueSettings | None = None, *, port_rate: Rate | None = None
    ) -> None:
        if not 1 <= queues <= QUEUES:
            raise DeviceError(f"a port has 1 to {QUEUES} queues, not {queues}")
        self.queues = queues
        self.default = settings or QueueSettings()
        self._settings: dict[tuple[int, int], QueueSettings] = {}
        self._default_rate = port_rate or Rate()
        self._rates: dict[int, Rate] = {}
        self._configured = queues > 1 or settings is not None or port_rate is not None

    @property
    def configured(self) -> bool:
        """Whether anything was set, here or in the constructor, so that all programs get queues."""
        return self._configured

    def set(
        self,
        port: int | None = None,
        queue: int | None = None,
        *,
        depth: int | None = None,
        rate: Rate | None = None,
        weight: int | None = None,
    ) -> None:
        """Set depth, rate or weight of a queue; without `queue`, of all of the port; without `port`, of all ports.

        Values that are None stay as they are. DeviceError for a port that is not 0 to 511, a queue that the ports do
        not have, or a depth or weight that `QueueSettings` does not allow.
        """
        self._check(port, queue)
        values = {"depth": depth, "rate": rate, "weight": weight}
        given = {name: each for name, each in values.items() if each is not None}
        if not given:
            return
        numbers = range(self.queues) if queue is None else [queue]
        changed = {
            (at, number): replace(self._settings.get((at, number), self.default), **given)  # type: ignore[arg-type]
            for at in (range(PORTS) if port is None else [port])
            for number in numbers
        }
        if port is None and queue is None:
            self.default = replace(self.default, **given)  # type: ignore[arg-type]
            changed = {place: each for place, each in changed.items() if place in self._settings}
        self._settings.update(changed)
        self._configured = True

    def set_port(self, port: int | None = None, *, rate: Rate) -> None:
        """Set the rate at which a port takes packets from its queues. Without `port` (None), it is set for all ports.

        DeviceError if the port is not 0 to 511.
        """
        self._check(port, None)
        if port is None:
            self._default_rate = rate
            self._rates.clear()
        else:
            self._rates[port] = rate
        self._configured = True

    def get(self, port: int, queue: int = 0) -> QueueSettings:
        """Return the settings of a queue of a port, 0 to 511. DeviceError if there is no such port or queue."""
        self._check(port, queue)
        return self._settings.get((port, queue), self.default)

    def port_rate(self, port: int) -> Rate:
        """Return the rate at which a port takes packets from its queues. DeviceError if the port is not 0 to 511."""
        self._check(port, None)
        return self._rates.get(port, self._default_rate)

    @property
    def special(self) -> Mapping[tuple[int, int], QueueSettings]:
        """The settings of queues, by port and queue, set for single ports or queues; all others have `default`."""
        return self._settings

    def _check(self, port: int | None, queue: int | None) -> None:
        if port is not None and not 0 <= port < PORTS:
            raise DeviceError(f"ports are 0 to {PORTS - 1}, not {port}")
        if queue is not None and not 0 <= queue < self.queues:
            raise DeviceError(f"queues are 0 to {self.queues - 1}, not {queue}")
