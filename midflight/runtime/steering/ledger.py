"""What a switch has been told by a session, and changes of it that are made whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from midflight.errors import DeviceError
from midflight.runtime.steering.controls import Controls
from midflight.runtime.steering.steps import Copies, Entry, Step, rank

__all__ = ["Ledger"]


class Ledger:
    """The steps that hold on a switch.

    Where the device refuses a step of a change, those before it are taken back and the refusal is raised. Only what a
    device that has died did not take back stays, and the next change mends that.
    """

    def __init__(self, session: Controls) -> None:
        self.session = session
        self._done: dict[tuple[str, object], Step] = {}

    def change(self, steps: Iterable[Step]) -> None:
        """Have these hold, in order; what holds already is not told again."""
        undo: list[Step] = []
        try:
            for step in steps:
                before = self._done.get(step.key, step.gone())
                if before != step:
                    self._do(step, before)
                    undo.append(before)
        except Exception:
            for before in reversed(undo):
                # A device that is gone takes nothing back either; what it was asked first is what to tell.
                with suppress(DeviceError):
                    self._do(before, self._done[before.key])
            raise

    def clear(self) -> None:
        """Take everything back: routes first, then admissions, and then what those rest on."""
        self.change([each.gone() for each in self._there()])

    def restart(self, session: Controls) -> None:
        """Begin with nothing, through this session from now on; what is there after all is taken back before."""
        for each in self._there():
            # What is not there any more, though nobody has said so, is refused.
            with suppress(DeviceError):
                self._do(each.gone(), each)
        self.session, self._done = session, {}

    def _there(self) -> list[Step]:
        return sorted((each for each in self._done.values() if each != each.gone()), key=rank)

    def _do(self, step: Step, before: Step) -> None:
        if isinstance(step, Copies):
            copy = self.session.multicast if step.kind == "group" else self.session.clone_session
            copy(step.number, step.ports)
        elif not step.action:
            self.session.delete(step.table, dict(step.match), **_options(step))
        elif before != step.gone():
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
            # An entry that an earlier controller left in the way is taken over; any other refusal stands.
            try:
                self._modify(step)
            except DeviceError:
                raise refusal from None


def _options(step: Entry) -> dict[str, int]:
    """Return what an entry is told with beside match and action: nothing that is at its default."""
    options = {"priority": step.priority, "rate": step.rate if step.action else 0}
    return {name: value for name, value in options.items() if value}
