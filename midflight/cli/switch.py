"""`midflight switch`: run the embedded switch with a P4 program, ports and a P4Runtime server."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from midflight.cli.options import cpu_port_option, entries_option, queue_options
from midflight.errors import MidflightError
from midflight.units import SIZES, measured

if TYPE_CHECKING:
    from collections.abc import Mapping

    from midflight.runtime.engine.ports.stats import TrafficStats
    from midflight.runtime.p4runtime.tls import ServerTls

__all__ = ["switch"]

TRACES = 1 << 14  # traces that can wait to be printed; the oldest are dropped for more

EPILOG = """\b
Examples:
  midflight switch prog.p4                                        without ports: only packet-in and packet-out
  sudo midflight switch -i 1@veth0 -i 2@veth1                     without a program, which a controller loads later
  midflight switch prog.p4 --grpc-server-addr 127.0.0.1:0         on a free port, which it prints
  sudo midflight switch prog.p4 -i 1@veth0 -i 2@veth1 --stats     with interfaces as ports
  midflight switch prog.p4 -i 1@udp:127.0.0.1:7001 -i 2@udp:127.0.0.1:7002    a frame in each datagram, without root
  midflight switch prog.p4 -i 1@pcap:in.pcap,out.pcap -i 2@pcap:,out2.pcap --trace
