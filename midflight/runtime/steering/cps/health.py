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

    `reflectors` has the IP address and UDP port for each CSCI-ID, and `clock` returns nanoseconds since 1970.
    DeviceError if there is no route to one.
    """

    def __init__(self, reflectors: Mapping[str, tuple[str, int]], liveness: Liveness, clock: Callable[[], int]) -> None:
        self._liveness, self._clock = liveness, clock
        self._probes: dict[str, tuple[Prober, ProbeSocket]] = {}
        with ExitStack() as stack:
            for instance, (address, port) in reflectors.items():
                prober = Prober()
                self._probes[instance] = prober, stack.enter_context(ProbeSocket(prober, address, port, clock))
            self._stack = stack.pop_all()
        self._began = False

    def poll(self) -> None:
        """Record which instances have answered since the last call, and probe all again. Does not wait for answers.

        The first call only probes. A probe that cannot be sent counts as one without an answer.
        """
        for instance, (prober, socket) in self._probes.items():
            waiting = prober.waiting(self._clock())
            while socket.receive(0.0):
                pass
            now = self._clock()
            if prober.waiting(now) < waiting:
                self._liveness.sign(instance, PROBE, now)
            elif self._began:
                self._liveness.miss(instance, PROBE, now)
            socket.send()
        self._began = True

    def close(self) -> None:
        """Close the sockets. Idempotent."""
        self._stack.close()

    def __enter__(self) -> HealthProbes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
