"""Messages about the queues of a running switch: the RPC Queues of midflight.v1.Switch, beside P4Runtime, in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from operator import index

from midflight.errors import DeviceError
from midflight.runtime.engine.queues import QueueSettings, QueueState, Rate, parse_rate

__all__ = ["METHOD", "SERVICE", "QueueReport", "QueueRequest"]

SERVICE, METHOD = "midflight.v1.Switch", "Queues"

_TEXTS = ("rate", "port_rate")


@dataclass(frozen=True, slots=True)
class QueueRequest:
    """A request that may change the settings of a device's queues, and is answered with a `QueueReport`.

    device_id: the P4Runtime device id, 0 for any
    port: 0 to 511, or None for all ports
    queue: the number of a queue of the port, or None for all
    depth, rate, weight: the new settings of these queues; None leaves a setting unchanged
    port_rate: the new rate at which these ports take packets from their queues, or None

    Depths are in packets. Rates are text such as "100pps", "10Mbit" or "unlimited".
    """

    device_id: int = 0
    port: int | None = None
    queue: int | None = None
    depth: int | None = None
    rate: str | None = None
    weight: int | None = None
    port_rate: str | None = None

    @property
    def changes(self) -> bool:
        """Whether the request changes settings."""
        return any(each is not None for each in (self.depth, self.rate, self.weight, self.port_rate))

    def encode(self) -> bytes:
        """Return the request as a JSON object in UTF-8, without the fields that are None.

        Integers may be NumPy's. DeviceError for a value of a type that JSON does not have.
        """
        given = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps(given, default=_plain).encode()

    @classmethod
    def decode(cls, data: bytes) -> QueueRequest:
        """Return the request that `encode` made these bytes from.

        ValueError if they are not such a request. Whether numbers and rates are in their ranges is not checked.
        """
        try:
            found = json.loads(data)
        except RecursionError:
            raise ValueError("not a request for queues") from None
        known = {each.name for each in fields(cls)}
        if not isinstance(found, dict) or not known.issuperset(found):
            raise ValueError("not a request for queues")
        for name, value in found.items():
            if type(value) is not (str if name in _TEXTS else int):
                raise ValueError(f"{name} has the wrong type")
        return cls(**found)


@dataclass(frozen=True, slots=True)
class QueueReport:
    """The queues that a request concerns.

    count: the number of queues of each port
    states: settings and packet counts, by (port, queue)
    port_rates: the rate at which a port takes packets from its queues, by port; it has the ports of `states`
    """

    count: int
    states: Mapping[tuple[int, int], QueueState]
    port_rates: Mapping[int, Rate]

    def encode(self) -> bytes:
        """Return the report as a JSON object in UTF-8."""
        rows = [
            {
                "port": port,
                "queue": queue,
                "depth": state.settings.depth,
                "rate": str(state.settings.rate),
                "weight": state.settings.weight,
                **{name: getattr(state, name) for name in _COUNTS},
            }
            for (port, queue), state in self.states.items()
        ]
        ports = {str(port): str(rate) for port, rate in self.port_rates.items()}
        return json.dumps({"count": self.count, "queues": rows, "port_rates": ports}).encode()

    @classmethod
    def decode(cls, data: bytes) -> QueueReport:
        """Return the report that `encode` made these bytes from.

        ValueError if they are not such a report, also if a value has the wrong type or is out of its range.
        """
        try:
            found = json.loads(data)
            states = {
                (_whole(each, "port"), _whole(each, "queue")): QueueState(
                    QueueSettings(_whole(each, "depth"), parse_rate(each["rate"]), _whole(each, "weight")),
                    *(_whole(each, name) for name in _COUNTS),
                )
                for each in found["queues"]
            }
            ports = {int(port): parse_rate(rate) for port, rate in found["port_rates"].items()}
            return cls(_whole(found, "count"), states, ports)
        except (KeyError, TypeError, AttributeError, RecursionError, DeviceError) as error:
            raise ValueError("not a report about queues") from error


def _plain(value: object) -> int:
    try:
        return index(value)  # type: ignore[arg-type]
    except TypeError:
        raise DeviceError(f"{value!r} is not a whole number") from None


def _whole(row: Mapping[str, object], name: str) -> int:
    value = row[name]
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} has the wrong type")
    return value


_COUNTS = ("waiting", "peak", "enqueued", "sent", "dropped")
