"""The entries and groups that have been written to one switch, and transactional changes of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import groupby

from midflight.errors import DeviceError
from midflight.runtime.steering.controls import Controls
from midflight.runtime.steering.steps import Copies, Entry, Step, rank

__all__ = ["Ledger"]


class Ledger:
    """The table entries, multicast groups and clone sessions that a session has written to a switch.

    A change is a transaction: if the device refuses a step, the steps before it are rolled back and the DeviceError is
    raised. If the device dies, steps that could not be rolled back remain recorded, and the next change corrects them.
    """

    def __init__(self, session: Controls) -> None:
        self.session = session
        self._done: dict[tuple[str, object], Step] = {}

    def change(self, steps: Iterable[Step]) -> None:
        """Write these steps to the switch, in order, except those that it holds already.

        DeviceError if it refuses one; those before it have then been rolled back.
        """
        undo: list[Step] = []
        try:
            for step in steps:
                before = self._done.get(step.key, step.deletion())
                if before != step:
                    self._apply(step, before)
                    undo.append(before)
        except Exception:
            self._roll_back(undo)
            raise

    def change_together(self, entries: Iterable[Entry]) -> None:
        """Write these entries like `change`, but consecutive ones of one table in one request.

        DeviceError if the switch refuses one; those before it have then been rolled back.
        """
        wanted = [each for each in entries if not self._holds(each)]
        undo: list[Step] = []
        try:
            for _, those in groupby(wanted, key=lambda each: each.table):
                run = list(those)
                before = [self._done.get(each.key, each.deletion()) for each in run]
                left = self._apply_together(run, before)
                undo += [each for at, each in enumerate(before) if at not in left]
                for at in left:  # one by one, which takes over entries of an earlier controller, or raises the reason
                    self._apply(run[at], before[at])
                    undo.append(before[at])
        except Exception:
            self._roll_back(undo)
            raise

    def clear(self) -> None:
        """Delete everything that was written to the switch: routes first, then admissions, then multicast groups and
        mirrors.

        DeviceError if the switch refuses; the deletions are then rolled back.
        """
        self.change([each.deletion() for each in self._in_force()])

    def reset(self, session: Controls) -> None:
        """Forget everything that was written, and write through another session from now on.

        Entries that may still exist are deleted first through the old session, as far as it works. Raises no
        DeviceError.
        """
        for each in self._in_force():
            # The device refuses to delete an entry that is already gone.
            with suppress(DeviceError):
                self._apply(each.deletion(), each)
        self.session, self._done = session, {}

    def _holds(self, entry: Entry) -> bool:
        """Return whether the switch holds an entry as wanted: written, or deleted if it has no action."""
        held = self._done.get(entry.key)
        return held == entry if held is not None else not entry.action

    def _roll_back(self, undo: Sequence[Step]) -> None:
        """Restore these earlier steps, the last one first."""
        for before in reversed(undo):
            # The rollback may fail, too, if the device has died. The first error is the one to raise.
            with suppress(DeviceError):
                self._apply(before, self._done[before.key])

    def _apply_together(self, run: Sequence[Entry], before: Sequence[Step]) -> list[int]:
        """Write entries in one request, and return the positions of those that the device does not hold now."""
        try:
            with self.session.batch():
                for each, held in zip(run, before, strict=True):
                    self._apply(each, held)
        except DeviceError as error:
            left = sorted(getattr(error, "refused", ())) or [*range(len(run))]
            for at in left:
                self._done[run[at].key] = before[at]
            return left
        return []

    def _in_force(self) -> list[Step]:
        return sorted((each for each in self._done.values() if each != each.deletion()), key=rank)

    def _apply(self, step: Step, before: Step) -> None:
        if isinstance(step, Copies):
            copy = self.session.multicast if step.kind == "group" else self.session.clone_session
            copy(step.number, step.ports)
        elif not step.action:
            self.session.delete(step.table, dict(step.match), **_options(step))
        elif before != step.deletion():
            self._modify(step)
        else:
            self._insert(step)
        self._done[step.key] = step

    def _modify(self, step: Entry) -> None:
        self.session.modify(step.table, dict(step.match), step.action, dict(step.params), **_options(step))

    def _insert(self, step: Entry) -> None:
        try:
            self.session.insert(step.table, dict(step.match), step.action, dict(step.params), **_options(step))
        except DeviceError as refusal:
            # An entry left by an earlier controller is taken over. Any other refusal is raised.
            try:
                self._modify(step)
            except DeviceError:
                raise refusal from None


def _options(step: Entry) -> dict[str, int]:
    """Return the optional arguments of an entry: those that are not at their defaults."""
    options = {"priority": step.priority, "rate": step.rate if step.action else 0}
    return {name: value for name, value in options.items() if value}
