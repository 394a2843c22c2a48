"""The retransmission timers of ranks."""

from __future__ import annotations

from midflight.runtime.endpoint.reliable import Timing

__all__ = ["timing"]

_HOUR = 3600 * 10**9


def timing(timeout: float) -> Timing:
    """Return the timers of the endpoints of a rank whose collectives time out after `timeout` seconds.

    Packets are hardly ever lost between processes of one machine, while processes that share its processors may answer
    late: so retransmissions wait at least 100 ms. The endpoints themselves never give up before the collective does.
    """
    patience = round(timeout * 10**9) + _HOUR
    return Timing(initial=500_000_000, minimum=100_000_000, maximum=1_000_000_000, patience=patience)
