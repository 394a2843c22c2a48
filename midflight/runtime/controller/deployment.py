"""A deployment: a controller with persistent state, failure detection, events, metrics and an alert log."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any

from midflight.closing import Closer
from midflight.errors import DeviceError, MidflightError
from midflight.primitives import Program
from midflight.primitives.kernel.packet import Verdict
from midflight.runtime.controller.controller import Controller
from midflight.runtime.controller.demand import demand_watch
from midflight.runtime.controller.deployed import DeployedSwitch
from midflight.runtime.controller.expiry import expiry
from midflight.runtime.controller.following import Following
from midflight.runtime.controller.monitor import Monitor, restored
from midflight.runtime.controller.network import Network
from midflight.runtime.controller.observe.alerts import AlertLog
from midflight.runtime.controller.observe.events import Event, OnEvent
from midflight.runtime.controller.observe.metrics import Metrics, Reading, SwitchReading
from midflight.runtime.controller.periodic import Periodic
from midflight.runtime.controller.planning import PlanSource
from midflight.runtime.controller.saved import SavedState
from midflight.runtime.controller.sources import Loader, ProgramSource, succeeding
from midflight.runtime.controller.store import Store

__all__ = ["Deployment"]

_REFUSALS = ("not admitted", "wrong token", "no member", "too fast")
"""Why a request is not computed on, in the order of the counter `refused`."""

_PATIENCE = 3.0
"""Timeout in seconds of the first request to a switch whose counters are read."""

_KEPT_EVENTS = 200
"""How many of the latest events are kept in memory for `Deployment.follow`."""


class Deployment:
    """A controller that saves its desired state in a store, and that the next process can resume. A context manager.

        with StateFolder(path) as folder, Store(folder.path) as store:
            with Deployment(network, store, load, source) as deployment:
                deployment.controller.admit("pressure")

    `loader` runs a Python file and returns its program. If the store holds no desired state, the program of `source`
    is deployed. If it does, the deployment resumes it: the controller reads back what each switch holds and writes
    only the differences. `source` is then only compared with the deployed program, and may be None. With `plan`, each
    switch runs the steps that a plan gives it, which are admitted at once for all hosts; when a switch fails or
    returns, the plan is made again, as it is when the demand has shifted for `shift` seconds (see `demand_watch`).
    With `shift` None, shifts are not noticed. A deployment that is resumed follows its own plan; `plan` must then be
    None or the same. Each of `sinks` is called with each event. `metrics` counts requests, events and alerts; None is
    a new object.

    Leaving the context leaves the switches and the store unchanged, for the next controller. `withdraw_all` ends the
    deployment. MidflightError if the program or the plan is wrong, differs from the deployed one, or does not fit the
    network, if there is neither a program nor a saved state, or if the store cannot be written. DeviceError if a switch
    rejects the program, or if nothing is deployed yet and a switch does not answer.

    If the desired state cannot be saved later on, for example on a full disk, the method of the controller that has
    changed it raises MidflightError. The switches then have the change; the next change that is saved includes it.
    """

    def __init__(
        self,
        network: Network,
        store: Store,
        loader: Loader,
        source: ProgramSource | None = None,
        *,
        plan: PlanSource | None = None,
        shift: float | None = None,
        sinks: Iterable[OnEvent] = (),
        metrics: Metrics | None = None,
    ) -> None:
        self.network = network
        self.store = store
        self.metrics = metrics or Metrics()
        self.began = time.time()
        """The time at which this process began, in seconds since 1970."""
        self.ended = threading.Event()
        """Set once `withdraw_all` has ended the deployment."""
        self._loader = loader
        self._sinks: list[OnEvent] = [*sinks, self.metrics]
        self._upcoming: tuple[Program, ProgramSource] | None = None  # during `change`
        self._events: deque[tuple[int, Event]] = deque(maxlen=_KEPT_EVENTS)
        self._emitted = threading.Condition()
        self._count = 0
        saved = store.desired
        self._source, self._deployed = _program_to_run(saved, source)
        planned = (saved or {}).get("plan")
        if saved is not None and plan is not None and (planned is None or planned["text"] != plan.text):
            raise MidflightError(f"{plan.file} differs from the deployed plan", hint="run `midflight undeploy` first")
        if planned is not None:
            plan = PlanSource.of(planned)
        self.following = None if plan is None else Following(plan, network, self.emit)
        """The plan that the switches follow; None for a deployment without a plan."""
        with ExitStack() as stack:
            self.controller = stack.enter_context(self._open(saved))
            if self.following is not None:
                self.following.begin(self.controller, resumed=saved is not None)
            self._save(self.controller)
            self._report_start(resumed=saved is not None)
            self.metrics.read = self._read
            again = (lambda: None) if self.following is None else self.following.again
            self.monitor = stack.enter_context(Monitor(self.controller, self.emit, again))
            self.expiry = stack.enter_context(expiry(self.controller, self.emit))
            self._demand: Periodic | None = None
            if self.following is not None and shift is not None:
                self._demand = stack.enter_context(demand_watch(self.following, self._read, self.emit, shift))
            self.alerts = stack.enter_context(AlertLog(self.controller.alerts, self.metrics.alerted))
            self._close = Closer(self, stack.pop_all().close)  # it keeps this object alive until closed

    def _open(self, saved: dict[str, Any] | None) -> Controller:
        network = self.network
        if saved is None:
            program = self._source.load(self._loader)
        else:
            program = self._source.load_kept(self._loader, self.store.path.parent, saved["ids"])
        switches = [
            DeployedSwitch(each, self.store, self.metrics.observer(each.name)) for each in network.switches.values()
        ]
        strategy = None
        if self.following is not None:
            strategy = self.following.strategy(program, None if saved is None else saved["plan"]["at"])
        return Controller(
            program,
            switches,
            network.graph,
            strategy=strategy,
            now=time.monotonic_ns,
            mtu=network.mtu,
            changed=self._save,
            saved=None if saved is None else SavedState(saved["state"]),
        )

    def close(self) -> None:
        """Stop the threads and close the sessions. The switches and the store stay unchanged. Idempotent."""
        self._close()

    def __enter__(self) -> Deployment:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def source(self) -> ProgramSource:
        """The Python file, with its text, that defines the program which the switches run."""
        return self._source

    def change(self, source: ProgramSource) -> None:
        """Change the program of all switches to that of another source, in one transaction: see `Controller.change`.

        An application keeps its id if the new program has one of the same name. MidflightError if the file or the
        program is wrong; then nothing has changed. DeviceError if a switch rejects it; then all are rolled back.
        """
        with self.controller.fleet.lock:
            program = succeeding(self.controller.program, source.load(self._loader))
            self._upcoming = program, source
            try:
                self.controller.change(program)
                self._source = source
            finally:
                self._upcoming = None
        self.emit(Event("changed", f"the switches now run {source.file}: {', '.join(program.applications)}"))

    def withdraw_all(self) -> list[str]:
        """End the deployment: withdraw all applications and delete the desired state. Return the switches that do not
        answer.

        The switches keep their program and routes, so they still forward. Those that do not answer, returned by name,
        also keep their admissions. Calling it again does nothing and returns an empty list. MidflightError if the store
        cannot be written; the deployment has then not ended, switches may keep their admissions, and failed switches
        are no longer noticed.
        """
        absent: list[str] = []
        if self._demand is not None:
            self._demand.close()
        self.expiry.close()
        self.monitor.close()  # before taking the lock, since its threads may wait for the lock
        with self.controller.fleet.lock:
            if self.ended.is_set():
                return absent
            for name, each in self.controller.switches.items():
                try:
                    if not each.on:
                        raise DeviceError(f"{name} is off")
                    each.steering.close()
                except DeviceError:
                    absent.append(name)
            self.store.forget()
            self.ended.set()
        left = f"; {', '.join(absent)} did not answer" if absent else ""
        self.emit(Event("withdrawn", f"all applications are withdrawn; the switches only forward{left}"))
        return absent

    # Events

    def emit(self, event: Event) -> None:
        """Save an event in the store, and pass it to all sinks and to the iterators that `follow` has returned.

        An event that the store cannot save, for example on a full disk, is still passed on. May be called from any
        thread.
        """
        with suppress(MidflightError):  # a full disk must not stop the controller
            self.store.report(event)
        for each in self._sinks:
            each(event)
        with self._emitted:
            self._count += 1
            self._events.append((self._count, event))
            self._emitted.notify_all()

    def follow(self, listening: Callable[[], bool], patience: float = 0.5) -> Iterator[Event | None]:
        """Yield each event from now on, and None whenever `patience` seconds have passed without one.

        Ends when `listening`, which is called at least after each of these, returns False. A caller that is more than
        200 events behind misses the oldest.
        """
        with self._emitted:
            seen = self._count
        while listening():
            with self._emitted:
                self._emitted.wait_for(lambda: self._count > seen, patience)  # noqa: B023 - called at once
                fresh = [event for number, event in self._events if number > seen]
                seen = self._count
            if fresh:
                yield from fresh
            else:
                yield None

    def _report_start(self, *, resumed: bool) -> None:
        controller, file = self.controller, self._source.file
        what = "resumed" if resumed else "deployed"
        names = ", ".join(controller.program.applications)
        self.emit(Event("resumed" if resumed else "deployed", f"{file} is {what}: {names}"))
        for name, each in controller.switches.items():
            if not each.on:
                self.emit(Event("switch-absent", each.reason, switch=name))
            elif resumed:
                self.emit(restored(name, controller.resumed.get(name), 0.0, controller.fleet.epoch))

    # Persistent state and metrics

    def _save(self, controller: Controller) -> None:
        """Save the current desired state."""
        if self.ended.is_set():
            return
        source = self._source
        if self._upcoming is not None and controller.program is self._upcoming[0]:
            source = self._upcoming[1]
        ids = {name: each.id for name, each in controller.program.applications.items()}
        state = SavedState.of(controller.fleet, controller.jobs).document
        document = {"program": source.document(), "ids": ids, "deployed": self._deployed, "state": dict(state)}
        if self.following is not None:
            document["plan"] = self.following.document(controller)
        self.store.save(document)

    def _read(self) -> Reading:
        with self.controller.fleet.lock:
            return Reading(
                self.controller.fleet.epoch, {name: self._read_switch(name) for name in self.controller.switches}
            )

    def _read_switch(self, name: str) -> SwitchReading:
        switch = self.controller.switches[name]
        if not switch.on:
            return SwitchReading(session=False)
        admitted, packets, octets = switch.steering.admitted, {}, {}
        names = {each.id: each.name for each in self.controller.program.applications.values()}
        try:
            switch.session.read_cookie(_PATIENCE)  # a switch that hangs would delay each read by the session's timeout
            for number in admitted:
                for port, count in switch.steering.counters(number).items():
                    key = names.get(number, str(number)), "any" if port is None else str(port)
                    packets[key], octets[key] = count.packets, count.bytes
            counted = switch.session.read_counter
            drops = {each: counted(f"ingress.{each}", 0).packets for each in ("malformed", "unroutable")}
            refused = {reason: counted("ingress.refused", number).packets for number, reason in enumerate(_REFUSALS)}
            dropped = {
                name: counted("ingress.dropped", number).packets
                for number, (name, each) in enumerate(switch.running.program.applications.items())
                if Verdict.DROP in each.primitive.kernel.verdicts
            }
        except DeviceError:
            return SwitchReading(session=True, admissions=len(admitted))
        return SwitchReading(True, len(admitted), packets, octets, drops, dropped, refused)


def _program_to_run(saved: dict[str, Any] | None, source: ProgramSource | None) -> tuple[ProgramSource, str]:
    """Return the source of the program to run, and the digest of the source that was deployed first."""
    if saved is None:
        if source is None:
            raise MidflightError("nothing is deployed yet", hint="name a Python file with a program")
        return source, source.digest
    running = ProgramSource.of(saved["program"])
    if source is not None and source.digest not in (saved["deployed"], running.digest):
        raise MidflightError(
            f"{source.file} differs from the deployed program",
            hint="resume without a file and then run `midflight change`, or run `midflight undeploy` first",
        )
    return running, str(saved["deployed"])
