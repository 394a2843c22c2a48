"""`midflight primitives`: the library as a catalogue."""

from __future__ import annotations

import click

__all__ = ["primitives"]

EPILOG = """\b
Examples:
  midflight primitives                the library, a line each
  midflight primitives threshold      one of them: parameters, overflow, whose work it follows
  midflight primitives --json         the same for machines

\b
One of them as P4:
  midflight compile threshold --set above=900 --set clear=850 -o build
"""


@click.command(epilog=EPILOG)
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Tell everything as JSON.")
def primitives(name: str | None, as_json: bool) -> None:
    """List the library's primitives, or tell about one."""
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
            default = "" if parameter.required else f", {parameter.default!r} unless told"
            click.echo(f"  {parameter.name} ({parameter.type}{default})")
            if parameter.meaning:
                click.echo(click.wrap_text(parameter.meaning, 100, "      ", "      "))
        click.echo(f"Family:   {each.family}, {FAMILIES[each.family]}")
        click.echo(f"Overflow: {each.overflow}")
        click.echo(f"Follows:  {each.paper}")
