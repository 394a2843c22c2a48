"""One switch of a controller: its session, its configuration, and changes of its program with rollback."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial

from finsy.proto import p4r

from midflight.errors import DeviceError, MidflightError
from midflight.primitives import Application, Program
from midflight.primitives.state import State
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.controller.configuration import Configuration, Registers, Snapshot, read_registers
from midflight.runtime.controller.endpoints import SwitchEndpoint
from midflight.runtime.devices.base import Device, PipelineConfig
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.devices.switchprocess import SwitchProcess
from midflight.runtime.p4runtime.client.maps import Maps
from midflight.runtime.p4runtime.client.session import RequestError, Session
from midflight.runtime.p4runtime.status import Code
from midflight.runtime.placement import Placement
from midflight.runtime.steering import Child, Member, Offload, Sender, Standing

__all__ = ["ManagedSwitch", "SwitchedOn"]

_EXIT_TIMEOUT = (
    1.0  # seconds in which a process that does not answer must exit to count as dead; then it is alive but stuck
)


class ManagedSwitch:
    """One switch of a controller: its P4Runtime session, and the configuration (program and tables) that it should run.

    `endpoint` is the means to reach the switch. `capabilities` overrides those that the device reports; None for no
    override. There is no session until `connect`, and the switch has no program until `expect` and `begin`.
    """

    def __init__(self, endpoint: SwitchEndpoint, capabilities: Capabilities | None = None) -> None:
        self._endpoint = endpoint
        self.name = endpoint.name
        self.sheet = capabilities or self.device.capabilities
        """The capabilities of the device, or their override, with which placement decides what fits."""
        self.on = False
        """Whether the controller believes that the switch is on and that it is the switch's primary controller."""
        self.reason = ""
        """Why the switch is off, as text; empty if it is on or was turned off on request."""
        self._session: Session | None = None
        self._steering: Offload | None = None
        self._expected: tuple[Configuration, Maps] | None = None
        self._loaded: Configuration | None = None  # known to be on the device

    @property
    def device(self) -> Device:
        """The switch's device. `power` may replace it by another object, so do not keep it.

        DeviceError if its capabilities must be queried first and it does not answer.
        """
        return self._endpoint.device

    @property
    def session(self) -> Session:
        """The current session, or the last one if the switch is off. DeviceError if there has never been one."""
        if self._session is None:
            raise DeviceError(f"there is no session with {self.name}", hint="it has not answered yet")
        return self._session

    @property
    def steering(self) -> Offload:
        """The object that writes the switch's routes and admissions. DeviceError if there has never been a session."""
        if self._steering is None:
            raise DeviceError(f"there is no session with {self.name}", hint="it has not answered yet")
        return self._steering

    @property
    def running(self) -> Configuration:
        """The configuration that the switch runs, or will run once it is on again. Call `expect` first."""
        assert self._expected is not None
        return self._expected[0]

    @property
    def maps(self) -> Maps:
        """The maps of the applications in `running`, by which their entries on the switch are read and written."""
        assert self._expected is not None
        return self._expected[1]

    def connect(self) -> None:
        """Open a session in place of any earlier one, and mark the switch as on. Blocks until the switch answers.

        DeviceError if it does not answer, or if another controller is its primary and the endpoint does not allow a
        backup.
        """
        self.attach(self.open())

    def open(self) -> Session:
        """Close the last session, and return a new one to pass to `attach`. Blocks until the switch answers.

        Changes nothing else, so the caller needs no lock. DeviceError if it does not answer, or if another controller
        is its primary and the endpoint does not allow a backup; the last session is then closed all the same.
        """
        if self._session is not None:
            self._session.close()  # two sessions cannot have the same election id
        return self._endpoint.session()

    def attach(self, session: Session) -> None:
        """Use a session that `open` returned, and mark the switch as on.

        Nothing is assumed about the program and the entries on the switch; they are unknown until `holds_expected` or
        `begin`.
        """
        if self._session is not None:
            session.inherit(self._session)
        self._session, self._steering, self._loaded = session, Offload(session), None
        self.on, self.reason = True, ""

    def lose(self, reason: str) -> None:
        """Mark the switch as off, for this reason, until the next `connect` or `attach`. Sends nothing to it."""
        self.on, self.reason, self._loaded = False, reason, None

    def close(self) -> None:
        """Close the current session, if there is one. Idempotent."""
        if self._session is not None:
            self._session.close()

    def compile(
        self,
        program: Program,
        placement: Placement,
        checked: CheckedProgram,
        made: dict[tuple[str, CheckedProgram], PipelineConfig],
    ) -> Configuration:
        """Return the configuration in which this switch runs the part of a program that `placement` gives it.

        `checked` is the P4 of that part. `made` caches what has been compiled, by kind of device and program; it is
        added to. A switch that runs the same P4 text already needs no compilation. Sends nothing. P4Error if the
        device's compiler rejects the text, DeviceError if the compiler is missing or fails.
        """
        placed = placement.on(self.name)
        if self._expected is not None and self.running.source == checked.text:
            return Configuration(program, placement, placed, self.running.checked, self.running.pipeline)
        key = self.device.capabilities.kind, checked
        if key not in made:
            made[key] = self.device.compile(checked)
        return Configuration(program, placement, placed, checked, made[key])

    def state(self, application: str) -> State:
        """Return access to the registers of an application on this switch. Sends nothing. Call `expect` first.

        MidflightError if the program has no such application, DeviceError if there has never been a session. Reading
        and writing raise MidflightError if the switch does not run the application.
        """
        return self.running.program.state(application, self.session.inband)

    def expect(self, configuration: Configuration) -> None:
        """Set the configuration that the next `begin` loads. Sends nothing. Maps of the same shape keep entries."""
        self._expected = configuration, self._maps(configuration)

    def begin(self) -> None:
        """Load the expected configuration, with empty registers, and write the entries of its maps.

        The switch then has no routes and no admissions, so it drops all packets. DeviceError if it refuses; the message
        names the switch, and the kind of device that the program was compiled for.
        """
        try:
            self._push(self.running)
        except RequestError as error:
            kind = self.device.capabilities.kind
            message = f"{self.name} rejects the program, which was compiled for the kind {kind}: {error.message}"
            raise RequestError(message, error.code, refused=error.refused, hint=error.hint) from None
        self.maps.install(self.session)
        self._steering = Offload(self.session)

    def holds_expected(self) -> bool:
        """Return whether the device runs the expected program, by its P4Runtime cookie, a hash of the P4 text.

        Sends a request. DeviceError if the switch does not answer.
        """
        return self.session.read_cookie() == self.running.cookie

    @contextmanager
    def planning(self) -> Iterator[list[p4r.Entity]]:
        """Collect the entities (table entries, groups and so on) that the switch should hold, instead of writing them.

        A context manager. Its list fills with the entries of the switch's maps and with all that the block writes. The
        switch must run the expected program. Afterwards, the caller must make the switch hold these entities.
        """
        self._loaded, self._steering = self.running, Offload(self.session)
        with self.session.planning() as wanted:
            self.maps.install(self.session)
            yield wanted

    def admit(
        self,
        application: Application,
        receivers: Iterable[Member | Child],
        *,
        epoch: int,
        ports: Iterable[int] | None,
        rate: int,
        token: int = 0,
        senders: Iterable[Sender] | None = None,
    ) -> None:
        """Subscribe to an application's alerts, and start computing on its requests: see `Offload.admit`.

        `receivers` are the members that get multicast results. Parameters and errors are those of `Offload.admit`;
        DeviceError if the switch refuses the subscription.
        """
        if any(each.preamble.name == application.digest for each in self.session.p4info.digests):
            self.session.subscribe(application.digest)
        self.steering.admit(
            application.id, receivers, epoch=epoch, ports=ports, rate=rate, token=token, senders=senders
        )

    def power(self, *, on: bool) -> None:
        """Turn the switch off (`on` False) or on. It loses its program, entries and registers.

        If that replaces the device, a session with the new one is opened; `begin` has to load the program.
        MidflightError if its endpoint cannot do that, DeviceError if the switch does not start.
        """
        before = self.device
        with suppress(DeviceError):  # the switch may be off or dead already
            self.session.keep()
        self._endpoint.power(on=on)
        self._loaded, self.on = None, on
        if self.device is not before:
            steering = self._steering
            self.connect()
            self._steering, self.on = steering, on  # the old admissions are needed until `begin`

    def verify(self, wanted: Configuration) -> None:
        """Ask the device whether it can run a configuration. Does nothing if the switch is off or runs the same P4
        text.

        DeviceError if it cannot or does not answer; a switch whose process has died is then off. A device that compiles
        programs itself does so now rather than during the change. A device that does not implement the action VERIFY of
        P4Runtime passes.
        """
        if self.on and wanted is not self._loaded and (self._loaded is None or wanted.source != self.running.source):
            try:
                self.session.load(wanted.pipeline.p4info, wanted.pipeline.config, action="VERIFY")
            except DeviceError as error:
                self._power_off_if_dead(error)
                if not isinstance(error, RequestError) or error.code != Code.UNIMPLEMENTED:
                    raise

    def change(self, wanted: Configuration) -> Callable[[], None]:
        """Change to another configuration, and return the function that rolls the change back.

        Applications that `Configuration.surviving` names keep their registers. The switch drops packets during the
        change. A switch that is off gets the configuration with the next `begin`, and one whose P4 text stays the same
        is left alone.

        DeviceError if the device rejects the program; then the change has been rolled back, or the switch is off
        because that failed, too. The returned function takes no arguments and raises nothing: if the rollback fails,
        the switch is off.
        """
        if self.on and wanted.source != self.running.source:
            return partial(self._roll_back, self._exchange(wanted))
        before = self._expected
        if self.on:
            self._expected = wanted, self.maps
        else:
            self.expect(wanted)
        return partial(setattr, self, "_expected", before)

    def _exchange(self, wanted: Configuration) -> Snapshot:
        """Change to another program, and return a snapshot of the state before."""
        running, session = self.running, self.session
        try:
            kept = Snapshot(running, self.maps, frozenset(session.subscriptions), self.steering.standing())
        except DeviceError as error:
            self._power_off_if_dead(error)
            raise
        try:
            self.steering.hold()
            kept = replace(kept, values=read_registers(session, running.program, running.placed))
            values = {name: kept.values[name] for name in running.surviving(wanted)} if kept.values else {}
            self._put(wanted, self._maps(wanted), kept.standing.only(wanted.ids), values, kept.subscriptions)
        except BaseException as error:
            self._roll_back(kept, error)
            raise
        return kept

    def _roll_back(self, kept: Snapshot, error: BaseException | None = None) -> None:
        """Restore the state before a change that completed, or that failed with this error."""
        try:
            if self.running is not kept.configuration:  # it completed, and the switch has computed since
                later, session = self.steering.standing(), self.session
                self.steering.hold()
                surviving = kept.configuration.surviving(self.running)
                now = read_registers(session, self.running.program, surviving)
                kept = replace(kept, standing=kept.standing.recounted(later), values={**(kept.values or {}), **now})
                kept.maps.adopt(self.maps)
            self._alive(error)
            try:
                self._restore(kept)
            except DeviceError as refusal:
                if kept.values is None or not self._alive(refusal):
                    raise
                self._restart()  # a device may be alive and have lost its program: see `Bmv2Device`
                self._restore(kept)
        except MidflightError:
            self._power_off()
        self._expected = kept.configuration, kept.maps

    def _restore(self, kept: Snapshot) -> None:
        """Put a snapshot in place. Its program may still be on the device."""
        if self._loaded is kept.configuration:
            self.steering.resume(self.session, kept.standing)
        elif kept.values is not None:
            self._put(kept.configuration, kept.maps, kept.standing, kept.values, kept.subscriptions)
        else:
            raise DeviceError(f"the state of {self.name} is lost: it was not read before the change")

    def _put(
        self,
        configuration: Configuration,
        maps: Maps,
        standing: Standing,
        values: Registers,
        subscriptions: Collection[str],
    ) -> None:
        """Load a program and its state. A device that cannot take a program while it runs is restarted first."""
        if not self.sheet.live_pipelines or not self._alive():
            self._restart()
        try:
            self._push(configuration)
        except DeviceError as error:
            if self._alive(error):
                raise
            self._restart()
            self._push(configuration)
        session = self.session
        digests = {each.preamble.name for each in session.p4info.digests}
        for digest in sorted(each for each in subscriptions if each in digests):
            session.subscribe(digest)
        maps.install(session)
        for name, each in values.items():
            configuration.program.state(name, session.inband).restore(each)
        self.steering.resume(session, standing)
        self._expected = configuration, maps

    def _push(self, configuration: Configuration) -> None:
        before, self._loaded = self._loaded, None
        try:
            pipeline = configuration.pipeline
            self.session.load(pipeline.p4info, pipeline.config, cookie=configuration.cookie)
        except RequestError:  # the device refused and keeps its program
            self._loaded = before
            raise
        self._loaded = configuration

    def _restart(self) -> None:
        self.power(on=False)
        self.power(on=True)

    def _maps(self, configuration: Configuration) -> Maps:
        maps = Maps(self._session, configuration.program, configuration.placed)
        if self._expected is not None:
            maps.adopt(self.maps)
        return maps

    def _power_off_if_dead(self, error: DeviceError) -> None:
        """Turn the switch off if this error shows that its process has died."""
        if not self._alive(error):
            self._power_off()

    def _power_off(self) -> None:
        with suppress(MidflightError):
            self.power(on=False)
        self.on = False

    def _alive(self, error: BaseException | None = None) -> bool:
        """Return whether the device runs. `error` is what a request failed with, if one did."""
        device = self.device
        if not isinstance(device, SwitchProcess):
            return True
        unanswered = isinstance(error, DeviceError) and not isinstance(error, RequestError)
        alive = not device.ends(_EXIT_TIMEOUT) if unanswered else device.alive
        if not alive:
            self._loaded = None
        return alive


class SwitchedOn(Mapping[str, Session]):
    """The sessions with those of the given switches that are on when it is read: a mapping by switch name."""

    def __init__(self, switches: Mapping[str, ManagedSwitch]) -> None:
        self._switches = switches

    def __getitem__(self, name: str) -> Session:
        if not self._switches[name].on:
            raise KeyError(name)
        return self._switches[name].session

    def __iter__(self) -> Iterator[str]:
        return iter([name for name, each in self._switches.items() if each.on])

    def __len__(self) -> int:
        return sum(each.on for each in self._switches.values())
