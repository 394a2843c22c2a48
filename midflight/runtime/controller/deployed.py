"""Switches of a deployment: P4Runtime sessions that bid in primary elections and journal what they write."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from midflight.errors import DeviceError, MidflightError
from midflight.runtime.controller.network import SwitchAddress
from midflight.runtime.controller.store import Store
from midflight.runtime.devices.base import Device
from midflight.runtime.devices.remote import RemoteDevice
from midflight.runtime.p4runtime.client.link import Observer, RequestError
from midflight.runtime.p4runtime.client.session import Session

__all__ = ["DeployedSwitch"]

_COMPILERS = {"host": "midflight", "bmv2": "p4c", "xdp": "midflight"}
_BID_STEP = 2
"""The difference between a bid and the one of the previous controller. A session briefly bids one more to provoke an
answer.
"""
_RIVAL = "that controller has to disconnect, or to leave the switch's role to this one"


class DeployedSwitch:
    """A `SwitchEndpoint`, a switch as a controller sees it, for one that runs already and serves P4Runtime at
    `address`.

    `store` holds the election ids of earlier sessions and the journal: the keys of all entities that were written to
    the switch. `observer` is called after each request of its sessions, with the request's name, its duration in
    seconds and whether it succeeded; None to observe nothing.
    """

    def __init__(self, address: SwitchAddress, store: Store, observer: Observer | None = None) -> None:
        self.name = address.name
        self.address = address
        self._store = store
        self._observer = observer
        self._device: RemoteDevice | None = None
        self._bid = 0

    @property
    def device(self) -> Device:
        """The device, created on first use. DeviceError if its capabilities must be queried and it does not answer."""
        if self._device is None:
            it = self.address
            compiler = it.compiler or _COMPILERS.get(it.kind, "")
            made = RemoteDevice(
                address=it.address, device_id=it.device_id, compiler=compiler, sheet=it.sheet, tls=it.tls
            )
            if not it.kind:
                # A pipeline compiled for one unknown server may not load on another, so the kind includes the compiler.
                sheet = replace(made.capabilities, kind=f"grpc, {made.compiler}")
                made = RemoteDevice(
                    address=it.address, device_id=it.device_id, compiler=made.compiler, sheet=sheet, tls=it.tls
                )
            self._device = made
        return self._device

    def session(self) -> Session:
        """Open a P4Runtime session as the switch's primary controller, and record its election id in the store.

        The election id exceeds those of all earlier controllers of this deployment. The session does not displace a
        connected primary of another deployment that has bid higher; when that primary has disconnected, it bids above
        it. DeviceError if the switch does not answer or has such a primary, MidflightError if the store cannot be
        written; the session is then closed.
        """
        bid = self._bid or self._store.election(self.name) + _BID_STEP
        it = self.address
        journal = _StoreJournal(self._store, self.name)
        try:
            session = Session(
                it.address,
                it.device_id,
                role=it.role,
                election_id=bid,
                journal=journal,
                observer=self._observer,
                tls=it.tls,
            )
        except RequestError as error:
            if "election" not in error.message.lower():
                raise
            raise DeviceError(f"{self.name} already obeys another controller: {error.message}", hint=_RIVAL) from None
        try:
            if not session.was_primary and not session.has_rival:
                bid = session.highest + _BID_STEP
                session.bid(bid)
            if not session.was_primary:
                raise DeviceError(
                    f"another controller is the primary of {self.name}, with election id {session.highest}",
                    hint=_RIVAL,
                )
            self._store.elected(self.name, bid)
        except BaseException:
            session.close()
            raise
        self._bid = bid
        return session

    def power(self, *, on: bool) -> None:  # noqa: ARG002
        """Raise MidflightError in any case: only the switch's owner can turn it off or on."""
        raise MidflightError(
            f"the controller cannot turn {self.name} off or on", hint="restart it yourself; the controller restores it"
        )


class _StoreJournal:
    """A `Journal` for one switch that is kept in a store."""

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
