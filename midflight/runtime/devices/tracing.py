"""Traces of packets through a switch: from the embedded switch over P4Runtime, from BMv2 out of its log.

A trace lists the steps of one packet: parser states, tables, actions, and where it left.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Protocol

from midflight.runtime.devices.base import Device
from midflight.runtime.p4runtime.client.session import Session

__all__ = ["LogTracer", "Tracer", "open_tracer"]

# The maximum number of packets in progress while reading a log. Beyond it, the oldest ones count as complete.
MOST = 256


class Tracer(Protocol):
    """Collects traces of a switch's packets, from its creation until it is closed."""

    def take(self) -> list[str]:
        """Remove and return the traces that are complete, one text for each packet. Does not wait for any.

        The first line names the port by which it arrived; each further line is a step.
        """

    def close(self) -> list[str]:
        """Stop tracing, and return the traces that `take` has not returned, also incomplete ones.

        DeviceError if the switch no longer answers.
        """


def open_tracer(device: Device, session: Session) -> Tracer:
    """Start tracing a device's packets. `session` must be the primary controller's.

    The tracer reads a BMv2's log file, which must be on this machine. From other switches, traces come through
    `session`, which gets those of one tracer at a time. DeviceError for a BMv2 with another log level than "trace", for
    a switch that does not support tracing, such as an XDP device, and if the session is not the primary's or the switch
    does not answer; nothing is traced then.
    """
    log = getattr(device, "packet_log", None)
    if log is None:
        return _SwitchTracer(session)
    return LogTracer(log(), {each.preamble.name for each in session.p4info.tables})


class _SwitchTracer:
    def __init__(self, session: Session) -> None:
        self._session = session
        session.trace(True)

    def take(self) -> list[str]:
        return self._session.traces()

    def close(self) -> list[str]:
        self._session.trace(False)
        return self._session.traces()


# "[15:43:01.123] [bmv2] [D] [thread 7] [3.1] [cxt 0] Table 'ingress.route': miss", where 3.1 is copy 1 of packet 3.
_LINE = re.compile(r"\[[\d:.]+\] \[bmv2\] \[\w\] \[thread \d+\] \[(\d+)\.\d+\] \[cxt \d+\] (.*)")
_STEPS = tuple(
    (re.compile(pattern), what, how)
    for pattern, what, how in (
        (r"Parser '.*' entering state '(.*)'", "parser", r"\1"),
        (r"Exception while parsing: (\w+)", "parser", r"reject (\1)"),
        (r"Parser '.*': end", "parser", "accept"),
        (r"Table '(.*)': hit with handle \d+", "table", r"\1: hit"),
        (r"Table '(.*)': miss", "table", r"\1: miss"),
        (r"Action entry is (\S*) - ?(.*)", "action", r"\1"),
        (r".*Primitive digest<(\w+)>.*", "digest", r"\1"),
        (r"Cloning packet at (\w+)", "clone", r"in \1"),
        (r"Resubmitting packet", "resubmit", ""),
        (r"Multicast requested for packet", "multicast", ""),
        (r"Replicating packet on port (\d+)", "egress", r"port \1"),
        (r"Egress port is (\d+)", "egress", r"port \1"),
        (r"Dropping packet at the end of (\w+)", "dropped", r"in \1"),
        (r"Recirculating packet", "recirculate", ""),
        (r"Transmitting packet of size (\d+) out of port (\d+)", "out", r"by port \2, \1 bytes"),
    )
)
_ARRIVAL = re.compile(r"Processing packet received on port (\d+)")
DROP_PORT = "port 511"


class LogTracer:
    """A `Tracer` that reads the log file of a BMv2 switch, from the end that it has now.

    A trace counts as complete if a call of `take` adds nothing to it. If more than 256 packets are in progress, the
    oldest traces are returned unfinished. `tables` are the names of the program's tables. Tables that p4c generates for
    statements are left out, and so are their actions.
    """

    def __init__(self, log: Path, tables: Collection[str]) -> None:
        self._log = log
        self._tables = tables
        self._unnamed: set[str] = set()
        """The packets whose last table is not in the program, so that their action is left out as well."""
        self._at = log.stat().st_size
        self._rest = b""
        self._packets: dict[str, list[tuple[str, str]]] = {}
        self._ports: dict[str, str] = {}

    def take(self) -> list[str]:
        """Read what was appended to the log; remove and return the traces that have become complete."""
        with self._log.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        self._at += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        touched: set[str] = set()
        for line in lines:
            if found := _LINE.match(line.decode(errors="replace")):
                self._take_line(*found.groups())
                touched.add(found[1])
        crowd = list(self._packets)[: max(0, len(self._packets) - MOST)]
        return [self._finish(each) for each in list(self._packets) if each not in touched or each in crowd]

    def close(self) -> list[str]:
        """Read what was appended to the log, and return all traces that `take` has not returned, also
        incomplete ones.
        """
        complete = self.take()
        return complete + [self._finish(number) for number in list(self._packets)]

    def _take_line(self, number: str, text: str) -> None:
        if arrival := _ARRIVAL.fullmatch(text):
            self._ports.setdefault(number, arrival[1])
            self._packets.setdefault(number, [])
        if number not in self._packets:
            return  # a packet that arrived before tracing started
        steps = self._packets[number]
        for pattern, what, how in _STEPS:
            if found := pattern.fullmatch(text):
                if what == "table":
                    (self._unnamed.discard if found[1] in self._tables else self._unnamed.add)(number)
                if what not in ("table", "action") or number not in self._unnamed:
                    self._add(steps, what, found.expand(how))
                return

    @staticmethod
    def _add(steps: list[tuple[str, str]], what: str, how: str) -> None:
        last = steps[-1] if steps else ("", "")
        if what == "parser" and last[0] == "parser":
            if not (how == "accept" and last[1].endswith(")")):
                steps[-1] = (what, f"{last[1]}, {how}")
        elif what == "action":
            if last[0] == "table":
                steps[-1] = ("table", f"{last[1]}, {how}")
        elif (what, how) != ("egress", DROP_PORT):
            steps.append((what, how))

    def _finish(self, number: str) -> str:
        self._unnamed.discard(number)
        lines = [f"in by port {self._ports.pop(number)}"]
        return "\n".join([*lines, *(f"  {what:<10} {how}" for what, how in self._packets.pop(number))])
