"""The data plane of ptf for a switch under test, so that test cases of ptf run without interfaces and without root."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from midflight.errors import MidflightError
from midflight.testing.packets import Packet, as_bytes
from midflight.testing.switch import P4Switch

__all__ = ["Dataplane", "dataplane"]


class Dataplane:
    """What test cases use of ptf's `DataPlane`: `send`, `poll`, `flush`, and the types of the results of `poll`.

    The switch has processed a packet when `send` returns, so `poll` never waits, whatever its timeout. Device numbers
    are ignored, because there is one switch. `poll` and `flush` take the packets from the switch, whose `expect` then
    does not find them. Needs ptf.
    """

    def __init__(self, switch: P4Switch) -> None:
        from ptf.dataplane import DataPlane, match_exp_pkt

        self.PollSuccess = DataPlane.PollSuccess
        self.PollFailure = DataPlane.PollFailure
        self._matches: Callable[[Any, bytes], bool] = match_exp_pkt
        self._switch = switch
        self._waiting: list[tuple[int, bytes, float]] = []

    def send(self, device_number: int, port_number: int, packet: Packet) -> int:  # noqa: ARG002
        """Let a packet arrive by a port, and return its length in bytes. Errors are those of `P4Switch.send`."""
        data = as_bytes(packet)
        self._switch.send(port_number, data)
        return len(data)

    def poll(
        self,
        device_number: int = 0,
        port_number: int | None = None,
        timeout: float | None = None,  # noqa: ARG002
        exp_pkt: Any = None,
        filters: Sequence[Callable[[bytes], bool]] = (),
    ) -> Any:
        """Remove packets that left, by a port or with None by any, until one is like `exp_pkt` and passes all filters.

        Packets before it are discarded. Returns ptf's PollSuccess with it, or PollFailure with all that were removed.
        Without `exp_pkt`, the first packet that passes the filters counts.
        """
        self._take()
        seen: list[bytes] = []
        for port, data, at in [each for each in self._waiting if port_number in (None, each[0])]:
            self._waiting.remove((port, data, at))
            seen.append(data)
            if all(each(data) for each in filters) and (exp_pkt is None or self._matches(exp_pkt, data)):
                return self.PollSuccess(device_number, port, data, exp_pkt, at)
        return self.PollFailure(exp_pkt, seen, len(seen))

    def flush(self) -> None:
        """Discard the packets that have left."""
        self._take()
        self._waiting.clear()

    def _take(self) -> None:
        self._waiting += [(each.port, each.data, time.time()) for each in self._switch.received()]


@contextmanager
def dataplane(switch: P4Switch, ports: Sequence[int] = range(8), **config: Any) -> Iterator[Dataplane]:
    """Make a switch the data plane of ptf's test cases, as long as the context lasts.

    `ports` are those that ptf's `verify_no_other_packets` and the like look at. `config` are further settings for
    `ptf.config`, which take precedence. At the end, ptf's settings and data plane are as before. MidflightError if ptf
    is not installed.
    """
    try:
        import ptf
    except ImportError:
        raise MidflightError("ptf is not installed", hint="pip install ptf scapy") from None
    made = Dataplane(switch)
    settings: dict[str, Any] = {
        "log_dir": None, "log_file": os.devnull, "relax": False, "test_params": None,
        "port_map": {(0, each): f"port{each}" for each in ports}, **config,
    }  # fmt: skip
    before = dict(ptf.config), ptf.dataplane_instance
    ptf.config.update(settings)
    ptf.dataplane_instance = made
    try:
        yield made
    finally:
        ptf.config.clear()
        ptf.config.update(before[0])
        ptf.dataplane_instance = before[1]
