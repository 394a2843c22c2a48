"""`midflight status`: the status of a running controller."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from midflight.cli.controlled import client, json_option, lost, show, state_option

if TYPE_CHECKING:
    from rich.console import Group

__all__ = ["status"]

EPILOG = """\b
Examples:
  midflight status
  midflight status --watch              update the status on the screen, until Ctrl-C
  midflight status --json
  midflight status --watch --json       print a line of JSON for each change
"""


@click.command(epilog=EPILOG)
@state_option
@click.option(
    "--watch", is_flag=True, help="Keep running, and show changes. Continues at the next controller if this one dies."
)
@json_option
def status(state: Path | None, watch: bool, as_json: bool) -> None:
    """Show the status of a running controller, or fail if there is none.

    The status consists of the switches, the applications, their placements with reasons, the requests per second at
    each switch since the previous status, and the latest events.
    """
    from rich.console import Console
    from rich.live import Live

    console = Console(highlight=False)
    with client(state) as made:
        if not watch:
            found = made.call("status")
            show(found, as_json, "")
            if not as_json:
                console.print(_picture(found))
        elif as_json:
            for found in made.follow("watch", lost):
                click.echo(json.dumps(found))
        else:
            with Live(console=console, auto_refresh=False) as live:
                for found in made.follow("watch", lost):
                    live.update(_picture(found), refresh=True)


def _picture(found: dict[str, Any]) -> Group:
    from rich.console import Group

    about = found["controller"]
    head = f"{about['program']}, epoch {about['epoch']}, process {about['pid']} since {about['since']}"
    return Group(head, "", _switches(found["switches"]), _applications(found["applications"]), _events(found["events"]))


def _switches(switches: list[dict[str, Any]]) -> Any:
    table = _table("switch", "session", "kind", "address", "computes", "writes")
    for each in switches:
        on = each["state"] == "on"
        session = f"on, election id {each['election_id']}" if on else f"off: {each['reason']}"
        writes = ", ".join(f"{count} {outcome}" for outcome, count in each["writes"].items() if count)
        computes = ", ".join(each["computes"])
        table.add_row(each["name"], session, each["kind"], each["address"], computes, writes or "none")
    return table


def _applications(applications: list[dict[str, Any]]) -> Any:
    table = _table("application", "primitive", "placed", "for", "requests")
    for each in applications:
        placed = [f"{name}: {reason}" for name, reason in each["placements"].items()]
        users = [f"{it['switch']}: {', '.join(it['hosts']) or 'all hosts'}" for it in each["admissions"]]
        if job := each["job"]:
            where = ", ".join(job["switches"]) or job["server"] or "the workers"
            users.append(f"job {job['number']} of {', '.join(job['hosts'])}, computed by {where}")
        users += [f"{it['switch']}: copies to {', '.join(it['hosts'])}" for it in each["mirrors"]]
        rates = [f"{name}: {count:,.0f}/s" for name, count in each["requests_per_second"].items()]
        rates += [f"at most {each['rate']}/s"] if each["rate"] else []
        used = "\n".join(users) or "not admitted"
        table.add_row(each["name"], each["primitive"], "\n".join(placed), used, "\n".join(rates))
    return table


def _events(events: list[dict[str, Any]]) -> Any:
    table = _table("time", "event", "of", "")
    for each in events:
        about = " ".join(each[part] for part in ("switch", "application") if part in each)
        table.add_row(each["time"], each["event"], about, each["message"])
    return table


def _table(*columns: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for each in columns:
        table.add_column(each, overflow="fold")
    return table
