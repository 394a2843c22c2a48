"""Test networks whose switches run P4 programs of users, without Midflight's controller."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from midflight.closing import Closer
from midflight.errors import MidflightError
from midflight.runtime.checked import CheckedProgram, user_programs
from midflight.runtime.devices.base import Device
from midflight.runtime.p4runtime.client.session import Session
from midflight.runtime.p4runtime.entryfiles.reading import read_entries
from midflight.runtime.p4runtime.entryfiles.steps import SessionTarget, apply
from midflight.testbed.fabric.base import Host
from midflight.testbed.fabric.registry import open_fabric
from midflight.testbed.topology import Topology
from midflight.userfiles import read_text

__all__ = ["P4Net"]


class P4Net:
    """A running network whose switches run P4 programs. A context manager: leaving it calls `close`.

    programs: by switch, the file of its program; every switch needs one. entries: by switch, files of entries, which
    are applied in order. The other parameters are as for `Net`. `sessions` has the P4Runtime session with each switch,
    through which entries and registers are read and written; it is the primary. direct: whether hosts in namespaces
    send to each other's MAC addresses, as in one subnet, and not to that of their switch.

    MidflightError if a switch has no program, there is no switch of a name, or a file has a mistake; P4Error for an
    invalid program, or one that its device does not support; DeviceError if a device does not start or refuses a
    program; UnsupportedError for an entry of a kind that a device does not implement. After an error, everything that
    was opened is closed again.
    """

    def __init__(
        self,
        topology: Topology,
        *,
        programs: Mapping[str, Path],
        entries: Mapping[str, list[Path]] | None = None,
        device: str | Mapping[str, str] = "host",
        fabric: str = "sim",
        seed: int = 0,
        pcap: Path | None = None,
        traceable: bool = False,
        direct: bool = False,
    ) -> None:
        for name in [*programs, *(entries or {})]:
            if name not in topology.switches:
                known = ", ".join(topology.switches)
                raise MidflightError(f"there is no switch named {name}", hint=f"the switches are {known}")
        if missing := [name for name in topology.switches if name not in programs]:
            raise MidflightError(f"{missing[0]} has no program", hint="give one for all switches, or one for each")
        self.topology, shared = topology, user_programs()
        self.programs: Mapping[str, CheckedProgram] = {
            name: shared.get(read_text(path), str(path)) for name, path in programs.items()
        }
        for each in self.programs.values():
            assert each.program  # raises a mistake before anything starts
        self.sessions: dict[str, Session] = {}
        with ExitStack() as stack:
            self.fabric = stack.enter_context(
                open_fabric(fabric, topology, device, seed=seed, pcap=pcap, traceable=traceable, programs=shared)
            )
            for name, opened in self.fabric.devices.items():
                session = self.sessions[name] = stack.enter_context(opened.session())
                config = opened.compile(self.programs[name])
                session.load(config.p4info, config.config)
                for path in (entries or {}).get(name, []):
                    target = SessionTarget(session)
                    apply(read_entries(path, target.schema), target)
            if direct and fabric != "sim":
                self._introduce()
            self._close = Closer(self, stack.pop_all().close)

    def _introduce(self) -> None:
        """Set the MAC addresses of all other hosts on every host."""
        known = {each: (str(self.topology.address(each)), self.topology.mac(each)) for each in self.topology.hosts}
        for name, host in self.fabric.hosts.items():
            lines = [
                f"ip neighbour replace {address} lladdr {mac.to_bytes(6, 'big').hex(':')} dev eth0 nud permanent && "
                f"ip route replace {address} dev eth0"
                for other, (address, mac) in known.items()
                if other != name
            ]
            if lines:
                host.run(["sh", "-c", " && ".join(lines)])

    @property
    def hosts(self) -> tuple[Host, ...]:
        """The hosts, in the topology's order."""
        return tuple(self.fabric.hosts.values())

    def host(self, name: str) -> Host:
        """Return the host of this name. MidflightError if there is none."""
        if name not in self.fabric.hosts:
            raise MidflightError(f"there is no host {name}", hint=f"the hosts are {', '.join(self.fabric.hosts)}")
        return self.fabric.hosts[name]

    @property
    def devices(self) -> Mapping[str, Device]:
        """The switches' devices by switch name."""
        return self.fabric.devices

    def close(self) -> None:
        """Close the network, and remove everything it created. May be called more than once."""
        self._close()

    def __enter__(self) -> P4Net:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
