"""Shared parts of the commands that run metric agents: their options, and the loop that reads and sends."""

from __future__ import annotations

import functools
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from midflight.cli.options import FiniteRange

if TYPE_CHECKING:
    from midflight.runtime.steering.agents.publisher import Publisher
    from midflight.runtime.steering.metrics import Update

__all__ = ["Loop", "address", "agent_options", "stopping"]

DAY = 86_400.0  # seconds


@dataclass(frozen=True)
class Loop:
    """The options that all commands of metric agents have, as `agent_options` passes them.

    `cs_id` and `csci_id` are the ids of the service and the instance, `interval` and `threshold` those of `Schedule`
    (seconds and points), `period` the seconds between two readings, `count` the number of readings (None: until
    Ctrl-C), `to` the receivers as HOST:PORT, `keys` the files of the keys that sign updates, by CSCI-ID, with that of
    all others under "" (without one, they are unsigned), and `as_json` whether updates are printed as JSON.
    """

    cs_id: str
    csci_id: str
    interval: float
    period: float
    threshold: int
    count: int | None
    to: tuple[str, ...]
    keys: Mapping[str, Path]
    as_json: bool

    def now(self) -> int:
        """Return the time in nanoseconds since 1970."""
        return time.time_ns()

    def publisher(self, csci_id: str = "") -> Publisher:
        """Return a publisher for the instance `csci_id`, by default that of the options.

        MidflightError if the schedule makes no sense.
        """
        from midflight.runtime.steering.agents.publisher import Publisher, Schedule

        interval = int(self.interval * 1e9)
        schedule = Schedule(interval, validity=interval * 7 // 2, threshold=self.threshold)
        # Seconds since 1970: an agent that starts again continues with larger numbers.
        return Publisher(self.cs_id, csci_id or self.csci_id, schedule, first=self.now() // 1_000_000_000)

    def run(self, *polls: Callable[[int], Update | None]) -> None:
        """Call each of `polls` every `period` seconds with the time, in nanoseconds since 1970. Print the updates that
        they return, and send them to the receivers.

        One call of all polls is a reading. Ends after `count` readings, if there is a count, or when Ctrl-C or SIGTERM
        arrives. MidflightError for a wrong receiver or key, and whatever a poll raises.
        """
        from midflight.runtime.steering.agents.channel import Sender
        from midflight.runtime.steering.trust.keys import SigningKey

        keys = {name: SigningKey.load(file) for name, file in self.keys.items()}
        with Sender([address(each) for each in self.to], keys.get(""), keys) as sender, stopping() as stop:
            readings = 0
            while not stop.is_set():
                for each in polls:
                    if update := each(self.now()):
                        if self.to:
                            sender.send(update)
                        click.echo(self._text(update))
                readings += 1
                if self.count is not None and readings >= self.count:
                    break
                stop.wait(self.period)

    def _text(self, update: Update) -> str:
        if self.as_json:
            from midflight.runtime.steering.metrics import yang

            return yang.dumps([update], indent=None)
        scores = ", ".join(f"{each.kind} {each.value}" for each in update.scores)
        raw = ", ".join(f"{each.kind} {each.value:.6g}" for each in update.raw)
        return f"{update.csci_id} #{update.sequence}: {scores}\n    {raw}"


def _keys(_context: click.Context, _parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, Path]:
    """Return key files by CSCI-ID, "" for that of all others. A file's name may contain "=", too."""
    from ipaddress import ip_address

    found: dict[str, Path] = {}
    for each in given:
        name, _, file = each.partition("=")
        try:
            name = str(ip_address(name))
        except ValueError:
            name, file = "", each
        if name in found:
            raise click.BadParameter(f"there are two keys for {name or 'all instances'}")
        found[name] = Path(file)
    return found


def agent_options(command: Callable[..., object]) -> Callable[..., object]:
    """Add the options of `Loop`, which the command receives as `loop`."""

    @functools.wraps(command)
    def wrapped(**given: Any) -> object:
        parts = {name: given.pop(name) for name in Loop.__dataclass_fields__}
        return command(loop=Loop(**parts), **given)

    options = [
        click.option(
            "--cs-id",
            metavar="ADDRESS",
            default="::",
            show_default=True,
            help="The service: its anycast IP address.",
        ),
        click.option(
            "--csci-id", metavar="ADDRESS", default="::1", show_default=True, help="The instance: its IP address."
        ),
        click.option(
            "--to",
            metavar="HOST:PORT",
            multiple=True,
            help="A path selector to send updates to, over UDP. May be repeated.",
        ),
        click.option(
            "--key",
            "keys",
            metavar="[CSCI-ID=]FILE",
            multiple=True,
            callback=_keys,
            help="The private key that signs the updates of an instance, or of all others. May be repeated.",
        ),
        click.option(
            "--interval",
            default=10.0,
            show_default=True,
            type=FiniteRange(0.01, DAY),
            help="The longest time between updates, in seconds.",
        ),
        click.option(
            "--period", default=1.0, show_default=True, type=FiniteRange(0, DAY), help="Seconds between readings."
        ),
        click.option(
            "--threshold",
            default=2,
            show_default=True,
            type=click.IntRange(1, 10),
            help="Points by which a score must change to be sent before the interval ends.",
        ),
        click.option(
            "--count",
            metavar="N",
            type=click.IntRange(1),
            help="End after N readings.  [default: run until Ctrl-C]",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print updates as JSON by the YANG model, one a line."),
    ]
    for each in reversed(options):
        wrapped = each(wrapped)
    return wrapped


def address(text: str) -> tuple[str, int]:
    """Return the host and port of `host:port` or `[host]:port`. MidflightError if the text is neither."""
    from midflight.errors import MidflightError

    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or not 0 <= int(port) < 1 << 16 or not host:
        raise MidflightError(f"{text!r} is not an address", hint="write it like 127.0.0.1:7700 or [::1]:7700")
    return host.removeprefix("[").removesuffix("]"), int(port)


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """Return an event that Ctrl-C and SIGTERM set, while the context is open and in the main thread."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    before = {each: signal.signal(each, lambda *_: stop.set()) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
