"""A host of a network of namespaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from midflight.runtime.steering import IPAddress
from midflight.testbed.fabric.processes import run_inside

__all__ = ["NetnsHost"]


@dataclass(frozen=True, slots=True)
class NetnsHost:
    """A host of a network of namespaces: the network namespace `netns` with one network interface, eth0.

    `mac` is a 48-bit integer.
    """

    name: str
    mac: int
    address: IPAddress
    netns: str

    def run(self, arguments: Sequence[str], *, timeout: float = 60.0, check: bool = True) -> str:
        """Run a command in the host's namespace, wait until it ends, and return its standard output and error,
        interleaved.

        `timeout` is in seconds. DeviceError if the command is not found, takes longer or, with `check`, exits with
        another status than 0.
        """
        return run_inside(self.name, self.netns, arguments, timeout, check)

    def accept(self, address: IPAddress) -> None:
        """Also receive packets for another address, such as that of a service, in programs on the host. Idempotent.

        Endpoints that this process runs on the host (`Fabric.listen`) do not receive them. DeviceError if the host's
        namespace does not take the address.
        """
        self.run(["ip", "address", "replace", f"{address}/{address.max_prefixlen}", "dev", "lo"])

    def reject(self, address: IPAddress) -> None:
        """No longer receive packets for an address that `accept` has added. Idempotent."""
        self.run(["ip", "address", "delete", f"{address}/{address.max_prefixlen}", "dev", "lo"], check=False)
