"""The scope at a point of a random kernel: variables with a value, constants, and state not accessed yet."""

from __future__ import annotations

from dataclasses import dataclass, field

from midflight.primitives.kernel.types import Kind

__all__ = ["Scope"]


@dataclass(slots=True)
class Scope:
    """The scope of the next line. A kind of None means a condition."""

    known: dict[str, Kind | None] = field(default_factory=dict)
    consts: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Expressions that are known at compile time, such as parameters and loop variables, with all their values."""
    free: set[str] = field(default_factory=set)
    """Register arrays, maps and held primitives that no path has accessed."""
    asked: set[str] = field(default_factory=set)
    """Maps that every path has read."""
    alert: bool = True
    """Whether no path has raised an alert."""
    ended: bool = False

    def copy(self) -> Scope:
        """Return a scope for a branch."""
        return Scope(dict(self.known), dict(self.consts), set(self.free), set(self.asked), self.alert, self.ended)

    def join(self, sides: list[Scope]) -> None:
        """Set the scope after branches that end in these scopes. A map is read in only one place of the text."""
        live = [each for each in sides if not each.ended]
        self.ended = not live
        texts = {each for each in self.free if each.startswith("map ")}
        for side in sides:
            texts &= side.free
        for side in live:
            self.free = {each for each in self.free if each in side.free}
            self.alert = self.alert and side.alert
        self.free = {each for each in self.free if not each.startswith("map ")} | texts
        first, *rest = live or [self]
        self.asked = first.asked.intersection(*(each.asked for each in rest))
        self.known = {
            name: kind for name, kind in first.known.items() if all(name in each.known for each in rest)
        }  # fmt: skip
