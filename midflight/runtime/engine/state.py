"""The state of a running program that a control plane reads and writes: tables, registers, groups and so on."""

from __future__ import annotations

from collections.abc import Mapping

from midflight.p4 import ir
from midflight.runtime.engine.context import Context
from midflight.runtime.engine.counters import Counter
from midflight.runtime.engine.entrylayout import EntryLayout, MemberLayout
from midflight.runtime.engine.externs.traffic import SESSION_MASK
from midflight.runtime.engine.gate import Gate
from midflight.runtime.engine.groups import Groups
from midflight.runtime.engine.memory import Budget
from midflight.runtime.engine.meters import Meter
from midflight.runtime.engine.profiles import Profile
from midflight.runtime.engine.registers import Register
from midflight.runtime.engine.tables import Table

__all__ = ["State", "generator"]


class State:
    """Tables, value sets, profiles, registers, counters and meters by full name, multicast groups and clone sessions.

    It is in the memory that `context` refers to. `layouts` are those of tables and `members` those of action profiles,
    by name. Methods of the parts take `lock`. Changes reach native code with `flush`.
    """

    def __init__(
        self,
        program: ir.Program,
        layouts: Mapping[str, EntryLayout],
        members: Mapping[str, MemberLayout],
        context: Context,
        lock: Gate,
        memory: Budget,
    ) -> None:
        instances = program.instances.values()
        self._dirty: dict[str, Table | Groups | Profile] = {}
        self.profiles: Mapping[str, Profile] = {
            each.name: Profile(
                each,
                [table for table in program.tables.values() if table.implementation is each],
                members[each.name],
                context,
                lock,
                self._note,
                memory,
            )
            for each in instances
            if each.name in members
        }
        self.tables: Mapping[str, Table] = {
            name: Table(
                table,
                layouts[name],
                context,
                lock,
                self._note,
                memory,
                self.profiles[table.implementation.name] if table.implementation else None,
            )
            for name, table in program.tables.items()
        }
        self.value_sets: Mapping[str, Table] = {
            name: Table(each, layouts[name], context, lock, self._note, memory)
            for name, each in program.value_sets.items()
        }
        self.registers: Mapping[str, Register] = {
            each.name: Register(each, context, lock) for each in instances if each.kind == "register"
        }
        self.counters: Mapping[str, Counter] = {
            each.name: Counter(each, context, lock) for each in instances if each.kind == "counter"
        }
        self.meters: Mapping[str, Meter] = {
            each.name: Meter(each, context, lock) for each in instances if each.kind == "meter"
        }
        self.multicast = Groups("groups", 1 << 16, context, lock, self._note)
        self.clones = Groups("clones", SESSION_MASK + 1, context, lock, self._note)

    @property
    def dirty(self) -> bool:
        """Whether there are changes that `flush` has not written yet."""
        return bool(self._dirty)

    def flush(self) -> None:
        """Write pending changes to native memory. The caller holds the lock."""
        for each in self._dirty.values():
            each.flush()
        self._dirty.clear()

    def set_port(self, port: int, *, up: bool) -> None:
        """Record whether a port is up; at first, all are.

        While a port is down, the members of action selectors' groups that watch it are left out, and multicast or clone
        replicas to it are replaced by their backups; replicas without backups are sent nevertheless.
        """
        for profile in self.profiles.values():
            profile.set_port(port, up=up)
        for groups in (self.multicast, self.clones):
            groups.set_port(port, up=up)

    def _note(self, changed: Table | Groups | Profile) -> None:
        self._dirty[changed.name] = changed


def generator(seed: int) -> int:
    """Return the first state, of 64 bits, of the generator of a program's random numbers.

    It is never zero, and similar seeds do not give similar states.
    """
    return (seed * 0x9E37_79B9_7F4A_7C15 + 0xD1B5_4A32_D192_ED03) % (1 << 64) or 1
