"""Arbitration: election ids, roles, and one primary for each role (P4Runtime specification 1.5, section 5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from finsy.proto import U128, p4r, stratum
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import DecodeError

from midflight.runtime.p4runtime.status import Code, Refusal

__all__ = ["Arbitration", "Client", "Role"]

STREAM_LIMIT, PEER_LIMIT = 256, 64

# A role remains after its controllers left, for its highest election id. Above this number of roles, the oldest one
# without controllers is removed.
ROLES = 1024
# The maximum bytes of a role's name and of its config, which every arbitration update repeats.
ROLE_NAME, ROLE_CONFIG = 1024, 1 << 16


class Client(Protocol):
    """The stream of one controller, as arbitration needs it. `peer` is the address that the controller comes from."""

    peer: str

    def send(self, response: p4r.StreamMessageResponse) -> bool:
        """Queue a message for the controller, without waiting. Return False if the queue is full; the message is then
        lost.
        """


@dataclass(eq=False)
class Role:
    """The controllers of one role, with their election ids.

    `highest` is the highest election id so far, or None before the first primary. `config` is the role config that the
    primary sent, and `limits` the same decoded; None is full access.
    """

    name: str
    highest: int | None = None
    primary: Client | None = None
    config: AnyMessage | None = None
    limits: stratum.P4RoleConfig | None = None
    clients: dict[Client, int | None] = field(default_factory=dict)

    @property
    def may_push(self) -> bool:
        """Whether the role's primary may set the device's pipeline."""
        limits = self.limits
        return limits is None or limits.can_push_pipeline

    def takes(self, response: p4r.StreamMessageResponse) -> bool:
        """Return whether this role's primary is to receive a message: a packet-in, a digest or an idle timeout
        notification.

        A role without a config receives all of them; a config may exclude some.
        """
        limits = self.limits
        if limits is None:
            return True
        if response.HasField("digest"):
            return self.may_write(response.digest.digest_id)
        if response.HasField("idle_timeout_notification"):
            return self.may_write(response.idle_timeout_notification.table_entry[0].table_id)
        filters = limits.packet_in_filter
        metadata = {each.metadata_id: each.value for each in response.packet.metadata}
        passes = not limits.HasField("packet_in_filter") or metadata.get(filters.metadata_id) == filters.value
        return limits.receives_packet_ins and passes

    def may_write(self, number: int) -> bool:
        """Return whether the role's primary may write to the P4Info object with this id."""
        writable = self.writable
        return writable is None or number in writable

    @property
    def writable(self) -> frozenset[int] | None:
        """The ids of the P4Info objects that the role's primary may write to; None for all."""
        limits = self.limits
        return frozenset((*limits.exclusive_p4_ids, *limits.shared_p4_ids)) or None if limits else None


