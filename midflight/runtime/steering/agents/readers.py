"""The readers of a C-SMA: of the operating system, of services of ours, and of anybody's Prometheus metrics.

A reader is a function that returns readings by type of raw metric, and raises MidflightError if there are none.
"""

from __future__ import annotations

import json
import math
import socket
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from midflight.errors import MidflightError, UnsupportedError
from midflight.runtime.steering.agents.services import STATUS
from midflight.runtime.steering.metrics.catalogue import KINDS

__all__ = ["Machine", "Prometheus", "Reader", "service"]

Reader = Callable[[], Mapping[str, float]]

_LARGEST = 4 << 20  # octets of an answer


class Machine:
    """A reader of this machine's CPUs, memory and load: calling it returns the readings by type of raw metric.

    UnsupportedError if the extra `sma` is not installed.
    """

    def __init__(self) -> None:
        try:
            import psutil
        except ImportError:
            raise UnsupportedError(
                "reading the machine's load needs psutil", hint="pip install 'midflight[sma]'"
            ) from None
        self._psutil = psutil
        self._interval: float | None = 0.1

    def __call__(self) -> dict[str, float]:
        """Return the use (0 to 1) and number of CPUs, free and total memory in bytes, and the load of the last minute.

        The use of the CPUs is the mean since the last call; the first call measures it for 0.1 seconds.
        """
        interval, self._interval = self._interval, None
        memory = self._psutil.virtual_memory()
        return {
            "compute_cpu_utilization": self._psutil.cpu_percent(interval) / 100,
            "compute_cpu_cores": self._psutil.cpu_count() or 1,
            "compute_memory_free": memory.available,
            "compute_memory_size": memory.total,
            "compute_load": self._psutil.getloadavg()[0],
        }


def service(url: str, timeout: float = 1.0) -> Reader:
    """Return a reader of a service of ours: `http://host:port` or `udp://host:port`, as in `services.py`.

    The reader waits `timeout` seconds at most. It ignores names that are not in `KINDS`, and values that are not finite
    numbers. MidflightError if the URL has another scheme than http, https and udp, or no valid port; the reader raises
    it if the service does not answer with a JSON object.
    """
    parts, port = urlsplit(url), _port(url)
    if parts.scheme not in ("http", "https", "udp") or not parts.hostname or (parts.scheme == "udp" and not port):
        raise MidflightError(
            f"{url} is not a service's URL",
            hint="write http://host:port, udp://host:port, or prometheus:http://host:port/metrics",
        )

    def read() -> dict[str, float]:
        if parts.scheme == "udp":
            text = _ask(str(parts.hostname), port, timeout)
        else:
            text = _get(url.rstrip("/") + "/status", timeout)
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise MidflightError(f"{url} does not answer with its load in JSON")
        return {kind: float(value) for kind, value in found.items() if kind in KINDS and _is_number(value)}

    return read


class Prometheus:
    """A reader of metrics in Prometheus' text format.

    `names` says what each type of raw metric is there: `queue_depth`, a gauge; `seconds_sum/seconds_count`, the growth
    of one counter over that of another since the last scrape; or `rate(requests_total)`, a counter's growth a second.
    Samples of one name with different labels are added; `name{method="GET"}` selects those with certain labels. `clock`
    returns nanoseconds. MidflightError for an unknown type of raw metric, and for a URL with an invalid port.
    """

    def __init__(
        self,
        url: str,
        names: Mapping[str, str],
        timeout: float = 1.0,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        _port(url)
        for kind in names:
            if kind not in KINDS:
                raise MidflightError(f"there is no raw metric {kind}", hint=f"types: {', '.join(KINDS)}")
        self._url, self._names, self._timeout, self._clock = url, dict(names), timeout, clock
        self._last: dict[str, float] = {}
        self._at = 0

    def __call__(self) -> dict[str, float]:
        """Return the readings that the scrape has; those of growth are there from the second scrape on.

        MidflightError if the service does not answer, or not in Prometheus' format.
        """
        samples, now = self._scrape(), self._clock()
        found: dict[str, float] = {"service_available": 1}
        wanted: dict[str, float] = {}

        def grown(name: str) -> float | None:
            value = _sum(samples, name)
            if value is None:
                return None
            wanted[name] = value
            growth = value - self._last.get(name, math.inf)
            return growth if growth >= 0 else None  # the first scrape, or the service has restarted

        for kind, name in self._names.items():
            above, slash, below = name.partition("/")
            if slash:
                up, down = grown(above), grown(below)
                value = up / down if up is not None and down else None
            elif name.startswith("rate(") and name.endswith(")"):
                up = grown(name[5:-1])
                value = up / ((now - self._at) / 1e9) if up is not None and now > self._at else None
            else:
                value = _sum(samples, name)
            if value is not None and math.isfinite(value):
                found[kind] = value
        self._last, self._at = wanted, now
        return found

    def _scrape(self) -> list[tuple[str, Mapping[str, str], float]]:
        from prometheus_client.parser import text_string_to_metric_families

        text = _get(self._url, self._timeout)
        try:
            families = list(text_string_to_metric_families(text))
        except (ValueError, IndexError, KeyError) as error:
            raise MidflightError(f"{self._url} does not answer in Prometheus' text format: {error}") from None
        return [(each.name, each.labels, float(each.value)) for family in families for each in family.samples]


def _sum(samples: list[tuple[str, Mapping[str, str], float]], name: str) -> float | None:
    base, _, rest = name.strip().partition("{")
    pairs = (each.partition("=") for each in rest.rstrip("}").split(",") if each)
    wanted = {label.strip(): value.strip().strip('"') for label, _, value in pairs}
    found = [
        amount
        for sample, labels, amount in samples
        if sample == base and all(labels.get(label) == value for label, value in wanted.items())
    ]
    return math.fsum(found) if found else None


def _get(url: str, timeout: float) -> str:
    if urlsplit(url).scheme not in ("http", "https"):
        raise MidflightError(f"{url} is not an HTTP address")
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return str(answer.read(_LARGEST), "utf-8", "replace")
    except (OSError, ValueError) as error:
        raise MidflightError(f"{url} does not answer: {error}") from None


def _ask(host: str, port: int, timeout: float) -> str:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, socket.SOCK_DGRAM) as asking:
            asking.settimeout(timeout)
            asking.connect(address)
            asking.send(STATUS)
            return asking.recv(65_535).decode("utf-8", "replace")
    except OSError as error:
        raise MidflightError(f"udp://{host}:{port} does not answer: {error}") from None


def _port(url: str) -> int:
    """Return the port of a URL, or 0 if it has none. MidflightError for 65536 and more, which urllib would take
    modulo 65536.
    """
    try:
        return urlsplit(url).port or 0
    except ValueError:
        raise MidflightError(f"{url}: a port is 1 to 65535") from None


def _is_number(value: object) -> bool:
    """Return whether a value is a number that a float holds; NaN and infinity are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