"""


@click.command(epilog=EPILOG)
@click.argument("file", metavar="[PROG.p4]", type=click.Path(path_type=Path), required=False)
@click.option(
    "-i",
    "--interface",
    "interfaces",
    metavar="PORT@INTERFACE",
    multiple=True,
    help="A port: a Linux interface, udp:ADDRESS:PORT[,PEER:PORT] to exchange frames with another process in UDP "
    "datagrams, or pcap:IN,OUT to read packets from one capture and write them to another.",
)
@click.option(
    "--grpc-server-addr",
    "address",
    metavar="HOST:PORT",
    default="127.0.0.1:9559",
    show_default=True,
    help="Address of the P4Runtime server. Port 0 selects a free port; unix:PATH is a Unix socket.",
)
@click.option(
    "--tls-cert",
    "certificate",
    metavar="PEM",
    type=click.Path(path_type=Path),
    help="Serve with TLS, with this certificate.",
)
@click.option(
    "--tls-key", "key", metavar="PEM", type=click.Path(path_type=Path), help="The private key of the certificate."
)
@click.option(
    "--tls-client-ca",
    "client_ca",
    metavar="PEM",
    type=click.Path(path_type=Path),
    help="Accept only clients whose certificates this authority has signed.",
)
@click.option(
    "--tls-role",
    "roles",
    metavar="NAME=ROLE",
    multiple=True,
    help="The client with the common name NAME may take ROLE (empty: the default role); other clients only read. "
    "May be repeated.",
)
@click.option(
    "--device-id",
    metavar="N",
    type=click.IntRange(0, 2**64 - 1),
    default=1,
    show_default=True,
    help="The P4Runtime device id.",
)
@cpu_port_option
@click.option(
    "--pcap", "captures", metavar="DIR", type=click.Path(path_type=Path), help="Write captures of all ports here."
)
@click.option(
    "--threads",
    metavar="N",
    type=click.IntRange(1, 16),
    default=1,
    show_default=True,
    help="Number of threads. One runs the program on all packets in order; the others send.",
)
@click.option(
    "--memory",
    metavar="SIZE",
    default="1GiB",
    show_default=True,
    callback=lambda _context, _option, text: _size(text),
    help="Limit for a program's registers, counters, meters and table entries.",
)
@click.option(
    "--xdp",
    "mode",
    type=click.Choice(["native", "generic"]),
    help="Run the program in the kernel, as an XDP program of the interfaces' drivers (native) or of any interface.",
)
@entries_option
@queue_options
@click.option(
    "--clock",
    type=click.Choice(["start", "unix"]),
    default="start",
    show_default=True,
    help="Timestamps count microseconds from the start of the switch, as on BMv2, or from 1970.",
)
@click.option("--wait", is_flag=True, help="Read captures only after a controller has connected and disconnected.")
@click.option("--trace", is_flag=True, help="Print what happens to every packet; slow, so some may be left out.")
@click.option(
    "--stop-on-assert", is_flag=True, help="Stop with status 1 when an assert or assume of the program fails."
)
@click.option("--stats", is_flag=True, help="Print packets received, sent and dropped at the end, and on SIGUSR1.")
def switch(
    file: Path | None,
    interfaces: tuple[str, ...],
    address: str,
    certificate: Path | None,
    key: Path | None,
    client_ca: Path | None,
    roles: tuple[str, ...],
    device_id: int,
    cpu_port: int,
    captures: Path | None,
    threads: int,
    memory: int,
    mode: str | None,
    entries: tuple[Path, ...],
    queues: int | None,
    depth: int | None,
    rate: str | None,
    port_rate: str | None,
    clock: str,
    wait: bool,
    trace: bool,
    stop_on_assert: bool,
    stats: bool,
) -> None:
    """Run a P4 program on the embedded switch, and serve P4Runtime.

    Without PROG.p4, the switch drops all packets until a controller loads a program. Without -i, it has no ports but
    the CPU port. Without --tls-cert, P4Runtime is not encrypted. With --xdp, the program runs in the kernel, which
    needs root.

    The switch prints the address that controllers can connect to. It runs until SIGINT or SIGTERM, finishes the packets
    that have arrived by then, and exits with status 0. With captures as ports, it also exits once these have been read
    and no controller is connected.

    What the program logs (log_msg, and assert and assume that fail) is printed on lines that begin with "log".

    A UDP port sends frames to PEER and receives only from there. Without PEER, it sends them to where the latest
    datagram came from.

    Interfaces need root or the capability CAP_NET_RAW. The program sees their packets as on a wire, with VLAN tags and
    complete checksums. The exception is segments that a sending host leaves to its interface to split, because they are
    longer than the MTU: the switch drops them and counts them as "offload". To turn this off on the host:
    ethtool -K INTERFACE tso off gso off
    """
    import signal
    import threading
    from collections import deque

    if mode is not None:
        from midflight.runtime.devices.xdp import in_kernel
        from midflight.runtime.p4runtime.ports.kernel import KernelPorts

    from midflight.cli.following import Follower
    from midflight.runtime.checked import user_programs
    from midflight.runtime.engine.apart import CompileBudget
    from midflight.runtime.engine.ports.spec import parse_ports
    from midflight.runtime.engine.queues import QueueOptions
    from midflight.runtime.p4runtime.addresses import check_address
    from midflight.runtime.p4runtime.entryfiles.reading import read_entries
    from midflight.runtime.p4runtime.entryfiles.steps import SwitchTarget, apply
    from midflight.runtime.p4runtime.ports.opening import Ports, open_ports
    from midflight.runtime.p4runtime.server.pipeline import embedded
    from midflight.runtime.p4runtime.server.server import Server
    from midflight.runtime.p4runtime.server.switch import Switch
    from midflight.runtime.p4runtime.tls import is_local
    from midflight.userfiles import read_text

    check_address(address, listening=True)
    tls = _tls(certificate, key, client_ca, roles)
    if tls is None and not is_local(address):
        _warn(f"warning: {address} is served without TLS: everyone who can reach it can control the switch")
    stop = threading.Event()
    before = {each: signal.signal(each, lambda *_: stop.set()) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        if file is None and not wait and any("@pcap:" in each for each in interfaces):
            raise click.UsageError("captures as ports need a program, or --wait until a controller has loaded one")
        names = parse_ports(list(interfaces))
        programs = user_programs()
        if mode is not None and (
            captures or trace or queues or rate or port_rate or any(":" in each for each in names.values())
        ):
            raise click.UsageError("with --xdp, ports are interfaces, without captures, traces, queues and rates")
        device = Switch(
            device_id=device_id,
            cpu_port=cpu_port,
            memory=memory,
            programs=programs,
            apart=CompileBudget(),
            queueing=QueueOptions(queues or 1, depth, rate, port_rate).queueing(),
            make=embedded if mode is None else in_kernel,
        )
        if file is not None:
            device.load(read_text(file), str(file))
        for path in entries:
            if file is None:
                raise click.UsageError("--entries needs a program, to whose tables they are added")
            apply(read_entries(path, SwitchTarget(device).schema), SwitchTarget(device))
        ports: Ports
        if mode is not None:
            ports = KernelPorts(device, names, mode=mode)
        else:
            ports = open_ports(
                device,
                names,
                captures=captures,
                threads=threads,
                wait=wait,
                finished=stop,
                news=_warn,
                unix_time=clock == "unix",
            )
        traces: deque[str] = deque(maxlen=TRACES)
        failed = threading.Event()

        def fail() -> None:
            failed.set()
            stop.set()

        def take() -> list[str]:
            return [traces.popleft() for _ in range(len(traces))]

        def report(*_: object) -> None:
            click.echo(_describe(ports.stats, names))

        try:
            if stats:
                before[signal.SIGUSR1] = signal.signal(signal.SIGUSR1, report)
            with Server(device, address, tls=tls) as server:
                device.log("printing", lambda text: traces.append(f"log        {text}"))
                if stop_on_assert:
                    device.on_assertion(fail)
                if trace:
                    device.trace("printing", lambda each: traces.append(str(each)))
                ports.start()
                _be_responsive()
                name = file or "no program yet"
                click.echo(f"{name}: P4Runtime on {server.address}, device {device_id}, CPU port {cpu_port}")
                follower = Follower(take)
                stop.wait()
                ports.close()
                follower.close(take)
        finally:
            ports.close()
            if stats:
                report()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if failed.is_set():
        raise MidflightError("the switch stopped because an assertion of the program failed")


def _be_responsive() -> None:
    """Shorten the times for which one thread of this process delays the others.

    Objects that exist by now, mostly modules, are never garbage: without them, a collection takes a millisecond instead
    of 100. Threads that compute hand over the interpreter after a millisecond instead of five.
    """
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(0.001)


def _tls(
    certificate: Path | None, key: Path | None, client_ca: Path | None, roles: tuple[str, ...]
) -> ServerTls | None:
    from midflight.runtime.p4runtime.tls import ServerTls

    if certificate is None or key is None:
        if certificate or key or client_ca or roles:
            raise click.UsageError("TLS needs both --tls-cert and --tls-key")
        return None
    bound: dict[str, frozenset[str]] = {}
    for each in roles:
        name, sign, role = each.partition("=")
        if not name or not sign:
            raise click.BadParameter(f"{each!r} is not NAME=ROLE", param_hint="--tls-role")
        bound[name] = bound.get(name, frozenset()) | {role}
    return ServerTls(certificate, key, client_ca, bound)


def _size(text: str) -> int:
    """Return the bytes of a text such as "512MiB"."""
    found = measured(text)
    if found is None or found[1] not in SIZES or found[0] * SIZES[found[1]] < 1:
        raise click.BadParameter(f"{text!r} is not a size: write a number and one of {', '.join(SIZES)}")
    return int(found[0] * SIZES[found[1]])


def _warn(words: str) -> None:
    click.echo(f"midflight: {words}", err=True)


def _describe(stats: TrafficStats, names: Mapping[int, str]) -> str:
    """Return the statistics as text, with a line for each port."""
    lines = [
        f"port {number}, {names[number]}: " + _counts({"received": each.received, "sent": each.sent, **each.dropped})
        for number, each in stats.ports.items()
    ]
    lines.append(_counts({"received": stats.received, "sent": stats.sent, "dropped": sum(stats.dropped.values())}))
    if stats.dropped:
        lines.append("dropped: " + _counts(stats.dropped))
    lines.append(_counts({"packet-ins": stats.packets_in, "packet-outs": stats.packets_out}))
    if any(stats.lost.values()):
        lines.append("lost: " + _counts(stats.lost))
    return "\n".join(lines)


def _counts(numbers: Mapping[str, int]) -> str:
    always = ("received", "sent", "dropped", "packet-ins", "packet-outs")
    return ", ".join(f"{name} {count}" for name, count in numbers.items() if count or name in always)
