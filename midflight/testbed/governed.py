"""A switch under the controller: what it runs, forwards and computes on, and its way to another program and back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from midflight.errors import DeviceError, MidflightError
from midflight.primitives import Program
from midflight.primitives.state import State
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices.base import Device, PipelineConfig
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.devices.switchprocess import SwitchProcess
from midflight.runtime.p4runtime.client.maps import Maps
from midflight.runtime.p4runtime.client.session import RequestError
from midflight.runtime.p4runtime.status import Code
from midflight.runtime.placement import Placement
from midflight.runtime.steering import Offload, Route, Standing
from midflight.testbed.change import Kept, Registers, Running, registers
from midflight.testbed.fabric.base import Fabric, Switchable

__all__ = ["Governed"]

_DEATH = 1.0  # seconds until a process that has stopped to answer is known to be dead


class Governed:
    """A switch of a fabric, by name, and the controller's session with it; `sheet` is what it is taken for.

    It has no program before `expect` and `begin`.
    """

    def __init__(self, name: str, fabric: Fabric, sheet: Capabilities | None = None) -> None:
        self.name = name
        self._fabric = fabric
        self.sheet = sheet or self.device.capabilities
        self.session = self.device.session()
        self.steering = Offload(self.session)
        self.on = True
        self._expected: tuple[Running, Maps] | None = None
        self._loaded: Running | None = None  # what is on it for sure

    @property
    def device(self) -> Device:
        """The device: another one each time that a process is started anew."""
        return self._fabric.devices[self.name]

    @property
    def running(self) -> Running:
        """What it runs, or will when it is on again."""
        assert self._expected is not None
        return self._expected[0]

    @property
    def maps(self) -> Maps:
        """The maps of that."""
        assert self._expected is not None
        return self._expected[1]

    def close(self) -> None:
        """Close the session. May be called more than once."""
        self.session.close()

    def compile(
        self,
        program: Program,
        placement: Placement,
        checked: CheckedProgram,
        made: dict[tuple[str, CheckedProgram], PipelineConfig],
    ) -> Running:
        """Return what it would run of a program. P4Error where its compiler does not take the text.

        `checked` is that as P4. `made` is what has been compiled already, by the kind of device and the text.
        """
        placed = placement.on(self.name)
        if self._expected is not None and self.running.source == checked.text:
            return Running(program, placement, placed, self.running.checked, self.running.pipeline)
        key = self.device.capabilities.kind, checked
        if key not in made:
            made[key] = self.device.compile(checked)
        return Running(program, placement, placed, checked, made[key])

    def state(self, application: str) -> State:
        """Return an application's registers on it."""
        return self.running.program.state(application, self.session.inband)

    def expect(self, running: Running) -> None:
        """Have it run this when it begins anew; maps that are the same there keep their entries."""
        self._expected = running, self._maps(running)

    def begin(self, routes: Iterable[Route]) -> None:
        """Give it its program, with empty registers, the entries of its maps, and routes."""
        self._push(self.running)
        self.maps.install(self.session)
        self.steering = Offload(self.session)
        self.steering.install(routes)

    def power(self, *, on: bool) -> None:
        """Switch it off or on. On again, it has forgotten everything."""
        if not isinstance(self._fabric, Switchable):
            raise MidflightError("the switches of this fabric cannot be switched off", hint="take sim or netns")
        before, session = self.device, self.session
        with suppress(DeviceError):  # where it is off already, or dead
            session.keep()
        self._loaded, self.on = None, False
        self._fabric.power(self.name, on=on)
        if self.device is not before:
            session.close()
            self.session = self.device.session()
            self.session.inherit(session)
        self.on = on

    def verify(self, wanted: Running) -> None:
        """Have the device say whether it can run this, where it is on and runs something else. DeviceError if not.

        One that compiles does it here, and not when it is to change. One that cannot verify is believed to be able.
        """
        if self.on and wanted.source != self.running.source:
            try:
                self.session.load(wanted.pipeline.p4info, wanted.pipeline.config, action="VERIFY")
            except DeviceError as error:
                self._bury(error)
                if not isinstance(error, RequestError) or error.code != Code.UNIMPLEMENTED:
                    raise

    def change(self, wanted: Running) -> Callable[[], None]:
        """Give it another program, and return what takes that back; what stays in the program keeps its state.

        It drops packets meanwhile. One that is off gets the program when it begins anew, and one whose program stays
        the same is told nothing. DeviceError where it does not take the program: it has what it had, or is off, where
        it did not take that either. The same holds for what takes a change back, which raises nothing.
        """
        if self.on and wanted.source != self.running.source:
            return partial(self._back, self._exchange(wanted))
        before = self._expected
        if self.on:
            self._expected = wanted, self.maps
        else:
            self.expect(wanted)
        return partial(setattr, self, "_expected", before)

    def _exchange(self, wanted: Running) -> Kept:
        """Give it another program, and return what it had."""
        running, session = self.running, self.session
        try:
            kept = Kept(running, self.maps, frozenset(session.subscriptions), self.steering.standing())
        except DeviceError as error:
            self._bury(error)
            raise
        try:
            self.steering.hold()
            kept = replace(kept, values=registers(session, running.program, running.placed))
            values = {name: kept.values[name] for name in running.staying(wanted)} if kept.values else {}
            self._put(wanted, self._maps(wanted), kept.standing.only(wanted.ids), values, kept.subscriptions)
        except BaseException as error:
            self._back(kept, error)
            raise
        return kept

    def _back(self, kept: Kept, error: BaseException | None = None) -> None:
        """Give it what it had before a change: one that came to its end, or to this error."""
        try:
            if self.running is not kept.running:  # it has computed since
                later, session = self.steering.standing(), self.session
                self.steering.hold()
                staying = kept.running.staying(self.running)
                now = registers(session, self.running.program, staying)
                kept = replace(kept, standing=kept.standing.recounted(later), values={**(kept.values or {}), **now})
                kept.maps.adopt(self.maps)
            self._alive(error)
            try:
                self._restore(kept)
            except DeviceError as refusal:
                if kept.values is None or not self._alive(refusal):
                    raise
                self._restart()  # one may run and keep nothing: see `Bmv2Device`
                self._restore(kept)
        except MidflightError:
            with suppress(MidflightError):
                self.power(on=False)
        self._expected = kept.running, kept.maps

    def _restore(self, kept: Kept) -> None:
        """Have it run what it had, which may still be on it."""
        if self._loaded is kept.running:
            self.steering.resume(self.session, kept.standing)
        elif kept.values is not None:
            self._put(kept.running, kept.maps, kept.standing, kept.values, kept.subscriptions)
        else:
            raise DeviceError(f"{self.name} had not told its state")

    def _put(
        self, running: Running, maps: Maps, standing: Standing, values: Registers, subscriptions: Collection[str]
    ) -> None:
        """Have it run this, on this state. One that cannot take a pipeline while it runs is switched off and on."""
        if not self.sheet.live_pipelines or not self._alive():
            self._restart()
        try:
            self._push(running)
        except DeviceError as error:
            if self._alive(error):
                raise
            self._restart()
            self._push(running)
        session = self.session
        for digest in {*subscriptions} & {each.preamble.name for each in session.p4info.digests}:
            session.subscribe(digest)
        maps.install(session)
        for name, each in values.items():
            running.program.state(name, session.inband).restore(each)
        self.steering.resume(session, standing)
        self._expected = running, maps

    def _push(self, running: Running) -> None:
        before, self._loaded = self._loaded, None
        try:
            self.session.load(running.pipeline.p4info, running.pipeline.config)
        except RequestError:  # the device says so itself, and keeps what it had
            self._loaded = before
            raise
        self._loaded = running

    def _restart(self) -> None:
        self.power(on=False)
        self.power(on=True)

    def _maps(self, running: Running) -> Maps:
        maps = Maps(self.session, running.program, running.placed)
        if self._expected is not None:
            maps.adopt(self.maps)
        return maps

    def _bury(self, error: DeviceError) -> None:
        """Switch it off where it has died, of which this error came."""
        if not self._alive(error):
            with suppress(MidflightError):
                self.power(on=False)

    def _alive(self, error: BaseException | None = None) -> bool:
        """Say whether the device runs, after it has not answered, which is this error, or at any time."""
        device = self.device
        if not isinstance(device, SwitchProcess):
            return True
        unanswered = isinstance(error, DeviceError) and not isinstance(error, RequestError)
        alive = not device.ends(_DEATH) if unanswered else device.alive
        if not alive:
            self._loaded = None
        return alive
