"""`midflight service`: the services that a running controller steers requests to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from midflight.cli.controlled import call, client, json_option, lost, show, state_option
from midflight.cli.options import FiniteRange

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["service"]

EPILOG = """\b
Examples:
  midflight service add vision 10.9.0.1 h2=1 h3=3      requests to 10.9.0.1 go to h2 and h3
  midflight service weigh vision h2=1 h3=1 --valid 10  for ten seconds
  midflight service classify vision urgent h4=1 --dscp 46
                                                       requests with this DSCP have instances of their own
  midflight service balance vision pool                the Balance named pool chooses by loads
  midflight service drain vision h3                    no new flows to h3
  midflight service watch                              update the list on the screen, until Ctrl-C
  midflight service remove vision
"""


@click.group(epilog=EPILOG)
def service() -> None:
    """Steer requests to the instances of services, through a running controller.

    The program must have a Steering. Hosts that serve must receive packets for the service's address.
    """


def _weights(_context: click.Context, _parameter: click.Parameter, pairs: tuple[str, ...]) -> dict[str, float]:
    """Return weights by host from arguments such as h2=1."""
    found: dict[str, float] = {}
    for each in pairs:
        host, _, number = each.partition("=")
        try:
            weight = float(number)
        except ValueError:
            weight = -1.0
        if not host or not 0 <= weight < float("inf"):
            raise click.BadParameter(f"{each!r} is not HOST=WEIGHT with a weight of at least 0, such as h2=1")
        if host in found:
            raise click.BadParameter(f"{host} occurs twice")
        found[host] = weight
    return found


weights_argument = click.argument("weights", metavar="HOST=WEIGHT...", nargs=-1, required=True, callback=_weights)


@service.command()
@click.argument("name")
@click.argument("address")
@weights_argument
@state_option
@json_option
def add(name: str, address: str, weights: dict[str, float], state: Path | None, as_json: bool) -> None:
    """Start steering requests to ADDRESS, an address or prefix, to hosts by weight.

    These are also the static weights, which return when those of `weigh --valid` or of `midflight cps` expire. Fails if
    NAME or ADDRESS is in use, if a host is unknown, or if the program has no Steering.
    """
    found = call(state, "add_service", service=name, address=address, weights=weights)
    used = [host for host in weights if weights[host]]
    show(found, as_json, f"{name}: requests to {found['address']} go to {', '.join(used)}")
    _warn(state, name, used)


@service.command()
@click.argument("name")
@state_option
@json_option
def remove(name: str, state: Path | None, as_json: bool) -> None:
    """Stop steering requests to a service; they are routed to its address. Fails if there is no such service."""
    found = call(state, "remove_service", service=name)
    show(found, as_json, f"{name} is removed; its requests are routed to its address")


@service.command()
@click.argument("name")
@weights_argument
@click.option("--class", "traffic_class", default="", metavar="CLASS", help="Weigh the requests of this class only.")
@click.option("--switch", default="", help="Weigh the requests that enter the network at this switch only.")
@click.option(
    "--valid", type=FiniteRange(0, 1e9, min_open=True), help="Return to the static weights after this many seconds."
)
@state_option
@json_option
def weigh(
    name: str,
    weights: dict[str, float],
    traffic_class: str,
    switch: str,
    valid: float | None,
    state: Path | None,
    as_json: bool,
) -> None:
    """Set the weights of a service's instances, and print how many buckets moved.

    As few flows move as possible; hosts left out get no new flows. With --switch, that switch has weights of its own
    from then on. Without it, the weights replace those of all switches, also of those that have their own. Fails if
    there is no such service, class, switch or host.
    """
    given = {"service": name, "weights": weights, "class": traffic_class, "switch": switch, "valid": valid}
    found = call(state, "weigh_service", **given)
    show(found, as_json, f"{found['moved']} buckets moved")
    _warn(state, name, [host for host in weights if weights[host]])


@service.command()
@click.argument("name")
@click.argument("traffic_class", metavar="CLASS")
@weights_argument
@click.option("--source", metavar="NETWORK", help="Match requests from this network, such as 10.0.0.0/30.")
@click.option("--protocol", type=click.IntRange(0, 255), help="Match this IP protocol, such as 6 for TCP.")
@click.option("--port", type=click.IntRange(0, 65535), help="Match this destination port of UDP or TCP.")
@click.option("--dscp", type=click.IntRange(0, 63), help="Match this Differentiated Services code point.")
@click.option("--flow-label", type=click.IntRange(0, 0xFFFFF), help="Match this IPv6 flow label.")
@click.option("--application", type=click.IntRange(0, 0xFFFF), help="Match this application id of the common header.")
@click.option("--priority", type=click.IntRange(1, 2**31 - 1), help="The largest wins.  [default: 1]")
@state_option
@json_option
def classify(
    name: str,
    traffic_class: str,
    weights: dict[str, float],
    source: str | None,
    protocol: int | None,
    port: int | None,
    dscp: int | None,
    flow_label: int | None,
    application: int | None,
    priority: int | None,
    state: Path | None,
    as_json: bool,
) -> None:
    """Give the requests of a service that match all options instances and weights of their own.

    Replaces an earlier class of the same name. Fails if there is no such service or host, if another class has the same
    rule, or if the program's Steering has no room.
    """
    matched = {"protocol": protocol, "port": port, "dscp": dscp, "flow_label": flow_label, "application": application}
    given = {"service": name, "class": traffic_class, "weights": weights, "source": source, "priority": priority}
    found = call(state, "classify_service", **given, **matched)
    used = [host for host in weights if weights[host]]
    show(found, as_json, f"{name}: requests of class {traffic_class} go to {', '.join(used)}")
    _warn(state, name, used)


@service.command()
@click.argument("name")
@click.argument("traffic_class", metavar="CLASS")
@state_option
@json_option
def declassify(name: str, traffic_class: str, state: Path | None, as_json: bool) -> None:
    """Remove a class of a service; its requests have no class any more. Fails if there is no such service or class."""
    found = call(state, "declassify_service", service=name, **{"class": traffic_class})
    show(found, as_json, f"{name}: requests of class {traffic_class} have no class any more")


def _warn(state: Path | None, name: str, hosts: list[str]) -> None:
    """Warn of instances with a weight that no path over switches that are on reaches."""
    found = call(state, "services")["services"]
    pools = [pool for each in found if each["name"] == name for pool in (each, *each["classes"])]
    there = {it["host"]: it["reachable"] for pool in pools for it in pool["instances"]}
    if away := [host for host in hosts if not there.get(host, True)]:
        click.echo(f"warning: no way leads to {', '.join(away)} now, over switches that answer", err=True)


@service.command()
@click.argument("name")
@click.argument("application", required=False, default="")
@state_option
@json_option
def balance(name: str, application: str, state: Path | None, as_json: bool) -> None:
    """Make APPLICATION, a Balance of the program, follow the weights of a service on all switches.

    It chooses between two instances by the loads that replies carry. Without APPLICATION, no Balance follows the
    service any longer. Fails if there is no such service, if APPLICATION is not a Balance or follows another service,
    or if it has too few instances or another number of buckets than the Steering.
    """
    found = call(state, "balance_service", service=name, application=application)
    text = f"{application} follows its weights" if application else "no Balance follows its weights"
    show(found, as_json, f"{name}: {text}")


@service.command()
@click.argument("name")
@click.argument("host")
@state_option
@json_option
def drain(name: str, host: str, state: Path | None, as_json: bool) -> None:
    """Give an instance of a service no new flows, whatever a path selector computes, until `weigh` gives it a weight.

    Fails if it is not an instance, or the last one with a weight.
    """
    found = call(state, "drain_service", service=name, host=host)
    show(found, as_json, f"{name}: {host} gets no new flows")


@service.command("list")
@click.option("--switch", default="", help="Show weights and counts of the requests that enter the network here.")
@state_option
@json_option
def list_(switch: str, state: Path | None, as_json: bool) -> None:
    """Show services, their instances and weights, and the requests sent to each. Fails if no controller is running.

    Without --switch, the weights are those of the switches that have none of their own, and the others are named.
    """
    from rich.console import Console

    found = call(state, "services", switch=switch)
    show(found, as_json, "")
    if not as_json:
        Console(highlight=False).print(_table(found))
        for each in found["services"] if not switch else ():
            if local := each["local"]:
                has = "has weights of its own" if len(local) == 1 else "have weights of their own"
                click.echo(f"{each['name']}: {', '.join(local)} {has}")


@service.command()
@click.option("--switch", default="", help="Show weights and counts of the requests that enter the network here.")
@state_option
@json_option
def watch(switch: str, state: Path | None, as_json: bool) -> None:
    """Show services as they change, until Ctrl-C. Continues at the next controller if this one dies.

    With --json, print a line for each change.
    """
    from rich.console import Console
    from rich.live import Live

    with client(state) as made:
        updates = made.follow("watch_services", lost, switch=switch)
        if as_json:
            for found in updates:
                click.echo(json.dumps(found))
            return
        with Live(console=Console(highlight=False), auto_refresh=False) as live:
            for found in updates:
                live.update(_table(found), refresh=True)


def _table(found: dict[str, Any]) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for each in ("service", "address", "instance", "weight", "share", "static", "requests", ""):
        table.add_column(each, justify="right" if each in ("weight", "share", "static", "requests") else "left")
    for each in found["services"]:
        valid = each["valid"]
        _rows(table, (each["name"], each["cs_id"]), each["instances"], valid)
        for one in each["classes"]:
            _rows(table, (f"{each['name']}, class {one['name']}", ""), one["instances"], valid)
    return table


def _rows(table: Table, titles: tuple[str, str], instances: list[dict[str, Any]], valid: float | None) -> None:
    """Add the rows of a pool of instances; `valid` is for how many seconds its weights hold, None without limit."""
    total = sum(it["weight"] for it in instances)
    for number, it in enumerate(instances):
        first = titles if number == 0 else ("", "")
        share = f"{it['weight'] / total:.0%}" if total else ""
        notes = [each for each, holds in (("unreachable", not it["reachable"]), ("drained", it["drained"])) if holds]
        if number == 0 and valid is not None:
            notes.append(f"weights expire in {valid:.1f} s")
        numbers = f"{it['weight']:.3g}", share, f"{it['static']:.3g}", str(it["requests"])
        table.add_row(*first, it["host"], *numbers, ", ".join(notes))