class Arbitration:
    """The controllers of one device. Not thread-safe: callers hold the switch's lock."""

    def __init__(self, device_id: int) -> None:
        self.device_id = device_id
        self.roles: dict[str, Role] = {}

    def role_of(self, client: Client) -> Role | None:
        """Return the role of a connected controller, or None before its first arbitration update."""
        return next((role for role in self.roles.values() if client in role.clients), None)

    def update(self, client: Client, message: p4r.MasterArbitrationUpdate) -> None:
        """Process a controller's arbitration update: enter it in its role, elect the primary, and notify the role's
        controllers.

        Raises Refusal, which ends the stream (section 5.3), and changes nothing then: NOT_FOUND for another device,
        FAILED_PRECONDITION if the stream has changed its device or role, INVALID_ARGUMENT for an election id that
        another controller of the role has, for a role name that is too long, and for a malformed role config, and
        RESOURCE_EXHAUSTED if too many controllers are connected.
        """
        name = message.role.name
        if len(name.encode()) > ROLE_NAME:
            raise Refusal(Code.INVALID_ARGUMENT, f"the name of a role has at most {ROLE_NAME} bytes")
        current = self.role_of(client)
        if message.device_id != self.device_id:
            code = Code.NOT_FOUND if current is None else Code.FAILED_PRECONDITION
            raise Refusal(code, f"this stream's device is {self.device_id}, not {message.device_id}")
        if current is not None and current.name != name:
            raise Refusal(
                Code.FAILED_PRECONDITION, f"this stream's role is {current.name!r}; open another for {name!r}"
            )
        config = message.role.config if message.role.HasField("config") else None
        limits = None if config is None else _decode_limits(config)
        role = self.roles.get(name) or Role(name)
        election = U128.decode(message.election_id) if message.HasField("election_id") else None
        if election is not None and any(
            each == election for other, each in role.clients.items() if other is not client
        ):
            raise Refusal(Code.INVALID_ARGUMENT, f"election id {election} is used by another controller of the role")
        if current is None:
            peers = [each.peer for role_ in self.roles.values() for each in role_.clients]
            if len(peers) >= STREAM_LIMIT or peers.count(client.peer) >= PEER_LIMIT:
                raise Refusal(
                    Code.RESOURCE_EXHAUSTED,
                    f"{len(peers)} controllers are connected; the limits are {STREAM_LIMIT}, and {PEER_LIMIT} per peer",
                )
        self.roles[name] = role
        role.clients[client] = election
        self._elect(role, client, election, config, limits)
        if len(self.roles) > ROLES:
            del self.roles[next(each.name for each in self.roles.values() if not each.clients)]

    def leave(self, client: Client) -> None:
        """Remove a controller whose stream has ended, and notify the others of its role if it was the primary.

        Does nothing for a controller without a role.
        """
        role = self.role_of(client)
        if role is None:
            return
        del role.clients[client]
        if role.primary is client:
            role.primary = None
            self._notify(role, role.clients)

    def demand_primary(self, role: str, election: int) -> Role:
        """Return the role of a request that only its primary may make.

        Raises Refusal with NOT_FOUND for an unknown role, and with PERMISSION_DENIED for anyone but the primary.
        """
        if role and role not in self.roles:
            raise Refusal(Code.NOT_FOUND, f"no controller has the role {role!r}")
        known = self.roles.get(role)
        if known is None or known.primary is None or known.clients[known.primary] != election:
            raise Refusal(Code.PERMISSION_DENIED, f"election id {election} is not the primary's")
        return known

    def _elect(
        self,
        role: Role,
        client: Client,
        election: int | None,
        config: AnyMessage | None,
        limits: stratum.P4RoleConfig | None,
    ) -> None:
        was_primary = role.primary is client
        if election is not None and (role.highest is None or election >= role.highest):
            changed = not was_primary or election != role.highest or config != role.config
            role.primary, role.highest, role.config, role.limits = client, election, config, limits
            if changed:
                self._notify(role, [each for each in role.clients if each is not client])
            self._notify(role, [client])
            return
        if was_primary:
            role.primary = None
        self._notify(role, role.clients if was_primary else [client])

    def _notify(self, role: Role, clients: list[Client] | dict[Client, int | None]) -> None:
        """Send the arbitration updates of section 5.4."""
        for client in clients:
            response = p4r.StreamMessageResponse()
            advisory = response.arbitration
            advisory.device_id = self.device_id
            if role.name:
                advisory.role.name = role.name
                if role.config is not None:
                    advisory.role.config.CopyFrom(role.config)
            if role.highest is not None:
                advisory.election_id.CopyFrom(U128.encode(role.highest))
            if role.primary is client:
                advisory.status.code = int(Code.OK)
                advisory.status.message = "primary"
            elif role.primary is not None:
                advisory.status.code = int(Code.ALREADY_EXISTS)
                advisory.status.message = "backup; another controller is primary"
            else:
                advisory.status.code = int(Code.NOT_FOUND)
                advisory.status.message = "backup; nobody is primary"
            client.send(response)


def _decode_limits(config: AnyMessage) -> stratum.P4RoleConfig:
    """Return a decoded role config. Raises Refusal with INVALID_ARGUMENT for an invalid one."""
    if not config.Is(stratum.P4RoleConfig.DESCRIPTOR):
        raise Refusal(Code.INVALID_ARGUMENT, f"role configs of type {config.type_url[:100]!r} are not supported")
    if len(config.value) > ROLE_CONFIG:
        raise Refusal(Code.INVALID_ARGUMENT, f"a role config has at most {ROLE_CONFIG} bytes")
    try:
        limits = stratum.P4RoleConfig()
        limits.ParseFromString(config.value)
    except DecodeError:
        raise Refusal(Code.INVALID_ARGUMENT, "the role config is not a P4RoleConfig") from None
    return limits
