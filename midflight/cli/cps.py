"""`midflight cps`: the path selector (C-PS) of a running controller's services."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import click

from midflight.cli.agents import address, stopping
from midflight.cli.controlled import client, state_option
from midflight.cli.options import FiniteRange

if TYPE_CHECKING:
    from midflight.runtime.steering.cps.selector import Decision
    from midflight.runtime.steering.trust.verifier import Journal, Verifier

__all__ = ["cps"]

EPILOG = """\b
Deployments:
  midflight cps                                       centralised: one for all ingresses, beside the controller
  midflight cps --switch s1 --listen 127.0.0.1:7701 --peer 127.0.0.1:7702
  midflight cps --switch s2 --listen 127.0.0.1:7702 --peer 127.0.0.1:7701
                                                      distributed: one for each ingress; they exchange updates
  With a Balance in the program, ingresses choose by loads that replies carry: hybrid, or distributed with --switch.

\b
Examples:
  midflight cps --probe h2=127.0.0.1:8620 --detect 1 --period 0.3
  midflight cps --authority factory.example=91ab... --descriptor edge1.descriptor --descriptor edge2.descriptor
      --journal refused.log
"""

DAY = 86_400.0
PROBES = 4  # in the detection time, at least
T = TypeVar("T")


@click.command(epilog=EPILOG)
@click.option(
    "--listen",
    metavar="HOST:PORT",
    default="127.0.0.1:7700",
    show_default=True,
    help="Receive updates here, and sessions of peers.",
)
@click.option("--peer", "peers", metavar="HOST:PORT", multiple=True, help="Announce updates to this path selector.")
@click.option(
    "--peer-tls",
    metavar="CERTIFICATE KEY AUTHORITY",
    nargs=3,
    type=click.Path(path_type=Path),
    help="PEM files for TLS in sessions with peers, which all need a certificate of the authority.",
)
@click.option("--switch", default="", help="Select for the requests that enter the network at this switch only.")
@click.option("--period", default=1.0, show_default=True, type=FiniteRange(0.05, DAY), help="Seconds between rounds.")
@click.option(
    "--detect",
    default=3.0,
    show_default=True,
    type=FiniteRange(0, DAY, min_open=True),
    help="Seconds without an update, or without an answer to probes, after which an instance counts as dead.",
)
@click.option(
    "--probe",
    "probes",
    metavar="INSTANCE=HOST:PORT",
    multiple=True,
    help="Probe the reflector at this address, beside the instance, given by host or address. May be repeated.",
)
@click.option(
    "--authority",
    "authorities",
    metavar="DOMAIN=HEX",
    multiple=True,
    help="Accept descriptors signed by the authority of this trust domain, with this public key. May be repeated.",
)
@click.option(
    "--descriptor",
    "descriptors",
    metavar="FILE",
    type=click.Path(path_type=Path),
    multiple=True,
    help="The descriptor of an instance. May be repeated.",
)
@click.option(
    "--journal",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Append admitted instances and refused records to this hash-chained log.",
)
@click.option(
    "--service-time",
    default=0.01,
    show_default=True,
    type=FiniteRange(0, min_open=True),
    help="The service time, in seconds, of instances that do not report theirs.",
)
@click.option("--count", metavar="N", type=click.IntRange(1), help="End after N rounds.  [default: run until Ctrl-C]")
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each change.")
@state_option
def cps(
    listen: str,
    peers: tuple[str, ...],
    peer_tls: tuple[Path, Path, Path] | None,
    switch: str,
    period: float,
    detect: float,
    probes: tuple[str, ...],
    authorities: tuple[str, ...],
    descriptors: tuple[Path, ...],
    journal: Path | None,
    service_time: float,
    count: int | None,
    as_json: bool,
    state: Path | None,
) -> None:
    """Set the weights of services from what agents report, round by round, until Ctrl-C.

    Receives the updates of `midflight sma` and, with the CS-ID ::, of `midflight nma`, and takes the demand from the
    switches' counters. The CS-ID is the service's address, and the CSCI-ID the host's. An instance that stops sending
    updates, or answering --probe, gets no requests after --detect seconds, so agents should send updates at least three
    times in that time. Weights hold for five periods; if this command ends, the static weights then return.

    Path selectors keep sessions over TCP with their peers, at the same addresses and port numbers as for updates. Each
    announces the updates that it hears, and those of other peers, with their signatures. When a session ends, or a peer
    is silent for the smaller --detect of the two, the updates that came only from there are withdrawn, and their
    instances get nothing until they are heard again.

    With --authority, only signed records count, from instances whose descriptors are given. What contradicts the
    answers to --probe is refused.

    Fails at the start if no controller is running, if a probe names no instance, or if a descriptor is refused. If the
    controller cannot be reached later, that is reported, and the next round tries again.
    """
    from midflight.errors import MidflightError
    from midflight.runtime.controller.service.remote import RemoteServices
    from midflight.runtime.steering.agents.channel import Collector
    from midflight.runtime.steering.cps.exchange import Exchange
    from midflight.runtime.steering.cps.health import HealthProbes
    from midflight.runtime.steering.cps.peering import Closed, Heard, Opened, Peering, PeerTls
    from midflight.runtime.steering.cps.rounds import Rounds
    from midflight.runtime.steering.cps.selector import PathSelector

    selector = PathSelector(round(detect * 1e9))
    reflectors = dict(_pairs(probes, "--probe", "INSTANCE=HOST:PORT", address))
    if descriptors and not authorities:
        raise click.UsageError("--descriptor needs --authority")
    if journal and not authorities:
        raise click.UsageError("--journal needs --authority: without one, nothing is refused")
    with ExitStack() as stack:
        verifier = _verifier(authorities, descriptors, journal, stack) if authorities else None
        made = stack.enter_context(client(state))
        network = RemoteServices(made)
        served = network.served(switch)
        instances = [it for each in served for it in each.instances]
        instances += [it for each in served for one in each.classes for it in one.instances]
        hosts = {each.host: each.csci_id for each in instances}
        if unknown := [each for each in reflectors if each not in hosts and each not in hosts.values()]:
            raise MidflightError(f"no service has an instance {', '.join(unknown)}", hint="name its host or address")
        probing = {hosts.get(each, each): where for each, where in reflectors.items()}
        interval = max(min(period, detect / PROBES), 0.005)
        health = stack.enter_context(HealthProbes(probing, selector.liveness, time.time_ns, round(interval * 1e9)))
        speaker = secrets.randbits(64)
        exchange = Exchange(speaker, selector, lambda record, now: collector.check(record, now))
        collector = stack.enter_context(
            Collector(
                selector.board,
                verifier,
                *address(listen),
                measured=selector.measured,
                heard=selector.heard,
                learned=exchange.learned,
            )
        )
        tls = PeerTls(*peer_tls) if peer_tls else None
        to = [address(each) for each in peers]
        peering = stack.enter_context(Peering(speaker, *collector.address, peers=to, hold=detect, tls=tls))

        def talk() -> None:
            for event in peering.events():
                match event:
                    case Opened(peer=peer):
                        peering.tell(exchange.table(), peer)
                    case Heard(source=source, message=message):
                        exchange.received(source, message, time.time_ns())
                    case Closed(source=source, reason=reason):
                        click.echo(f"midflight: a session of a peer has ended: {reason}", err=True)
                        exchange.closed(source)
            peering.tell(exchange.news())

        click.echo(f"listening for updates at {collector.address[0]}:{collector.address[1]}", err=True)
        rounds = Rounds(selector, network, switch=switch, valid=5 * period, service=service_time)
        said: dict[str, str] = {}
        stop = stack.enter_context(stopping())
        done = 0
        while not stop.is_set() and (count is None or done < count):
            until = time.monotonic() + period
            while not stop.is_set() and (left := until - time.monotonic()) > 0:
                collector.collect(time.time_ns(), min(left, 0.1, interval))
                health.poll()
                talk()
            if stop.is_set():
                break
            try:
                decisions, problem = rounds.round(time.time_ns()), ""
                exchange.expire()
            except MidflightError as error:
                decisions, problem = {}, str(error)
            if problem and said.get("") != problem:
                click.echo(f"midflight: {problem}", err=True)
            said[""] = problem
            for name, each in decisions.items():
                text = json.dumps(_document(name, each)) if as_json else _text(name, each)
                if said.get(name) != text:
                    click.echo(text)
                said[name] = text
            done += 1


def _verifier(
    authorities: Iterable[str], descriptors: Iterable[Path], journal: Path | None, stack: ExitStack
) -> Verifier:
    from midflight.errors import MidflightError
    from midflight.runtime.steering.trust.log import ChainedLog
    from midflight.runtime.steering.trust.verifier import Verifier
    from midflight.userfiles import read_data

    keys = dict(_pairs(authorities, "--authority", "DOMAIN=HEX", bytes.fromhex))
    if wrong := [each for each, key in keys.items() if len(key) != 32]:
        raise click.BadParameter(f"the key of {wrong[0]} must be 64 hexadecimal digits", param_hint="--authority")
    log: Journal | None = stack.enter_context(ChainedLog(journal, time.time_ns)) if journal else None
    made = Verifier(keys, log)
    for each in descriptors:
        data = read_data(each)
        if made.admit(data, time.time_ns()) is None:
            raise MidflightError(f"{each} is refused: {', '.join(made.refused)}")
    return made


def _pairs(texts: Iterable[str], option: str, form: str, read: Callable[[str], T]) -> Iterable[tuple[str, T]]:
    for each in texts:
        name, _, value = each.partition("=")
        try:
            if not name or not value:
                raise ValueError
            found = read(value)
        except ValueError:
            raise click.BadParameter(f"{each!r} is not {form}", param_hint=option) from None
        yield name, found


def _document(name: str, decision: Decision) -> dict[str, object]:
    return {"service": name, **_figures(decision), "classes": {k: _figures(it) for k, it in decision.classes.items()}}


def _figures(decision: Decision) -> dict[str, object]:
    weights = {instance: round(weight, 3) for instance, weight in decision.weights.items()}
    return {"weights": weights, "source": decision.source, "dead": dict(decision.dead)}


def _text(name: str, decision: Decision) -> str:
    parts = [f"{instance} {weight:.3f}" for instance, weight in decision.weights.items()]
    dead = [f"; {instance} is dead" for instance in decision.dead]
    line = f"{name}: {', '.join(parts)} ({decision.source}){''.join(dead)}"
    return "\n".join([line, *(_text(f"{name}, class {each}", it) for each, it in decision.classes.items())])
