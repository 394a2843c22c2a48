"""`midflight audit`: verify a hash-chained log of refused metrics."""

from __future__ import annotations

import re
from pathlib import Path

import click

from midflight.cli.controlled import json_option, show

__all__ = ["audit"]

EPILOG = """\b
Examples:
  midflight audit audit.log
  midflight audit audit.log --head 5f1c...     must contain the entry with this hash
  midflight audit audit.log --json | jq .events
"""


@click.command(epilog=EPILOG)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--head", metavar="HASH", default="", help="The hash of an entry, noted earlier, that must be there.")
@json_option
def audit(file: Path, head: str, as_json: bool) -> None:
    """Verify a log of admitted instances and refused metrics.

    Each entry contains the hash of the one before, so no entry can be changed or removed without breaking the chain.
    Prints how often each event occurs, and the hash of the last entry. Keep that elsewhere: with --head, a log whose
    end was cut off is found as well. Exit status 1 if the chain is broken, with the line, if no entry has the hash of
    --head, or if FILE cannot be read.
    """
    from midflight.runtime.steering.trust.log import verify

    if head and not re.fullmatch("[0-9a-f]{64}", head):
        raise click.BadParameter(f"a hash is 64 lower-case hexadecimal digits, not {head!r}", param_hint="--head")
    found = verify(file, head)
    events = dict(sorted(found.events.items()))
    lines = [f"{file}: {found.entries} entries, the chain is intact"]
    lines += [f"  {count:>8} {event}" for event, count in events.items()]
    show(
        {"entries": found.entries, "head": found.head, "events": events},
        as_json,
        "\n".join([*lines, f"head {found.head}"]),
    )
