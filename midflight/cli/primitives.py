"""`midflight primitives`: the catalogue of the library."""

from __future__ import annotations

import click

__all__ = ["primitives"]

EPILOG = """\b
Examples:
  midflight primitives                list all primitives, one per line
  midflight primitives threshold      show one: parameters, overflow, and the work that it follows
  midflight primitives --json         print all details as JSON

\b
To compile a primitive to P4:
  midflight compile threshold --set above=900 --set clear=850 -o build
"""


@click.command(epilog=EPILOG)
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print all details as JSON.")
def primitives(name: str | None, as_json: bool) -> None:
    """List the primitives of the library, or show one of them. Fails if there is no primitive NAME."""
    import dataclasses

    from midflight.cli.output import write_json
    from midflight.primitives.catalogue import FAMILIES, catalogue, find

    entries = catalogue()
    if name is not None:
        entries = tuple(each for each in entries if each.name == find(name).__name__)
    if as_json:
        write_json({"primitives": [dataclasses.asdict(each) for each in entries]}, "-")
        return
    width = max(len(each.name) for each in entries)
    if name is None:
        for each in entries:
            click.echo(f"{each.name:<{width}}  {each.summary}")
        return
    for each in entries:
        click.echo(f"{each.name}: {each.summary}")
        for parameter in each.parameters:
            default = "" if parameter.required else f", default {parameter.default!r}"
            click.echo(f"  {parameter.name} ({parameter.type}{default})")
            if parameter.meaning:
                click.echo(click.wrap_text(parameter.meaning, 100, "      ", "      "))
        click.echo(f"Family:   {each.family}, {FAMILIES[each.family]}")
        click.echo(f"Overflow: {each.overflow}")
        click.echo(f"Follows:  {each.paper}")
