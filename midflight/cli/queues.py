"""`midflight queues`: read and set the queues of a running switch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from midflight.cli.options import client_tls, tls_options

if TYPE_CHECKING:
    from midflight.runtime.p4runtime.queuemessages import QueueReport

__all__ = ["queues", "report_lines"]

EPILOG = """\b
Examples:
  midflight queues                                           of the switch at 127.0.0.1:9559
  midflight queues --port 2                                  all queues of port 2
  midflight queues --port 2 --queue 1 --rate 100pps --depth 32
  midflight queues --port 2 --port-rate 10Mbit               of the port, for all of its queues together
  midflight queues --rate unlimited                          of all queues of all ports
  sudo midflight queues --device-of s1 --json                of a switch of a running network
"""


@click.command(epilog=EPILOG)
@click.option("--device-of", metavar="NAME", help="The switch with this name in a running network.")
@click.option("--grpc-addr", "address", metavar="ADDRESS", help="HOST:PORT or unix:PATH.  [default: 127.0.0.1:9559]")
@click.option("--port", metavar="N", type=click.IntRange(0, 511), help="The port.  [default: all]")
@click.option("--queue", metavar="N", type=click.IntRange(0, 7), help="The queue of the port.  [default: all]")
@click.option(
    "--depth", metavar="PACKETS", type=click.IntRange(0, 1 << 20), help="Set the depth: the most packets that wait."
)
@click.option("--rate", metavar="RATE", help="Set the rate, such as 100pps or 10Mbit; 0 or unlimited is no limit.")
@click.option("--weight", metavar="N", type=click.IntRange(0, 100), help="Set the weight, with 0 for strict priority.")
@click.option("--port-rate", metavar="RATE", help="Set the rate at which the port takes packets from all its queues.")
@tls_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def queues(
    device_of: str | None,
    address: str | None,
    port: int | None,
    queue: int | None,
    depth: int | None,
    rate: str | None,
    weight: int | None,
    port_rate: str | None,
    ca: Path | None,
    certificate: Path | None,
    key: Path | None,
    as_json: bool,
) -> None:
    """Print the queues between ingress and egress of a running switch, after applying the settings that options give.

    A setting applies to all queues of all ports that --port and --queue do not exclude. Settings stay when a controller
    loads another program. The switch is the one at --grpc-addr, by default 127.0.0.1:9559, or --device-of names one of
    a running `midflight net` network. Without --port, queues are not printed if they have the default settings and no
    packet has reached them.
    """
    from midflight.runtime.engine.queues import as_rate
    from midflight.runtime.p4runtime.client.queues import RemoteQueues
    from midflight.runtime.p4runtime.queuemessages import QueueRequest

    if device_of and address:
        raise click.UsageError("use either --device-of or --grpc-addr, not both")
    for each in (rate, port_rate):
        as_rate(each)  # refuses mistakes here, with a hint that the switch's answer would not have
    if device_of:
        from midflight.testbed.fabric.running import find_switch

        address = find_switch(device_of).address
    there = RemoteQueues(address or "127.0.0.1:9559", tls=client_tls(ca, certificate, key))
    report = there.answer(
        QueueRequest(port=port, queue=queue, depth=depth, rate=rate, weight=weight, port_rate=port_rate)
    )
    if as_json:
        click.echo(report.encode().decode())
        return
    for line in report_lines(report):
        click.echo(line)


def report_lines(report: QueueReport) -> list[str]:
    """Return a report as text, with a line for each queue."""
    lines = []
    for (port, queue), state in report.states.items():
        settings = state.settings
        kind = f"weight {settings.weight}" if settings.weight else "strict priority"
        limit = report.port_rates[port]
        rate = f"rate {settings.rate}" + (f", port {limit}" if str(limit) != "unlimited" else "")
        lines.append(
            f"port {port} queue {queue}: {state.waiting} of {settings.depth} packets wait, {rate}, {kind}; "
            f"peak {state.peak}, queued {state.enqueued}, sent {state.sent}, dropped {state.dropped}"
        )
    return lines or ["no packet has reached a queue, and all have the default settings"]
