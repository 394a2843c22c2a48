"""Multicast groups made of nodes, and mirroring sessions, in the form of simple_switch_CLI."""

from __future__ import annotations

from finsy.proto import p4r

from midflight.errors import MidflightError
from midflight.runtime.p4runtime.client.messages import clone_message, group_message, replica_messages

__all__ = ["Replication"]

Pair = tuple[int, int]


class Replication:
    """The groups, nodes and sessions so far. Each method returns the P4Runtime updates for one command.

    A node is an instance number (rid) with ports; its handle counts from 0. P4Runtime has no nodes: a group is a list
    of (port, instance) pairs. Methods raise MidflightError for an unknown group, node or session, and for a number that
    is negative or has more than 32 bits.
    """

    def __init__(self) -> None:
        self._nodes: dict[int, tuple[int, list[int]]] = {}
        self._created = 0
        self._groups: dict[int, list[int]] = {}
        self._ports: dict[int, list[int]] = {}  # of sessions with ports
        self._of_group: dict[int, int] = {}  # of sessions with a group

    def create_group(self, group: int) -> list[p4r.Update]:
        """Return the updates for `mc_mgrp_create`, which adds an empty multicast group. MidflightError if it exists."""
        if group in self._groups:
            raise MidflightError(f"multicast group {group} already exists")
        self._groups[group] = []
        return [_group(p4r.Update.INSERT, group, [])]

    def destroy_group(self, group: int) -> list[p4r.Update]:
        """Return the updates for `mc_mgrp_destroy`, which removes a group and keeps its nodes. MidflightError if it is
        unknown.
        """
        self._known_group(group)
        del self._groups[group]
        return [_group(p4r.Update.DELETE, group, [])]

    def create_node(self, instance: int, ports: list[int]) -> list[p4r.Update]:
        """Create a node, which gets the next handle, as `mc_node_create`. Return no updates: it is in no group yet.

        MidflightError for a number that is negative or has more than 32 bits.
        """
        replica_messages((port, instance) for port in ports)  # raises for numbers that P4Runtime cannot carry
        self._nodes[self._created] = (instance, ports)
        self._created += 1
        return []

    def update_node(self, handle: int, ports: list[int]) -> list[p4r.Update]:
        """Return the updates for `mc_node_update`, which replaces a node's ports in its groups. MidflightError if it is
        unknown.
        """
        instance, _ = self._known_node(handle)
        replica_messages(ports)
        self._nodes[handle] = (instance, ports)
        return self._changed([group for group, nodes in self._groups.items() if handle in nodes])

    def destroy_node(self, handle: int) -> list[p4r.Update]:
        """Return the updates for `mc_node_destroy`, which removes a node from its groups. MidflightError if it is
        unknown.
        """
        self._known_node(handle)
        touched = [group for group, nodes in self._groups.items() if handle in nodes]
        for group in touched:
            self._groups[group].remove(handle)
        del self._nodes[handle]
        return self._changed(touched)

    def associate(self, group: int, handle: int) -> list[p4r.Update]:
        """Return the updates for `mc_node_associate`, which adds a node to a group.

        MidflightError for an unknown group or node, or if the node is in the group.
        """
        nodes = self._known_group(group)
        self._known_node(handle)
        if handle in nodes:
            raise MidflightError(f"node {handle} is already in multicast group {group}")
        nodes.append(handle)
        return self._changed([group])

    def dissociate(self, group: int, handle: int) -> list[p4r.Update]:
        """Return the updates for `mc_node_dissociate`, which removes a node from a group.

        MidflightError if there is no such group, or if the node is not in it.
        """
        nodes = self._known_group(group)
        if handle not in nodes:
            raise MidflightError(f"node {handle} is not in multicast group {group}")
        nodes.remove(handle)
        return self._changed([group])

    def mirror(self, session: int, port: int) -> list[p4r.Update]:
        """Return the updates for `mirroring_add`, by which a clone session copies to one port.

        Replaces an earlier session of this number. MidflightError for a number that is negative or has more than 32
        bits.
        """
        kind = self._kind(session)
        self._of_group.pop(session, None)
        self._ports[session] = [port]
        return [_session(kind, session, [(port, 0)])]

    def mirror_to_group(self, session: int, group: int) -> list[p4r.Update]:
        """Return the updates for `mirroring_add_mc`, by which a clone session copies to the ports of a multicast group.

        Replaces an earlier session of this number. MidflightError for an unknown group.
        """
        self._known_group(group)
        kind = self._kind(session)
        self._ports.pop(session, None)
        self._of_group[session] = group
        return [_session(kind, session, self._pairs(group))]

    def unmirror(self, session: int) -> list[p4r.Update]:
        """Return the updates for `mirroring_delete`, which removes a clone session. MidflightError if it is unknown."""
        if self._kind(session) != p4r.Update.MODIFY:
            raise MidflightError(f"there is no mirroring session {session}")
        self._ports.pop(session, None)
        self._of_group.pop(session, None)
        return [_session(p4r.Update.DELETE, session, [])]

    def _kind(self, session: int) -> p4r.Update.Type.ValueType:
        return p4r.Update.MODIFY if session in self._ports or session in self._of_group else p4r.Update.INSERT

    def _changed(self, groups: list[int]) -> list[p4r.Update]:
        updates = [_group(p4r.Update.MODIFY, group, self._pairs(group)) for group in groups]
        for session, group in self._of_group.items():
            if group in groups:
                updates.append(_session(p4r.Update.MODIFY, session, self._pairs(group)))
        return updates

    def _pairs(self, group: int) -> list[Pair]:
        pairs = []
        for handle in self._groups.get(group, []):
            instance, ports = self._nodes[handle]
            pairs += [(port, instance) for port in ports]
        return pairs

    def _known_group(self, group: int) -> list[int]:
        if group not in self._groups:
            raise MidflightError(f"there is no multicast group {group}", hint=f"mc_mgrp_create {group} makes it")
        return self._groups[group]

    def _known_node(self, handle: int) -> tuple[int, list[int]]:
        if handle not in self._nodes:
            hint = "handles count from 0, in the order of mc_node_create"
            raise MidflightError(f"there is no multicast node {handle}", hint=hint)
        return self._nodes[handle]


def _group(kind: p4r.Update.Type.ValueType, group: int, pairs: list[Pair]) -> p4r.Update:
    engine = group_message(group, pairs)
    return p4r.Update(type=kind, entity=p4r.Entity(packet_replication_engine_entry=engine))


def _session(kind: p4r.Update.Type.ValueType, session: int, pairs: list[Pair]) -> p4r.Update:
    engine = clone_message(session, pairs)
    return p4r.Update(type=kind, entity=p4r.Entity(packet_replication_engine_entry=engine))
