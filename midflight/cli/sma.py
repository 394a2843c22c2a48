"""`midflight sma`: the service metric agent (C-SMA) beside one instance of a service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from midflight.cli.agents import Loop, agent_options
from midflight.cli.controlled import state_option
from midflight.cli.options import FiniteRange

if TYPE_CHECKING:
    from midflight.runtime.steering.agents.readers import Reader
    from midflight.runtime.steering.agents.switch import Snapshot
    from midflight.runtime.steering.metrics import Update

__all__ = ["sma"]

EPILOG = """\b
Services:
  http://127.0.0.1:8080                      a service of ours, which reports its load at /status
  udp://127.0.0.1:9000                       the same over UDP
  prometheus:http://127.0.0.1:9464/metrics   anybody's, with --map
  switch:cache                               a primitive in a switch of a running controller, read in-band

\b
Examples:
  midflight sma --service http://127.0.0.1:8080 --cs-id 10.9.9.9 --csci-id 10.0.0.5
  midflight sma --service switch:cache --cs-id 10.9.9.9 --csci-id 10.0.0.5 --to 127.0.0.1:7700
  midflight sma --service prometheus:http://127.0.0.1:9464/metrics --cs-id 10.9.9.9 --csci-id 10.0.0.5
      --map service_queue_length=queue_depth --map service_time=seconds_sum/seconds_count
      --map 'service_request_rate=rate(requests_total)' --key edge.key --to 127.0.0.1:7700
"""


@click.command(epilog=EPILOG)
@click.option("--service", "url", metavar="SERVICE", required=True, help="The service whose load is read; see below.")
@agent_options
@click.option(
    "--map",
    "names",
    metavar="METRIC=NAME",
    multiple=True,
    help="Take a metric of ours from this metric of a Prometheus scrape. May be repeated.",
)
@click.option("--switch", default="", help="The switch, if several run the application.")
@state_option
@click.option(
    "--queue",
    default=64.0,
    show_default=True,
    type=FiniteRange(0, min_open=True),
    help="The queue length, in requests, that scores 0.",
)
@click.option(
    "--service-time",
    default=0.1,
    show_default=True,
    type=FiniteRange(0, min_open=True),
    help="The service time, in seconds, that scores 0.",
)
def sma(
    url: str,
    loop: Loop,
    names: tuple[str, ...],
    switch: str,
    state: Path | None,
    queue: float,
    service_time: float,
) -> None:
    """Report the load of one instance of a service to path selectors.

    Reads the machine's load and the service's queue length, concurrency and service time; of a primitive in a switch,
    its free slots, its hit rate and the room of the pipeline. Scores them from 0 to 10, and prints an update at least
    every --interval seconds. In between, it prints one when a score changes by --threshold points, or to or from 0:
    three at once, and then one in five seconds. A service that does not answer scores 0. Updates are sent only to the
    path selectors given with --to.
    """
    from midflight.runtime.steering.agents import csma, readers

    kind, _, rest = url.partition(":")
    slots, hits = 0, False
    if kind == "switch":
        reader, slots, hits = _switch(rest, switch, state)
    elif kind == "prometheus":
        reader = readers.Prometheus(rest, _names(names))
    else:
        reader = readers.service(url)
    machine = None if kind == "switch" else readers.Machine()
    scored = csma.gauges(queue=queue, service_time=service_time, slots=slots, hits=hits)
    agent = csma.ServiceAgent(loop.publisher(), reader, machine, scored)
    said = ""

    def poll(now: int) -> Update | None:
        nonlocal said
        found = agent.poll(now)
        if agent.failure != said:
            said = agent.failure
            click.echo(said or f"{url} answers again", err=True)
        return found

    loop.run(poll)


def _names(pairs: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for each in pairs:
        kind, equals, name = each.partition("=")
        if not equals or not name:
            raise click.BadParameter(f"{each!r} is not METRIC=NAME", param_hint="--map")
        found[kind] = name
    return found


def _switch(application: str, switch: str, state: Path | None) -> tuple[Reader, int, bool]:
    """Return a reader of a primitive, the number of its slots, and whether it is a cache, whose hits count."""
    from midflight.cli.controlled import call
    from midflight.runtime.steering.agents.switch import Snapshot, SwitchReader
    from midflight.runtime.steering.metrics import Room

    def ask() -> dict[str, Any]:
        return call(state, "resources", application=application, switch=switch)

    def take() -> Snapshot:
        found = ask()["snapshot"]
        return Snapshot(**{**found, "room": Room(**found["room"])})

    first = ask()
    return SwitchReader(take), first["snapshot"]["slots"], first["primitive"] == "Cache"
