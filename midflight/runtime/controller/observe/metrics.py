"""Prometheus metrics of a controller, in a registry that is not shared with other metrics of the process."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from midflight.errors import MidflightError
from midflight.runtime.controller.observe.events import Event
from midflight.runtime.p4runtime.client.link import Observer

__all__ = ["Metrics", "Reading", "SwitchReading"]

_BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


@dataclass(frozen=True, slots=True)
class SwitchReading:
    """A sample of one switch: whether it has a session, how many applications are admitted on it, and its counters.

    `packets` and `octets` (bytes) count requests by application name and port of the switch; the port is "any" for an
    application that is admitted on all ports. `drops` counts packets that the switch dropped, by reason, and `dropped`
    packets that applications dropped, by name. `refused` counts requests that it forwarded without computing on them,
    by reason. All counters are None if the switch does not answer.
    """

    session: bool
    admissions: int = 0
    packets: dict[tuple[str, str], int] | None = None
    octets: dict[tuple[str, str], int] | None = None
    drops: dict[str, int] | None = None
    dropped: dict[str, int] | None = None
    refused: dict[str, int] | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """A sample of a controller: its epoch, and a sample of each switch by name."""

    epoch: int
    switches: dict[str, SwitchReading]


class Metrics:
    """The Prometheus metrics of one controller: it counts events, alerts and requests, and samples the switches at a
    scrape.

    As a sink of `Deployment` it is called with each event. `registry` holds the metrics.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.read: Callable[[], Reading] | None = None
        """Called at each scrape to sample the controller and its switches. Without it, scrapes lack these values."""
        self._writes = Counter(
            "midflight_writes", "Write requests to switches", ["switch", "outcome"], registry=self.registry
        )
        self._seconds = Histogram(
            "midflight_request_seconds",
            "Time that P4Runtime requests took",
            ["switch", "request"],
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._events = Counter("midflight_events", "Events, as in the log", ["event"], registry=self.registry)
        self._alerts = Counter(
            "midflight_alerts", "Alerts of kernels", ["switch", "application"], registry=self.registry
        )
        self.registry.register(self)
        self.counts: dict[str, dict[str, int]] = {}
        """The number of write requests, by switch name and by outcome: "taken" or "refused"."""

    def observer(self, switch: str) -> Observer:
        """Return a function to be called after each P4Runtime request to a switch, which counts and times it.

        Its arguments are the request's name, such as "Write", its duration in seconds, and whether it succeeded.
        """
        counts = self.counts.setdefault(switch, {"taken": 0, "refused": 0})

        def observe(request: str, seconds: float, succeeded: bool) -> None:
            self._seconds.labels(switch, request).observe(seconds)
            if request == "Write":
                outcome = "taken" if succeeded else "refused"
                counts[outcome] += 1
                self._writes.labels(switch, outcome).inc()

        return observe

    def __call__(self, event: Event) -> None:
        """Count an event by its kind."""
        self._events.labels(event.kind).inc()

    def alerted(self, switch: str, application: str) -> None:
        """Count an alert of an application on a switch, both given by name."""
        self._alerts.labels(switch, application).inc()

    def serve(self, port: int, address: str = "127.0.0.1") -> tuple[int, Callable[[], None]]:
        """Serve the metrics over HTTP in a thread. Return the TCP port, and a function that stops the server.

        Port 0 chooses a free port. It listens on `address`, by default only on loopback. MidflightError if the port
        cannot be bound or is not 0 to 65535.
        """
        if not 0 <= port <= 65_535:
            raise MidflightError(f"cannot serve metrics on port {port}", hint="a port is 0 to 65535")
        try:
            server, thread = start_http_server(port, addr=address, registry=self.registry)
        except OSError as error:
            raise MidflightError(f"cannot serve metrics on {address}:{port}: {error.strerror}") from None

        def close() -> None:
            server.shutdown()
            server.server_close()
            thread.join()

        return server.server_port, close

    def describe(self) -> Iterable[Metric]:
        """Return nothing: Prometheus' client calls it, but the metrics of `collect` are only known at a scrape."""
        return ()

    def collect(self) -> Iterator[Any]:
        """Yield the metrics of the controller and its switches, sampled now by `read`: called by Prometheus' client.

        Sends requests to the switches, and blocks until they have answered. Yields nothing if `read` is not set.
        """
        if self.read is None:
            return
        reading = self.read()
        yield GaugeMetricFamily("midflight_epoch", "Current epoch", value=reading.epoch)
        sessions = GaugeMetricFamily("midflight_session", "Whether there is a session with a switch", labels=["switch"])
        admissions = GaugeMetricFamily("midflight_admissions", "Applications that a switch computes", labels=["switch"])
        labels = ["switch", "application", "port"]
        packets = CounterMetricFamily("midflight_packets", "Requests that arrived for an application", labels=labels)
        octets = CounterMetricFamily("midflight_bytes", "Bytes of those requests", labels=labels)
        drops = CounterMetricFamily(
            "midflight_drops", "Packets that a switch dropped", labels=["switch", "application", "reason"]
        )
        refused = CounterMetricFamily(
            "midflight_refused", "Requests that were forwarded without computing", labels=["switch", "reason"]
        )
        for switch, each in reading.switches.items():
            sessions.add_metric([switch], int(each.session))
            admissions.add_metric([switch], each.admissions)
            for family, values in ((packets, each.packets), (octets, each.octets)):
                for (application, port), value in (values or {}).items():
                    family.add_metric([switch, application, port], value)
            for reason, value in (each.drops or {}).items():
                drops.add_metric([switch, "", reason], value)
            for application, value in (each.dropped or {}).items():
                drops.add_metric([switch, application, "application"], value)
            for reason, value in (each.refused or {}).items():
                refused.add_metric([switch, reason], value)
        yield from (sessions, admissions, packets, octets, drops, refused)
