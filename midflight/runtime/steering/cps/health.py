"""The path selector's own probes of instances: the one evidence that does not depend on what an instance claims."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import TracebackType

from midflight.runtime.steering.agents.reflector import ProbeSocket
from midflight.runtime.steering.agents.stamp import Prober
from midflight.runtime.steering.cps.liveness import Liveness
from midflight.runtime.steering.cps.selector import PROBE

__all__ = ["HealthProbes"]


class HealthProbes:
    """Probes reflectors (`agents.reflector`) beside instances. A context manager.

    `reflectors` has the IP address and UDP port for each CSCI-ID, and `clock` returns nanoseconds since 1970. Each is
    probed every `interval` nanoseconds. DeviceError if there is no route to one.
    """

    def __init__(
        self,
        reflectors: Mapping[str, tuple[str, int]],
        liveness: Liveness,
        clock: Callable[[], int],
        interval: int,
    ) -> None:
        self._liveness, self._clock, self._interval = liveness, clock, interval
        self._probes: dict[str, tuple[Prober, ProbeSocket]] = {}
        with ExitStack() as stack:
            for instance, (address, port) in reflectors.items():
                prober = Prober()
                self._probes[instance] = prober, stack.enter_context(ProbeSocket(prober, address, port, clock))
            self._stack = stack.pop_all()
        self._sent: int | None = None
        self._answered: dict[str, None] = {}  # those that have answered since the latest probes

    def poll(self) -> None:
        """Record the answers that have arrived, and once in each interval probe all again. Does not wait for answers.

        Call this several times in an interval, as an answer counts as a sign of life at the time of the call that finds
        it. A reflector that has not answered when it is probed again has missed a sign; so has one to which no probe
        can be sent.
        """
        for instance, (prober, socket) in self._probes.items():
            before = prober.answered
            while socket.receive(0.0):
                pass
            if prober.answered > before:
                self._liveness.sign(instance, PROBE, self._clock())
                self._answered[instance] = None
        now = self._clock()
        if self._sent is not None and now - self._sent < self._interval:
            return
        for instance, (_, socket) in self._probes.items():
            if self._sent is not None and instance not in self._answered:
                self._liveness.miss(instance, PROBE, now)
            socket.send()
        self._sent = now
        self._answered.clear()

    def close(self) -> None:
        """Close the sockets. Idempotent."""
        self._stack.close()

    def __enter__(self) -> HealthProbes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
