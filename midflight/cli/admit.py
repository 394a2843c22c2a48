"""`midflight admit`: start computing an application, through a running controller."""

from __future__ import annotations

import json
from pathlib import Path

import click

from midflight.cli.controlled import call, json_option, names, show, state_option
from midflight.cli.options import writable_folder

__all__ = ["admit"]

EPILOG = """\b
Examples:
  midflight admit pressure                                  compute on the requests of all hosts
  midflight admit pressure --hosts h1,h2 --switch s1 --rate 1000
  midflight admit gradients --hosts h1,h2 --server h5 --tickets .
                                                            an Aggregate; writes ticket-h1.json, ticket-h2.json

\b
A worker on h1, in Python:
  from midflight.runtime.endpoint.ticket import TicketWorker
  with TicketWorker.read("ticket-h1.json") as worker:
      total = worker.sum(array)
"""


@click.command(epilog=EPILOG)
@click.argument("name")
@click.option(
    "--hosts", metavar="H1,H2", default="", help="The hosts that take part; for an Aggregate, its workers in order."
)
@click.option("--senders", metavar="H1,H2", default="", help="Hosts that send requests but receive no multicasts.")
@click.option("--server", default="", help="The host that an Aggregate's workers address their requests to.")
@click.option("--switch", default="", help="The switch, if several run the application.")
@click.option("--port", type=click.IntRange(1, 65535), help="The UDP port of multicasts.  [default: 49152 + id]")
@click.option(
    "--rate",
    metavar="N",
    type=click.IntRange(0),
    help="Compute on at most N requests a second from each port of a switch; 0 is no limit.",
)
@click.option(
    "--tickets",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    callback=writable_folder,
    help="Write the workers' tickets to this folder, one file each.",
)
@state_option
@json_option
def admit(
    name: str,
    hosts: str,
    senders: str,
    server: str,
    switch: str,
    port: int | None,
    rate: int | None,
    tickets: Path | None,
    state: Path | None,
    as_json: bool,
) -> None:
    """Start computing application NAME.

    For an Aggregate, this starts a job of the workers on --hosts. Each worker gets a ticket, a JSON object with its
    parameters, which --tickets writes to files and --json prints. If no switch has room, the workers sum among
    themselves if --server is given; otherwise the command fails.

    For any other application, one switch computes on the requests of --hosts and --senders, or of all hosts if neither
    is given. Without --rate, an earlier limit of the application stays; at first there is none.
    """
    from midflight.cli.output import write_files

    arguments = {"hosts": names(hosts), "senders": names(senders), "server": server, "switch": switch}
    found = call(state, "admit", application=name, **arguments, port=port, rate=rate)
    if tickets is not None:
        texts = {f"ticket-{each['host']}.json": json.dumps(each, indent=2) + "\n" for each in found["tickets"]}
        write_files({tickets / file: text for file, text in texts.items()}, private=True)
    for each in found["warnings"]:
        click.echo(f"warning: {each}", err=True)
    where = ", ".join(found["switches"]) or "no switch; the workers or their server compute"
    text = f"{name} is computed on {where}"
    if found["tickets"] and tickets is None:
        text += "\nto get the workers' tickets, use --tickets DIR or --json"
    show(found, as_json, text)
