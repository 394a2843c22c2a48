"""A desired table entry of a switch."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Entry"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A desired table entry: its match by field, its action, and the action's parameters by name.

    An entry with an empty `action` says that the table has none with this match and priority. `rate` is that of the
    entry's meter, in packets a second; 0 is no limit.
    """

    table: str
    match: tuple[tuple[str, object], ...]
    action: str = ""
    params: tuple[tuple[str, int], ...] = ()
    priority: int = 0
    rate: int = 0

    @property
    def key(self) -> tuple[str, object]:
        """The table, match and priority: of two steps with the same key, the later one replaces the earlier."""
        return self.table, (self.match, self.priority)

    def deletion(self) -> Entry:
        """Return the step that deletes this entry."""
        return Entry(self.table, self.match, priority=self.priority)
