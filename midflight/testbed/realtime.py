"""Whether a P4 program asks for time, which a device with a clock of its own answers in real time."""

from __future__ import annotations

import re

__all__ = ["asks_for_time"]

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_ASKS = re.compile(
    r"\b(ingress_global_timestamp|egress_global_timestamp|enq_timestamp|deq_timedelta)\b|\b((?:direct_)?meter)\s*[(<]"
)


def asks_for_time(text: str) -> str:
    """Return the first thing in a P4 text by which it asks for time, such as a timestamp or a meter; empty if none.

    In a simulated network, packets pass in virtual time. A device whose clock is real, such as BMv2, measures the time
    that the simulation takes instead, so that meters and timeouts there do not do what the program's author means.
    """
    found = _ASKS.search(_COMMENT.sub(" ", text))
    return "" if found is None else found[1] or found[2]
