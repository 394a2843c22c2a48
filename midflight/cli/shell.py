"""`midflight shell`: p4runtime-shell on a running switch."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["shell"]

EPILOG = """\b
Examples:
  midflight shell                                        a switch at 127.0.0.1:9559
  midflight shell --grpc-addr unix:/run/switch.sock --device-id 7
  sudo midflight shell --device-of s1                    of a running network, or of Mininet's
  midflight shell --election-id 1                        only to look, beside another controller
  midflight shell --config prog.p4info.txtpb,prog.p4     load a program first
  midflight shell -- fill_tables.py 10                   run a script in it
  echo 'for each in table_entry["ingress.route"].read(): print(each)' | midflight shell
"""


@click.command(epilog=EPILOG)
@click.option("--device-of", metavar="NAME", help="The switch of that name in a running network, found by its process.")
@click.option("--grpc-addr", "address", metavar="ADDRESS", help="HOST:PORT or unix:PATH.  [default: 127.0.0.1:9559]")
@click.option("--device-id", metavar="N", type=int, help="[default: the network's, or 1]")
@click.option(
    "--election-id",
    metavar="N",
    type=int,
    default=2**64,
    help="The controller with the highest one may write.  [default: 2**64]",
)
@click.option("--role", metavar="NAME", default="", help="The controller's role.")
@click.option("--config", metavar="P4INFO,CONFIG", help="Load this program first: P4Info as text, the device's config.")
@click.option("--reinstall", is_flag=True, help="Make the environment of p4runtime-shell anew.")
@click.argument("script", metavar="[-- SCRIPT", required=False)
@click.argument("arguments", metavar="ARGUMENT...]", nargs=-1)
def shell(
    device_of: str | None,
    address: str | None,
    device_id: int | None,
    election_id: int,
    role: str,
    config: str | None,
    reinstall: bool,
    script: str | None,
    arguments: tuple[str, ...],
) -> None:
    """Open p4runtime-shell on a running switch.

    On first use it is installed with pip, into an environment of its own in the user's cache, because the versions
    that it needs clash with those of current packages.

    SCRIPT, or what comes on standard input, is Python with the shell's names, such as table_entry, counter_entry,
    packet_out and packet_in. Other than at its prompt, calls need their parentheses there: entry.insert().
    """
    import os
    import sys

    from midflight.cli.output import read_text
    from midflight.runtime.p4runtime.client.shell import ShellSession, environment

    if device_of and address:
        raise click.UsageError("--device-of and --grpc-addr both say which switch")
    if device_id is not None and not 0 < device_id < 1 << 64:
        raise click.BadParameter(f"{device_id} is not between 1 and 2**64 - 1", param_hint="--device-id")
    if not 0 < election_id < 1 << 128:
        raise click.BadParameter(f"{election_id} is not between 1 and 2**128 - 1", param_hint="--election-id")
    files = _config(config) if config else None
    if script and script != "-":
        read_text(Path(script))  # what is wrong with it is told now, not after an installation
    if device_of:
        from midflight.testbed.fabric.running import find_switch

        found = find_switch(device_of)
        address, device_id = found.address, device_id or found.device_id
    session = ShellSession(
        address=address or "127.0.0.1:9559",
        device_id=device_id or 1,
        election_id=election_id,
        role=role,
        config=files,
        script=script or ("" if sys.stdin.isatty() else "-"),
        arguments=arguments,
    )
    python = environment(lambda words: click.echo(f"midflight: {words}", err=True), reinstall=reinstall)
    sys.stdout.flush()
    sys.stderr.flush()
    # In our place, so that the terminal and its signals are the shell's alone.
    os.execv(python, session.command(python))


def _config(told: str) -> tuple[Path, Path]:
    from midflight.errors import MidflightError

    p4info, comma, config = told.partition(",")
    if not comma or "," in config:
        raise click.BadParameter(f"{told!r} is not P4INFO,CONFIG", param_hint="--config")
    for each in (p4info, config):
        if not Path(each).is_file():
            raise MidflightError(f"{each}: there is no such file")
    return Path(p4info), Path(config)
