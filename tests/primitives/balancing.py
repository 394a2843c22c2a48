"""Programs that steer requests, with golden files of their P4."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from midflight.primitives import Balance, Limit, Program, Steering, Telemetry

__all__ = ["BALANCING"]

BALANCING: Mapping[str, Callable[[], Program]] = {
    "balance": lambda: Program(Balance("pool", instances=8, buckets=16, table={0: (1, 2)})),
    "steering": lambda: Program(
        Balance("pool", instances=8, buckets=16, table={0: (1, 2)}),
        Steering(services=4, rules=8, pools=8, buckets=64, instances=8),
    ),
    "telemetry": lambda: Program(Telemetry("path", hops=2)),
    "limit": lambda: Program(Limit("classes", rate=1000, burst=8, excess=4, classes=8)),
}
