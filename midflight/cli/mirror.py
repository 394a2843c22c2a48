"""`midflight mirror`: send copies of an application's packets to hosts, through a running controller."""

from __future__ import annotations

from pathlib import Path

import click

from midflight.cli.controlled import call, json_option, names, show, state_option

__all__ = ["mirror"]

EPILOG = """\b
Examples:
  midflight mirror watch --hosts h3,h4
  midflight mirror watch --hosts h4 --switch s2
  midflight mirror watch --stop
"""


@click.command(epilog=EPILOG)
@click.argument("name")
@click.option("--hosts", metavar="H1,H2", default="", help="The hosts that get the copies, instead of earlier ones.")
@click.option("--stop", is_flag=True, help="Send no more copies.")
@click.option("--switch", default="", help="The switch, if several run the application.")
@state_option
@json_option
def mirror(name: str, hosts: str, stop: bool, switch: str, state: Path | None, as_json: bool) -> None:
    """Send copies of the packets that the kernel of application NAME mirrors to hosts.

    The kernel selects the packets with `packet.mirror()`. The hosts must be connected to the switch itself. Fails if
    they are not, or if the kernel mirrors nothing.
    """
    chosen = names(hosts)
    if bool(chosen) == stop:
        raise click.UsageError("give either --hosts H1,H2 or --stop")
    found = call(state, "mirror", application=name, hosts=chosen, switch=switch)
    text = f"sends copies to {', '.join(found['hosts'])}" if chosen else "sends no copies"
    show(found, as_json, f"{name} on {found['switch']} {text}")
