"""A network whose switches get other programs, whole or not at all, and fail, come back and are done without."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

from midflight.errors import DeviceError, MidflightError
from midflight.primitives import Program
from midflight.runtime.steering import Graph
from midflight.testbed.arranging import Arranging
from midflight.testbed.change import Running, stay
from midflight.testbed.fabric.base import Host

__all__ = ["Changing"]


class Changing(Arranging):
    """A network of jobs that go on while its switches change. See `Net`."""

    def change(self, program: Program) -> None:
        """Have all switches run another program, made of the present one by `extended`, `without` and `replaced`.

        Applications that stay keep their maps, groups, admissions and counters, and their state where that has the same
        shape; jobs that are under way go on. A switch drops packets while it is changed, for which hosts retransmit;
        one whose program stays the same is left alone.

        A change is whole or not at all. MidflightError, and nothing has been touched, where the program does not
        compile, where a group's application would go or become another, or where nobody could compute it any more.
        DeviceError where a switch does not take the program: those that have it already go back to the one before, with
        the state they have. One that dies and does not come back with what it had is off, until it is revived.
        """
        with self._lock:
            for name in self._groups:
                if not stay(self.program, program, name):
                    raise MidflightError(
                        f"{name} has a group, and cannot go or become another",
                        hint="close it first, and make programs of `net.program`: extended, without, replaced",
                    )
            wanted = self._wanted(program)
            on = {name for name, each in self.switches.items() if each.on}
            try:
                with ExitStack() as undo:
                    self._exchange(program, wanted, undo)
                    undo.pop_all()
            except DeviceError as error:
                lost = [name for name, each in self.switches.items() if name in on and not each.on]
                outcome = ", ".join(f'{each} is off until net.revive("{each}")' for each in lost)
                outcome += f"{', and all others have' if lost else 'all switches have'} what they had"
                hint = f"{error.hint}\n    {outcome}" if error.hint else outcome
                raise DeviceError(error.message, hint=hint) from error

    def kill(self, switch: str) -> None:
        """Switch a switch off, or kill its process: what reaches it from now on is lost."""
        with self._lock:
            self._switch(switch).power(on=False)

    def revive(self, switch: str) -> None:
        """Switch a switch on again, one that runs off and on: it has forgotten everything.

        It gets the program and its tables anew, and the new epoch tells the workers.
        """
        with self._lock:
            self._begin_anew(switch)
            self._given_up.discard(switch)
            self._avoid()
            self._rearrange()

    def give_up(self, switch: str) -> None:
        """Do without a switch for good, until it is revived: it computes nothing any more.

        Where the others can go on without it, they do, and one of them computes what it did. Where it is the only way
        between some of the hosts, one that only forwards takes its place. The server computes what no switch can, and
        without one the workers add up by themselves.
        """
        with self._lock:
            self._switch(switch).power(on=False)
            self._given_up.add(switch)
            if not self._avoid():
                self._begin_anew(switch)
            self._rearrange()

    def _exchange(self, program: Program, wanted: Mapping[str, Running], undo: ExitStack) -> None:
        """Do what `change` says; `undo` is told, step by step, how to take it back."""
        moved = [
            job
            for job in self._jobs.values()
            if any(job.application.name not in wanted[each].placed for each in job.receivers)
        ]
        for job in moved:
            if job.server is None:
                raise self._homeless(job.application, next(iter(wanted.values())).placement)
        if moved:
            undo.callback(self._rearrange)
        undo.callback(self._remember, self._told())
        undo.callback(self.fabric.adopt, self.program)
        for name, running in wanted.items():
            with _told_of(name):
                self.switches[name].verify(running)
        for name, running in wanted.items():
            with _told_of(name):
                undo.callback(self.switches[name].change(running))
        self._remember(self._staying(program))
        self.fabric.adopt(program)
        if moved:
            self._epoch = (self._epoch + 1) % 2**16
            for job in moved:
                self._arrange(job)

    def _begin_anew(self, switch: str) -> None:
        """Switch a switch off, where it is on, and on again, with its program and the routes."""
        it = self._switch(switch)
        if it.on:
            it.power(on=False)
        try:
            it.power(on=True)
            self._begin(switch)
        except BaseException:
            it.power(on=False)
            raise

    def _avoid(self) -> bool:
        """Have all ways lead around the switches that are given up and off, where all hosts can do without them."""
        whole = self.topology.graph()
        without = whole.without({each for each in self._given_up if not self.switches[each].on})
        if any(_reached(whole, each) != _reached(without, each) for each in self.hosts):
            return False
        self._graph = without
        return True


@contextmanager
def _told_of(switch: str) -> Iterator[None]:
    """Have errors of a device say which switch it is."""
    try:
        yield
    except DeviceError as error:
        raise DeviceError(f"{switch} does not take the program: {error.message}", hint=error.hint) from error


def _reached(graph: Graph, host: Host) -> set[str]:
    """Return the hosts that have a way to this one."""
    return {each.name for each in graph.hosts} & graph.towards(host.name).keys()
