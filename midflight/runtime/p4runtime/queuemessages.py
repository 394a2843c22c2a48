"""Messages about the queues of a running switch: the RPC Queues of midflight.v1.Switch, beside P4Runtime, in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from midflight.runtime.engine.queues import QueueSettings, QueueState, Rate, parse_rate

__all__ = ["METHOD", "SERVICE", "QueueReport", "QueueRequest"]

SERVICE, METHOD = "midflight.v1.Switch", "Queues"

_TEXTS = ("rate", "port_rate")


@dataclass(frozen=True, slots=True)
class QueueRequest:
    """A request for the queues of a device, after a change if `depth`, `rate`, `weight` or `port_rate` is given.

    Without `queue`, it concerns all queues of the port, and without `port`, those of all ports. Rates are text such as
    "100pps", "10Mbit" or "unlimited".
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
        """Return the request as a JSON object in UTF-8, without the fields that are None."""
        return json.dumps({name: value for name, value in asdict(self).items() if value is not None}).encode()

    @classmethod
    def decode(cls, data: bytes) -> QueueRequest:
        """Return the request that `encode` made these bytes from. ValueError if they are not such a request."""
        found = json.loads(data)
        known = {each.name for each in fields(cls)}
        if not isinstance(found, dict) or not known.issuperset(found):
            raise ValueError("not a request for queues")
        for name, value in found.items():
            if type(value) is not (str if name in _TEXTS else int):
                raise ValueError(f"{name} has the wrong type")
        return cls(**found)


@dataclass(frozen=True, slots=True)
class QueueReport:
    """The queues of a device: their number at each port, their states by port and queue, and the ports' rates."""

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
        """Return the report that `encode` made these bytes from. ValueError if they are not such a report."""
        found = json.loads(data)
        try:
            states = {
                (each["port"], each["queue"]): QueueState(
                    QueueSettings(each["depth"], parse_rate(each["rate"]), each["weight"]),
                    *(each[name] for name in _COUNTS),
                )
                for each in found["queues"]
            }
            ports = {int(port): parse_rate(rate) for port, rate in found["port_rates"].items()}
            return cls(found["count"], states, ports)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("not a report about queues") from error


_COUNTS = ("waiting", "peak", "enqueued", "sent", "dropped")
