"""`midflight switch`: a P4 program on the embedded switch, served over P4Runtime."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["switch"]

EPILOG = """\b
Examples:
  midflight switch prog.p4
  midflight switch prog.p4 --grpc-server-addr 127.0.0.1:0       on a free port, which it tells
  midflight switch prog.p4 --device-id 3 --cpu-port 255
"""


@click.command(epilog=EPILOG)
@click.argument("file", metavar="PROG.p4", type=click.Path(path_type=Path))
@click.option(
    "--grpc-server-addr",
    "address",
    metavar="HOST:PORT",
    default="127.0.0.1:9559",
    show_default=True,
    help="Where to serve P4Runtime; port 0 takes a free one.",
)
@click.option("--device-id", metavar="N", type=click.IntRange(1, 2**64 - 1), default=1, show_default=True)
@click.option("--cpu-port", metavar="N", type=click.IntRange(1, 510), default=510, show_default=True)
def switch(file: Path, address: str, device_id: int, cpu_port: int) -> None:
    """Run a P4 program on the embedded switch and serve P4Runtime.

    Controllers connect to the address that it tells; packets go in and out by packet-out and packet-in. It serves
    until it gets SIGINT or SIGTERM, and then exits with status 0.
    """
    import signal
    import threading

    from midflight.cli.output import read_text
    from midflight.runtime.p4runtime.server import Server
    from midflight.runtime.p4runtime.switch import Switch

    device = Switch(device_id=device_id, cpu_port=cpu_port)
    device.load(read_text(file), str(file))
    stop = threading.Event()
    with Server(device, address) as server:
        before = {each: signal.signal(each, lambda *_: stop.set()) for each in (signal.SIGINT, signal.SIGTERM)}
        try:
            click.echo(f"{file}: P4Runtime on {server.address}, device {device_id}, CPU port {cpu_port}")
            stop.wait()
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
