"""A path selector for one service."""

from __future__ import annotations


class Selector:
    """Chooses the instance of each flow."""

    def __init__(self, stale: int, margin: float) -> None:
        self.stale = stale
        self.margin = margin
        self.reports: dict[str, tuple[int, float, float, float, bool]] = {}
        self.flows: dict[int, str] = {}

    def report(
        self, now: int, instance: str, measured: int, network: float, compute: float, load: float, draining: bool
    ) -> None:
        """Accept a report of an instance."""
        if instance not in self.reports or measured > self.reports[instance][0]:
            self.reports[instance] = (measured, network, compute, load, draining)

    def choose(self, now: int, flow: int) -> str | None:
        """Return the instance for a packet of a flow."""
        usable = {
            name: network + compute / (1 - load)
            for name, (measured, network, compute, load, _) in self.reports.items()
            if now - measured <= self.stale and load < 0.95
        }
        fresh = [name for name in usable if not self.reports[name][4]]
        best = min(fresh, key=lambda name: (usable[name], name), default=None)
        own = self.flows.get(flow)
        if own not in usable or (best is not None and usable[best] < (1 - self.margin) * usable[own]):
            own = best
        if own is None:
            self.flows.pop(flow, None)
        else:
            self.flows[flow] = own
        return own
