"""`midflight nma`: the network metric agent (C-NMA) of an ingress."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import TYPE_CHECKING

import click

from midflight.cli.agents import Loop, address, agent_options, stopping
from midflight.cli.options import FiniteRange

if TYPE_CHECKING:
    from midflight.runtime.steering.agents.cnma import PathAgent
    from midflight.runtime.steering.agents.reflector import ProbeSocket
    from midflight.runtime.steering.agents.stamp import Prober
    from midflight.runtime.steering.metrics import Update

__all__ = ["nma"]

EPILOG = """\b
Examples:
  midflight nma --reflect 127.0.0.1:8620           answer probes, at the other end of a path
  midflight nma --path 127.0.0.1:8620 --cs-id 10.9.9.9 --csci-id 10.0.0.5
  midflight nma --path 10.0.0.5=127.0.0.1:8620 --path 10.0.0.6=127.0.0.1:8621 --port eth0 --capacity 1e9
"""


@click.command(epilog=EPILOG)
@click.option(
    "--path",
    "paths",
    metavar="[CSCI-ID=]HOST:PORT",
    multiple=True,
    help="The reflector at the end of a path, and the instance there; by default that of --csci-id.",
)
@click.option("--reflect", metavar="HOST:PORT", help="Answer probes at this address instead; nothing else is done.")
@agent_options
@click.option("--port", "interface", metavar="INTERFACE", help="The interface whose counter gives the path's rate.")
@click.option(
    "--capacity",
    metavar="BPS",
    type=FiniteRange(0, min_open=True),
    help="The interface's capacity in bits a second, to compute its utilisation.",
)
@click.option(
    "--delay",
    default=0.05,
    show_default=True,
    type=FiniteRange(0, min_open=True),
    help="The delay, in seconds, that scores 0.",
)
@click.option(
    "--loss",
    default=0.02,
    show_default=True,
    type=FiniteRange(0, 1, min_open=True),
    help="The share of lost packets that scores 0.",
)
def nma(
    paths: tuple[str, ...],
    reflect: str | None,
    loop: Loop,
    interface: str | None,
    capacity: float | None,
    delay: float,
    loss: float,
) -> None:
    """Report delay, loss, rate and queue of paths to path selectors.

    Sends probes in the format of STAMP (RFC 8762) to reflectors, ten for each reading, and measures with their round
    trips, so clocks need not agree. With --port, the queue follows from the rate and the delay above the least; without
    it, rate and queue are not reported. Updates are printed, and sent only to the path selectors given with --to.

    With --reflect, answers the probes of other agents instead, until Ctrl-C.
    """
    from midflight.runtime.steering.agents.cnma import PathAgent, PortRate, gauges
    from midflight.runtime.steering.agents.reflector import ProbeSocket, Reflector
    from midflight.runtime.steering.agents.stamp import Prober

    if reflect is not None:
        with Reflector(*address(reflect)) as made, stopping() as stop:
            click.echo(f"reflecting at {made.address[0]}:{made.address[1]}")
            while not stop.is_set():
                made.serve(0.1)
        return
    if not paths:
        raise click.UsageError("name the end of a path with --path, or answer probes with --reflect")
    with ExitStack() as stack:
        polls = []
        for each in paths:
            csci_id, _, place = each.rpartition("=")
            prober = Prober()
            rate = PortRate(lambda: _octets(interface or "")) if interface else None
            agent = PathAgent(loop.publisher(csci_id), prober, gauges(delay=delay, loss=loss), rate, capacity)
            probes = stack.enter_context(ProbeSocket(prober, *address(place)))
            polls.append(_poll(agent, prober, probes, loop))
        loop.run(*polls)


def _poll(agent: PathAgent, prober: Prober, probes: ProbeSocket, loop: Loop) -> Callable[[int], Update | None]:
    """Return a function that probes a path and returns an update if one is due."""

    def poll(_: int) -> Update | None:
        for _ in range(10):
            probes.send()
            probes.receive(0.05)
        while prober.waiting(loop.now()) and probes.receive(0.2):
            pass
        return agent.poll(loop.now())

    return poll


def _octets(interface: str) -> int:
    from midflight.errors import MidflightError, UnsupportedError

    try:
        import psutil
    except ImportError:
        raise UnsupportedError("reading an interface needs psutil", hint="pip install 'midflight[sma]'") from None
    counters = psutil.net_io_counters(pernic=True)
    if interface not in counters:
        raise MidflightError(f"there is no interface {interface}", hint=f"the interfaces are {', '.join(counters)}")
    return int(counters[interface].bytes_sent)
