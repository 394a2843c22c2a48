"""`midflight shell`: p4runtime-shell on a running switch."""

from __future__ import annotations

from pathlib import Path

import click

from midflight.cli.options import client_tls, tls_options

__all__ = ["shell"]

EPILOG = """\b
Examples:
  midflight shell                                        the switch at 127.0.0.1:9559
  midflight shell --grpc-addr unix:/run/switch.sock --device-id 7
  sudo midflight shell --device-of s1                    a switch of a running network, or of Mininet
  midflight shell --election-id 1                        only read, beside another controller
  midflight shell --config prog.p4info.txtpb,prog.p4     load a program first
  midflight shell -- fill_tables.py 10                   run a script in it
  echo 'for each in table_entry["ingress.route"].read(): print(each)' | midflight shell
"""


@click.command(epilog=EPILOG)
@click.option("--device-of", metavar="NAME", help="The switch with this name in a running network.")
@click.option("--grpc-addr", "address", metavar="ADDRESS", help="HOST:PORT or unix:PATH.  [default: 127.0.0.1:9559]")
@click.option("--device-id", metavar="N", type=int, help="The switch's device id.  [default: the network's, or 1]")
@click.option(
    "--election-id",
    metavar="N",
    type=int,
    default=2**64,
    help="The controller with the highest election id may write.  [default: 2**64]",
)
@click.option("--role", metavar="NAME", default="", help="The controller's role.")
@click.option(
    "--config", metavar="P4INFO,CONFIG", help="Load this program first: P4Info in text format, and device config."
)
@tls_options
@click.option("--reinstall", is_flag=True, help="Install p4runtime-shell again.")
@click.argument("script", metavar="[-- SCRIPT", required=False)
@click.argument("arguments", metavar="ARGUMENT...]", nargs=-1)
def shell(
    device_of: str | None,
    address: str | None,
    device_id: int | None,
    election_id: int,
    role: str,
    config: str | None,
    ca: Path | None,
    certificate: Path | None,
    key: Path | None,
    reinstall: bool,
    script: str | None,
    arguments: tuple[str, ...],
) -> None:
    """Open p4runtime-shell on a running switch, by default the one at 127.0.0.1:9559.

    Without --config, the switch keeps its program. Without SCRIPT, there is a prompt, or standard input is the script
    if it is not a terminal.

    On first use, pip installs p4runtime-shell into its own environment in the user's cache folder, because it needs
    versions of packages that conflict with current ones.

    SCRIPT, or standard input, is Python with the names of the shell, such as table_entry, counter_entry, packet_out and
    packet_in. Unlike at the prompt, calls need parentheses: entry.insert().
    """
    import os
    import sys

    from midflight.runtime.p4runtime.addresses import check_address
    from midflight.runtime.p4runtime.client.shell import ShellSession, environment
    from midflight.userfiles import read_text

    if device_of and address:
        raise click.UsageError("use either --device-of or --grpc-addr, not both")
    if device_id is not None and not 0 < device_id < 1 << 64:
        raise click.BadParameter(f"{device_id} is not between 1 and 2**64 - 1", param_hint="--device-id")
    if not 0 < election_id < 1 << 128:
        raise click.BadParameter(f"{election_id} is not between 1 and 2**128 - 1", param_hint="--election-id")
    files = _config(config) if config else None
    if script and script != "-":
        read_text(Path(script))  # report errors now, not after an installation
    if device_of:
        from midflight.testbed.fabric.running import find_switch

        found = find_switch(device_of)
        address, device_id = found.address, device_id or found.device_id
    if address:
        check_address(address)
    tls = client_tls(ca, certificate, key)
    if tls is not None:
        tls.context()  # report wrong files now
    session = ShellSession(
        address=address or "127.0.0.1:9559",
        device_id=device_id or 1,
        election_id=election_id,
        role=role,
        config=files,
        tls=tls,
        script=script or ("" if sys.stdin.isatty() else "-"),
        arguments=arguments,
    )
    python = environment(lambda words: click.echo(f"midflight: {words}", err=True), reinstall=reinstall)
    sys.stdout.flush()
    sys.stderr.flush()
    # Replace this process, so that the shell alone receives the terminal's input and signals.
    os.execv(python, session.command(python))


def _config(text: str) -> tuple[Path, Path]:
    from midflight.errors import MidflightError

    p4info, comma, config = text.partition(",")
    if not comma or "," in config:
        raise click.BadParameter(f"{text!r} is not P4INFO,CONFIG", param_hint="--config")
    for each in (p4info, config):
        if not Path(each).is_file():
            raise MidflightError(f"{each}: there is no such file")
    return Path(p4info), Path(config)
