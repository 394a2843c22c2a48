"""Access of the control plane to action profiles and selectors: members, groups, and one-shot sets of actions."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from midflight.p4 import ir
from midflight.runtime.engine.context import Context
from midflight.runtime.engine.entries import ActionSet, Choice, GroupOf, MemberOf, Reason, TableError, checked_arguments
from midflight.runtime.engine.entrylayout import ACTION, NOTHING, MemberLayout
from midflight.runtime.engine.gate import Gate
from midflight.runtime.engine.layout import scalar_width, stored_width
from midflight.runtime.engine.memory import Budget, BudgetError

__all__ = ["GroupMember", "Member", "Profile"]

# The approximate bytes of Python objects for a member or a group, and for a member of a group.
_MEMBER, _SHARE = 1024, 128


@dataclass(frozen=True, slots=True)
class Member:
    """A member of an action profile or selector: an action, by name, with its action data."""

    action: str
    arguments: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class GroupMember:
    """A member of a group, by its id, with its weight. It is left out while the port `watch_port` is down.

    Without a port (None), it is never left out.
    """

    member: int
    weight: int = 1
    watch_port: int | None = None


@dataclass(slots=True)
class _HeldMember:
    member: Member
    slot: int
    users: int = 0


@dataclass(slots=True)
class _HeldGroup:
    """A group or one-shot set: its slot, its members' slots with weights and watched ports, and what it is made of.

    `listed` is empty for a one-shot set; `users` is the number of entries that refer to a group.
    """

    slot: int
    shares: tuple[tuple[int, int, int | None], ...]
    listed: tuple[GroupMember, ...] = ()
    users: int = 0


class Profile:
    """One action profile or selector of a running program. Each change is atomic and takes effect between two batches.

    Methods raise TableError with one of these reasons: EXISTS; NOT_FOUND; FULL if the size is reached or `memory` has
    no space; IN_USE for a member or group that is referred to; INVALID for actions, arguments or weights that do not
    fit, for groups without a selector, and if one-shot sets and members or groups are mixed (P4Runtime specification
    1.5, section 9.2.3).

    `size` limits the number of members, and of a selector also the weights of all groups and one-shot sets together.
    """

    def __init__(
        self,
        instance: ir.Instance,
        tables: Iterable[ir.Table],
        layout: MemberLayout,
        context: Context,
        lock: Gate,
        changed: Callable[[Profile], None],
        memory: Budget,
    ) -> None:
        self.name = instance.name
        self.selects = instance.kind == "action_selector"
        self.size = int(instance.arguments[1 if self.selects else 0])
        self._tables = list(tables)
        self.layout = layout
        self._context = context
        self._lock = lock
        self._changed = changed
        self._budget = memory
        self._numbers = {each.name: number for number, each in enumerate(layout.actions)}
        allowed = {each.action.name for table in self._tables for each in table.actions if not each.default_only}
        self._actions = {each.name: each for each in layout.actions if each.name in allowed}
        self._members: dict[int, _HeldMember] = {}
        self._groups: dict[int, _HeldGroup] = {}
        self._sets: dict[int, tuple[_HeldGroup, list[int]]] = {}
        self._slots, self._group_slots = _Slots(), _Slots()
        self._down: set[int] = set()
        self._memory: NDArray[np.uint8] = np.zeros(layout.stride * 8, np.uint8)
        empty = np.zeros(layout.stride, np.uint8)
        empty[ACTION : ACTION + 4] = np.frombuffer(NOTHING.to_bytes(4, "little"), np.uint8)
        context.point(f"{self.name}.empty", empty)
        self.flush()

    @property
    def members(self) -> Mapping[int, Member]:
        """The members by id, in ascending order."""
        with self._lock:
            return {number: held.member for number, held in sorted(self._members.items(), key=lambda pair: pair[0])}

    @property
    def groups(self) -> Mapping[int, tuple[GroupMember, ...]]:
        """The groups by id, in ascending order."""
        with self._lock:
            return {number: held.listed for number, held in sorted(self._groups.items(), key=lambda pair: pair[0])}

    def member(self, number: int) -> Member | None:
        """Return the member with this id, or None if there is none."""
        with self._lock:
            return self._members[number].member if number in self._members else None

    def group(self, number: int) -> tuple[GroupMember, ...] | None:
        """Return the members of the group with an id, or None if there is no such group."""
        with self._lock:
            return self._groups[number].listed if number in self._groups else None

    def insert_member(self, number: int, member: Member) -> None:
        """Add a member.

        TableError EXISTS if there is one with this number, INVALID if its action or data do not fit or if there are
        one-shot sets, and FULL if there is no room.
        """
        with self._lock:
            if number in self._members:
                raise TableError(Reason.EXISTS, f"{self.name} already has member {number}")
            checked = self._checked(member)
            if self._sets:
                raise TableError(Reason.INVALID, f"{self.name} has one-shot sets, so it takes no members")
            if len(self._members) >= self.size:
                raise TableError(Reason.FULL, f"{self.name} is full: its size is {self.size}")
            self._take(_MEMBER, f"a member of {self.name}")
            self._members[number] = _HeldMember(checked, self._new_slot(checked))

    def modify_member(self, number: int, member: Member) -> None:
        """Replace the action and data of the member with this id, for all groups and entries that refer to it.

        TableError NOT_FOUND if there is no such member, INVALID if the action or its data does not fit.
        """
        with self._lock:
            held = self._member(number)
            held.member = self._checked(member)
            self._write(held.slot, held.member)

    def delete_member(self, number: int) -> None:
        """Remove a member. TableError NOT_FOUND if there is none, IN_USE if a group or an entry refers to it."""
        with self._lock:
            held = self._member(number)
            if held.users:
                raise TableError(Reason.IN_USE, f"{self.name}: groups or entries refer to member {number}")
            del self._members[number]
            self._slots.give(held.slot)
            self._budget.give(_MEMBER)

    def insert_group(self, number: int, members: Iterable[GroupMember]) -> None:
        """Add a group of existing members.

        TableError EXISTS if there is one with this number, NOT_FOUND for a member that does not exist, INVALID if this
        is no selector or has one-shot sets, or for a wrong weight or a member that occurs twice, and FULL if there is
        no room.
        """
        with self._lock:
            if not self.selects:
                raise TableError(Reason.INVALID, f"{self.name} is an action profile without groups")
            if number in self._groups:
                raise TableError(Reason.EXISTS, f"{self.name} already has group {number}")
            if self._sets:
                raise TableError(Reason.INVALID, f"{self.name} has one-shot sets, so it takes no groups")
            listed, shares = self._shares(members)
            self._take_room(_weight(shares))
            self._take(_MEMBER + _SHARE * _weight(shares), f"a group of {self.name}")
            self._groups[number] = _HeldGroup(self._group_slots.take(), shares, listed)
            self._use(listed, 1)
            self._changed(self)

    def modify_group(self, number: int, members: Iterable[GroupMember]) -> None:
        """Replace the members of the group with this id, in one step.

        TableError NOT_FOUND if there is no such group or member, INVALID for a wrong weight or if a member occurs
        twice, FULL if there is no room.
        """
        with self._lock:
            held = self._group(number)
            listed, shares = self._shares(members)
            more = _weight(shares) - _weight(held.shares)
            self._take_room(more)
            self._take(_SHARE * more, f"a group of {self.name}")
            self._use(held.listed, -1)
            self._use(listed, 1)
            held.listed, held.shares = listed, shares
            self._changed(self)

    def delete_group(self, number: int) -> None:
        """Remove a group. TableError NOT_FOUND if there is none, IN_USE if an entry refers to it."""
        with self._lock:
            held = self._group(number)
            if held.users:
                raise TableError(Reason.IN_USE, f"{self.name}: entries refer to group {number}")
            del self._groups[number]
            self._use(held.listed, -1)
            self._group_slots.give(held.slot)
            self._budget.give(_MEMBER + _SHARE * _weight(held.shares))
            self._changed(self)

    def set_port(self, port: int, *, up: bool) -> None:
        """Record whether a port is up; at first, all are. While it is down, members of groups that watch it are left
        out.
        """
        with self._lock:
            if up != (port in self._down):
                return
            self._down.discard(port) if up else self._down.add(port)
            self._changed(self)

    # References of table entries, for `Table`, which holds the lock

    def check(self, choice: Choice | None) -> None:
        """Check that a table entry may refer to `choice`, as far as this does not depend on the current members and
        groups.

        Raises TableError INVALID for None, for a group or one-shot set without a selector, and for actions, arguments
        or weights that do not fit. The caller, a `Table`, holds the lock.
        """
        match choice:
            case MemberOf():
                return
            case GroupOf() if self.selects:
                return
            case ActionSet(actions=actions) if self.selects:
                for each in actions:
                    self._checked(Member(each.action, each.arguments))
                    _check_weight(self.name, each.weight)
                return
            case GroupOf() | ActionSet():
                raise TableError(Reason.INVALID, f"{self.name} is an action profile: entries refer to its members")
        raise TableError(Reason.INVALID, f"an entry must refer to a member{' or group' * self.selects} of {self.name}")

    def acquire(self, choice: Choice) -> tuple[int, int]:
        """Record that a table entry refers to `choice`, and return (slot, 1 if it is a group's or set's slot, else 0).

        The member or group cannot be deleted until `release`; a one-shot set is created here. TableError NOT_FOUND if
        there is no such member or group, FULL if there is no room for the set, and INVALID for a set that does not fit
        the profile. The caller, a `Table`, holds the lock.
        """
        match choice:
            case MemberOf(number=number):
                held = self._member(number)
                held.users += 1
                return held.slot, 0
            case GroupOf(number=number):
                group = self._group(number)
                group.users += 1
                return group.slot, 1
            case ActionSet():
                return self._acquire_set(choice), 1

    def release(self, choice: Choice, slot: int) -> None:
        """Record that a table entry no longer refers to the slot that `acquire` returned for `choice`.

        A one-shot set is deleted. The caller, a `Table`, holds the lock.
        """
        match choice:
            case MemberOf(number=number):
                self._member(number).users -= 1
            case GroupOf(number=number):
                self._group(number).users -= 1
            case ActionSet():
                held, slots = self._sets.pop(slot)
                for each in slots:
                    self._slots.give(each)
                self._group_slots.give(slot)
                self._budget.give(_MEMBER * (1 + len(slots)) + _SHARE * _weight(held.shares))
                self._changed(self)

    def flush(self) -> None:
        """Write members and groups to native memory. The caller holds the lock, and no batch is running."""
        pairs: NDArray[np.uint32] = np.zeros((max(self._group_slots.most, 1), 2), np.uint32)
        lists: list[int] = []
        for held in [*self._groups.values(), *(group for group, _ in self._sets.values())]:
            copies = self._copies(held)
            pairs[held.slot] = len(lists), len(copies)
            lists += copies
        self._context.point(f"{self.name}.groups", pairs)
        self._context.point(f"{self.name}.lists", np.array(lists or [0], np.uint32))
        self._context.point(f"{self.name}.members", self._memory)

    def _copies(self, held: _HeldGroup) -> list[int]:
        """Return the slots of a group's active members, each as often as its weight, in BMv2's order.

        The members of a group come in the order of their slots, followed by the further copies of those with a weight
        above 1 in the order of their ids. Those of a one-shot set come in the order of the set.
        """
        active = [(slot, weight) for slot, weight, port in held.shares if port not in self._down]
        if not held.listed:
            return [slot for slot, weight in active for _ in range(weight)]
        return sorted(slot for slot, _ in active) + [slot for slot, weight in active for _ in range(weight - 1)]

    def _acquire_set(self, choice: ActionSet) -> int:
        if self._members or self._groups:
            raise TableError(Reason.INVALID, f"{self.name} has members or groups, so it takes no one-shot sets")
        weight = sum(each.weight for each in choice.actions)
        self._take_room(weight)
        self._take(_MEMBER * (1 + len(choice.actions)) + _SHARE * weight, f"a set of actions of {self.name}")
        slots = [self._new_slot(self._checked(Member(each.action, each.arguments))) for each in choice.actions]
        pairs = zip(slots, choice.actions, strict=True)
        shares = tuple((slot, each.weight, each.watch_port) for slot, each in pairs)
        group = _HeldGroup(self._group_slots.take(), shares)
        self._sets[group.slot] = group, slots
        self._changed(self)
        return group.slot

    # Checks

    def _member(self, number: int) -> _HeldMember:
        if number not in self._members:
            raise TableError(Reason.NOT_FOUND, f"{self.name} has no member {number}")
        return self._members[number]

    def _group(self, number: int) -> _HeldGroup:
        if number not in self._groups:
            raise TableError(Reason.NOT_FOUND, f"{self.name} has no group {number}")
        return self._groups[number]

    def _checked(self, member: Member) -> Member:
        action = self._actions.get(member.action)
        if action is None:
            hint = f"its tables have {', '.join(self._actions)}"
            raise TableError(Reason.INVALID, f"{self.name} has no action {member.action}", hint=hint)
        return Member(member.action, checked_arguments(self.name, action, member.arguments))

    def _shares(
        self, members: Iterable[GroupMember]
    ) -> tuple[tuple[GroupMember, ...], tuple[tuple[int, int, int | None], ...]]:
        listed = tuple(members)
        by_id = sorted(listed, key=lambda each: each.member)
        if len({each.member for each in listed}) != len(listed):
            raise TableError(Reason.INVALID, f"{self.name}: a member occurs twice in a group; give it a weight")
        for each in listed:
            _check_weight(self.name, each.weight)
        shares = [(self._member(each.member).slot, each.weight, each.watch_port) for each in by_id]
        return listed, tuple(shares)

    def _use(self, listed: tuple[GroupMember, ...], change: int) -> None:
        for each in listed:
            self._members[each.member].users += change

    def _take_room(self, more: int) -> None:
        """Raise TableError FULL if the weights of all groups exceed the selector's size by that many more."""
        groups = [*self._groups.values(), *(group for group, _ in self._sets.values())]
        if more > 0 and sum(_weight(each.shares) for each in groups) + more > self.size:
            raise TableError(Reason.FULL, f"{self.name} is full: its size is {self.size}")

    def _take(self, size: int, what: str) -> None:
        try:
            self._budget.take(size, what)
        except BudgetError as error:
            raise TableError(Reason.FULL, error.message) from None

    # Memory

    def _new_slot(self, member: Member) -> int:
        slot, stride = self._slots.take(), self.layout.stride
        if (slot + 1) * stride > self._memory.size:
            self._memory = np.concatenate([self._memory, np.zeros_like(self._memory)])
        self._write(slot, member)
        return slot

    def _write(self, slot: int, member: Member) -> None:
        start = slot * self.layout.stride
        record = self.record(self._actions[member.action], member.arguments)
        self._memory[start : start + self.layout.stride] = np.frombuffer(record, np.uint8)
        self._changed(self)

    def record(self, action: ir.Action, arguments: tuple[int, ...]) -> bytearray:
        """Return the bytes in native memory of a member with this action and its data.

        Also for the default action of a table with this profile.
        """
        record = bytearray(self.layout.stride)
        record[ACTION : ACTION + 4] = self._numbers[action.name].to_bytes(4, "little")
        for parameter, offset, value in zip(action.data, self.layout.data[action], arguments, strict=True):
            size = stored_width(scalar_width(parameter.variable.type)) // 8
            record[offset : offset + size] = value.to_bytes(size, "little")
        return record


class _Slots:
    """Numbers from 0, of which the smallest free one is taken first, as in BMv2. `most` is the count of all numbers."""

    def __init__(self) -> None:
        self.most = 0
        self._free: list[int] = []

    def take(self) -> int:
        if self._free:
            return heapq.heappop(self._free)
        self.most += 1
        return self.most - 1

    def give(self, slot: int) -> None:
        heapq.heappush(self._free, slot)


def _weight(shares: Iterable[tuple[int, int, int | None]]) -> int:
    return sum(weight for _, weight, _ in shares)


def _check_weight(name: str, weight: int) -> None:
    if weight < 1:
        raise TableError(Reason.INVALID, f"{name}: a weight is at least 1, not {weight}")
