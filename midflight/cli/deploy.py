"""`midflight deploy`: run a controller for switches that are already running."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from midflight.cli.controlled import folder_of, state_option
from midflight.cli.options import FiniteRange

if TYPE_CHECKING:
    import threading

    from midflight.runtime.controller.folder import StateFolder
    from midflight.runtime.controller.observe.events import OnEvent

__all__ = ["deploy"]

EPILOG = """\b
Examples:
  midflight deploy app.py --switches network.yaml               Ctrl-C withdraws all applications
  midflight deploy app.py --switches network.yaml --keep        Ctrl-C leaves the switches unchanged
  midflight deploy --switches network.yaml                      resumes the last deployment
  midflight deploy --switches network.yaml --standby            takes over when the first controller dies or hangs
  midflight deploy --plan app.yaml --switches network.yaml      a planner decides which switch runs which step
  midflight deploy app.py --switches network.yaml --log json --metrics 9464 2> log.jsonl

\b
network.yaml, for two switches that serve P4Runtime:
  switches:
    s1: {address: "127.0.0.1:9559", kind: host}
    s2: {address: "127.0.0.1:9560", kind: bmv2}
  hosts:
    h1: {address: 10.0.0.1, mac: "02:00:00:00:00:01"}
    h2: {address: 10.0.0.2, mac: "02:00:00:00:00:02"}
  links: [h1 s1, s1 s2, h2 s2]
"""


@click.command(epilog=EPILOG)
@click.argument("app", metavar="[APP.py]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--switches",
    "network_file",
    metavar="NETWORK.yaml",
    required=True,
    type=click.Path(path_type=Path),
    help="The file with the addresses of switches and hosts, and their links.",
)
@click.option("--program", "name", metavar="NAME", help="The program, if the file has several.")
@click.option(
    "--plan",
    "plan_file",
    metavar="APP.yaml",
    type=click.Path(path_type=Path),
    help="The application of `midflight place`. Each switch runs the steps that the planner gives it.",
)
@click.option(
    "--shift",
    metavar="SECONDS",
    type=FiniteRange(1, 1e6),
    help="Plan again when sources have sent over twice, or under half, of what the plan expects, for this long.",
)
@state_option
@click.option("--keep", is_flag=True, help="At the end, leave the switches unchanged, for the next controller.")
@click.option(
    "--standby", is_flag=True, help="If another controller uses the state folder, wait until it ends or hangs."
)
@click.option(
    "--log", "form", type=click.Choice(["text", "json"]), default="text", show_default=True, help="The log's format."
)
@click.option(
    "--metrics",
    metavar="PORT",
    type=click.IntRange(0, 65535),
    help="Serve Prometheus metrics on this port of 127.0.0.1; 0 selects a free port.",
)
def deploy(
    app: Path | None,
    network_file: Path,
    name: str | None,
    plan_file: Path | None,
    shift: float | None,
    state: Path | None,
    keep: bool,
    standby: bool,
    form: Literal["text", "json"],
    metrics: int | None,
) -> None:
    """Deploy a program to switches that are already running.

    Compiles the program, places its applications on the switches, and loads it. The controller keeps running. It
    restores switches that restart, and accepts the commands admit, withdraw, change, replan, limit, mirror, map, state,
    counters, alerts, status, service, cps, sma and undeploy. The state folder contains its desired state. A controller
    that was killed resumes from there: it writes only differences to the switches, and does not disturb traffic. APP.py
    may then be left out.

    With --plan, a planner decides which switch runs which step of an application. The steps are admitted for all hosts.
    When a switch fails or returns, the plan is made again, and steps move with their state where it can be read. With
    --shift, it is also made again for what the sources send, when that has changed for good.

    If another controller uses the state folder, this is an error, unless --standby is given. A standby takes over when
    the other controller's process ends; if it does not respond for 5 s, the standby kills it. Metrics are served only
    with --metrics.

    The log goes to standard error. Ctrl-C, SIGTERM or SIGHUP withdraws all applications, so that switches only forward;
    with --keep, it leaves the switches unchanged.
    """
    import sys

    from midflight.cli.userfile import load_program
    from midflight.runtime.controller.deployment import Deployment
    from midflight.runtime.controller.folder import StateFolder
    from midflight.runtime.controller.network import load_network
    from midflight.runtime.controller.observe.events import Event
    from midflight.runtime.controller.observe.log import Log
    from midflight.runtime.controller.observe.metrics import Metrics
    from midflight.runtime.controller.planning import PlanSource
    from midflight.runtime.controller.service.commands import Commands
    from midflight.runtime.controller.service.server import CommandServer
    from midflight.runtime.controller.service.wire import target
    from midflight.runtime.controller.sources import ProgramSource
    from midflight.runtime.controller.store import Store

    log, measured = Log(sys.stderr, form), Metrics()
    network, plan = load_network(network_file), None
    if plan_file is not None:
        plan = PlanSource.read(plan_file)
        app = app or plan.parsed.program
    source = ProgramSource.read(app, name) if app else None
    with ExitStack() as stack:
        stop = stack.enter_context(_stopping())
        folder = stack.enter_context(StateFolder(folder_of(state)))
        target(folder.socket)  # raises for a path that is too long, before a switch is changed
        if not _held(folder, standby, stop, log):
            return
        store = stack.enter_context(Store(folder.path))
        if metrics is not None:
            port, close = measured.serve(metrics)
            stack.callback(close)
        deployment = stack.enter_context(
            Deployment(network, store, load_program, source, plan=plan, shift=shift, sinks=[log], metrics=measured)
        )
        if metrics is not None:
            deployment.emit(Event("metrics", f"http://127.0.0.1:{port}/metrics", details={"port": port}))
        commands = Commands(deployment)
        stack.enter_context(CommandServer(folder.socket, commands.calls, commands.streams))
        deployment.emit(Event("ready", f"accepting commands through {folder.path}"))
        while not stop.wait(0.1) and not deployment.ended.is_set():
            pass
        if keep and not deployment.ended.is_set():
            deployment.emit(Event("stopped", "the switches are left unchanged"))
        else:
            deployment.withdraw_all()


def _held(folder: StateFolder, standby: bool, stop: threading.Event, log: OnEvent) -> bool:
    """Become the only controller of a state folder. Returns False if a standby is stopped while it waits.

    MidflightError if the folder has a controller and this is not a standby.
    """
    from midflight.errors import MidflightError
    from midflight.runtime.controller.observe.events import Event
    from midflight.runtime.controller.standby import Standby

    if folder.hold():
        return True
    holder = folder.holder.pid
    if not standby:
        raise MidflightError(
            f"process {holder} is already the controller of {folder.path}",
            hint="choose another folder with --state, or wait until it ends with --standby",
        )
    log(Event("standby", f"process {holder} is the controller", details={"holder": holder}))
    waiting, problem = Standby(folder), ""
    while not stop.wait(0.05):
        if ended := waiting.attempt():
            log(Event("took-over", ended, details={"holder": waiting.holder}))
            return True
        if waiting.problem != problem:
            problem = waiting.problem
            if problem:
                log(Event("standby", problem, details={"holder": waiting.holder}))
    return False


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """Yield an event that SIGINT, SIGTERM and, unless it is ignored as after `nohup`, SIGHUP set."""
    import signal
    import threading

    stop = threading.Event()
    numbers = [signal.SIGINT, signal.SIGTERM]  # a script that starts this with `&` makes it ignore SIGINT
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    before = {each: signal.signal(each, lambda *_: stop.set()) for each in numbers}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
