"""The switches of a deployment: sessions that take part in elections, and write down what they write."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from midflight.errors import DeviceError, MidflightError
from midflight.runtime.controller.network import SwitchAddress
from midflight.runtime.controller.store import Store
from midflight.runtime.devices.base import Device
from midflight.runtime.devices.remote import RemoteDevice
from midflight.runtime.p4runtime.client.link import Observer
from midflight.runtime.p4runtime.client.session import Session

__all__ = ["DeployedSwitch"]

_COMPILERS = {"host": "midflight", "bmv2": "p4c"}
_AHEAD = 2
"""How far a bid exceeds that of the controller before: a session bids one more for a moment to have a switch answer."""


class DeployedSwitch:
    """A switch that runs already (a `SwitchEndpoint`). `observer` is called after each request of its sessions."""

    def __init__(self, address: SwitchAddress, store: Store, observer: Observer | None = None) -> None:
        self.name = address.name
        self.address = address
        self._store = store
        self._observer = observer
        self._device: RemoteDevice | None = None
        self._bid = 0

    @property
    def device(self) -> Device:
        """The device. DeviceError if it is to be asked what it is, and does not answer."""
        if self._device is None:
            it = self.address
            compiler = it.compiler or _COMPILERS.get(it.kind, "")
            made = RemoteDevice(address=it.address, device_id=it.device_id, compiler=compiler, sheet=it.sheet)
            if not it.kind:
                # What one server compiles, another need not take: as kinds of their own they share no pipeline.
                sheet = replace(made.capabilities, kind=f"grpc, {made.compiler}")
                made = RemoteDevice(address=it.address, device_id=it.device_id, compiler=made.compiler, sheet=sheet)
            self._device = made
        return self._device

    def session(self) -> Session:
        """Open a session as the switch's primary.

        It bids more than all controllers of this deployment before. A primary of somebody else's that has bid more is
        left alone; once it has gone, its election id is exceeded. DeviceError if the switch does not answer or has such
        a primary.
        """
        bid = self._bid or self._store.election(self.name) + _AHEAD
        it = self.address
        journal = _StoreJournal(self._store, self.name)
        session = Session(
            it.address, it.device_id, role=it.role, election_id=bid, journal=journal, observer=self._observer
        )
        try:
            if not session.was_primary and not session.has_rival:
                bid = session.highest + _AHEAD
                session.bid(bid)
            if not session.was_primary:
                raise DeviceError(
                    f"another controller is the primary of {self.name}, with election id {session.highest}",
                    hint="this one waits until it has gone",
                )
        except BaseException:
            session.close()
            raise
        self._bid = bid
        self._store.elected(self.name, bid)
        return session

    def power(self, *, on: bool) -> None:  # noqa: ARG002
        """Raise MidflightError: only the switch's owner can do that."""
        raise MidflightError(
            f"the controller cannot turn {self.name} off or on", hint="restart it yourself; the controller restores it"
        )


class _StoreJournal:
    """The notes in a store of what was written to one switch (a `Journal`)."""

    def __init__(self, store: Store, switch: str) -> None:
        self._store = store
        self._switch = switch

    def note(self, keys: Sequence[str]) -> Collection[str]:
        return self._store.note(self._switch, keys) if keys else ()

    def kept(self) -> Collection[str]:
        return self._store.written(self._switch)

    def drop(self, keys: Collection[str] | None = None) -> None:
        if keys is None or keys:
            self._store.drop(self._switch, keys)
