"""Existing networks, described in YAML files: the format of topologies, with addresses.

    switches:
      s1: {address: "127.0.0.1:9559", kind: host}        # P4Runtime; device_id is 1 by default
      s2: {address: "127.0.0.1:9560", kind: bmv2, device_id: 7}
      s3: {address: "10.9.0.3:9559", capabilities: {stages: 12, register_accesses: 1}}   # overrides the defaults
      s4: {address: "10.9.0.4:9559", sheet: mine.toml}   # a capability sheet, by name or relative to this file
    hosts:
      h1: {address: 10.0.0.1, mac: "02:00:00:00:00:01"}
      h2: {address: 10.0.0.2, mac: "02:00:00:00:00:02", port: "s2:1"}    # instead of a link
    links:
      - h1 s1                      # ports are numbered from 1 in the order of the links,
      - s1:7 s2                    # unless a port is given
      - {ends: s2 s3, delay: 2ms}
    tls: {authority: ca.pem, certificate: controller.pem, key: controller.key}   # relative to this file

A host's `address` and `mac` are those of its network card. A switch's `mac` is the address that its neighbours send to.
It is optional, since Midflight's programs accept any.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from typing import Any, get_type_hints

import yaml

from midflight.errors import MidflightError
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.devices.registry import capabilities, kinds
from midflight.runtime.devices.sheetfile import SHEETS, load_sheet
from midflight.runtime.p4runtime.addresses import check_address
from midflight.runtime.p4runtime.tls import ClientTls
from midflight.runtime.steering import Graph, Host, IPAddress, Link, Switch
from midflight.runtime.steering.cabling import plugged
from midflight.units import LARGEST, SIZES, TIMES, measured
from midflight.userfiles import read_text
from midflight.yamlfile import Pairs, YamlFile

__all__ = ["Network", "SwitchAddress", "load_network", "parse_network"]

_KEYS = ("switches", "hosts", "links", "defaults", "tls")
_SWITCH = ("address", "device_id", "kind", "sheet", "capabilities", "compiler", "role", "mac", "tls")
_HOST = ("address", "mac", "port")
_TLS = ("authority", "certificate", "key", "server_name")
_LINK = {"delay": TIMES, "mtu": SIZES}
"""Properties of a link and their units: delays determine the routes, and the MTU the size of packets."""
_SWITCH_EXAMPLE = 's1: {address: "127.0.0.1:9559", kind: host}'
_EXAMPLE = f"for example {_SWITCH_EXAMPLE}"
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
_FIRST_SWITCH_MAC = 0x02_00_00_01_00_00
_LARGEST_PORT = 509
_DELAY, _MTU = 1_000, 1500
_RANGE = {"delay": (0, LARGEST), "mtu": (68, 65_535)}
"""The range of each property of a link, in nanoseconds and bytes: IPv4 needs 68 bytes (RFC 791)."""


@dataclass(frozen=True, slots=True)
class SwitchAddress:
    """The address and the properties of a switch that serves P4Runtime, as given in a network file.

    `address` is "host:port" or "unix:/path". `kind` is a kind of device, such as "host" or "bmv2", or empty if unknown.
    `sheet` is its capability sheet, or None to query the switch. `compiler` is that of `RemoteDevice`: "midflight" or
    "p4c", or empty for the one that fits the kind. `role` is the controller's P4Runtime role, or empty for the default
    role, which has full access. `tls` are the TLS settings of its sessions, or None for connections without TLS.
    """

    name: str
    address: str
    device_id: int = 1
    kind: str = ""
    sheet: Capabilities | None = None
    compiler: str = ""
    role: str = ""
    tls: ClientTls | None = None


@dataclass(frozen=True, slots=True)
class Network:
    """An existing network: its graph of hosts, switches and links, and by switch name, the address of its P4Runtime
    server.
    """

    graph: Graph
    switches: Mapping[str, SwitchAddress]
    mtu: int = _MTU
    """The size in bytes of the largest IP packet that every link carries."""

    def host(self, name: str) -> Host:
        """Return a host by name. MidflightError if there is none."""
        found = next((each for each in self.graph.hosts if each.name == name), None)
        if found is None:
            names = ", ".join(each.name for each in self.graph.hosts)
            raise MidflightError(f"there is no host named {name}", hint=f"the hosts are {names}")
        return found


def load_network(path: str | Path) -> Network:
    """Read the YAML file at `path`, and return the network that it describes; see the module for the format.

    MidflightError, with file and line, if the file cannot be read or is wrong.
    """
    return parse_network(read_text(path), str(path))


def parse_network(text: str, file: str = "<string>") -> Network:
    """Return the network that a YAML text describes; see the module for the format.

    `file` is the text's name in errors; relative paths in the text are relative to the folder of `file`.
    MidflightError, with file and line, if the text is wrong.
    """
    return _Reader(text, file).network()


@dataclass(slots=True)
class _Links:
    """The links read so far, as parallel lists: ends, delays in nanoseconds, MTUs in bytes, and YAML nodes."""

    ends: list[tuple[str, str]] = field(default_factory=list)
    delays: list[int] = field(default_factory=list)
    mtus: list[int] = field(default_factory=list)
    nodes: list[yaml.Node] = field(default_factory=list)


class _Reader:
    """Reads a network from the tree of a YAML text."""

    def __init__(self, text: str, file: str) -> None:
        self._yaml = YamlFile(text, file)
        self._folder = Path(file).parent
        self._links = _Links()
        self._owners: dict[IPAddress, str] = {}

    def network(self) -> Network:
        parts = self._known(self._yaml.root, "a network", _KEYS)
        if "switches" not in parts or not isinstance(parts["switches"][1], yaml.MappingNode):
            where = parts["switches"][1] if "switches" in parts else self._yaml.root
            self._yaml.fail(where, "a network needs switches with their addresses", f"switches: {{{_SWITCH_EXAMPLE}}}")
        switches = self._yaml.mapping(parts["switches"][1], "switches")
        self._common_tls = self._tls(parts["tls"][1]) if "tls" in parts else None
        if not switches:
            self._yaml.fail(
                parts["switches"][1], "a network needs at least one switch", f"switches: {{{_SWITCH_EXAMPLE}}}"
            )
        addresses = {name: self._switch(name, *each) for name, each in switches.items()}
        hosts = self._yaml.mapping(parts["hosts"][1], "hosts", self._host_example) if "hosts" in parts else {}
        base = self._quality(parts["defaults"][1], "defaults", {}) if "defaults" in parts else {}
        for node in self._yaml.sequence(parts["links"][1], "a list of links") if "links" in parts else ():
            self._link(node, base)
        made = [self._host(name, *each, base) for name, each in hosts.items()]
        macs = [self._switch_mac(number, *each) for number, each in enumerate(switches.values(), 1)]
        graph = self._graph(made, [Switch(name, mac) for name, mac in zip(addresses, macs, strict=True)], parts)
        self._distinct(switches, addresses)
        return Network(graph, addresses, min(self._links.mtus, default=_MTU))

    _host_example = 'for example h1: {address: 10.0.0.1, mac: "02:00:00:00:00:01"}'

    def _switch(self, name: str, key: yaml.Node, node: yaml.Node) -> SwitchAddress:
        self._name(key, name)
        parts = self._known(node, f"switch {name}", _SWITCH, _EXAMPLE)
        if "address" not in parts:
            self._yaml.fail(key, f"switch {name} needs the address of its P4Runtime server", _EXAMPLE)
        address = self._yaml.text(parts["address"][1])
        try:
            check_address(address)
        except MidflightError as error:
            raise self._yaml.placed(parts["address"][1], error) from None
        kind = self._yaml.text(parts["kind"][1]) if "kind" in parts else ""
        if kind and kind not in kinds():
            hint = f"the kinds are {', '.join(kinds())}; leave it out to query the switch"
            self._yaml.fail(parts["kind"][1], f"there is no kind of device called {kind!r}", hint)
        device_id = self._yaml.scalar(parts["device_id"][1]) if "device_id" in parts else 1
        if type(device_id) is not int or not 0 < device_id < 1 << 64:
            self._yaml.fail(parts["device_id"][1], f"a device id is a positive 64-bit integer, not {device_id!r}")
        sheet = capabilities(kind) if kind else None
        if "sheet" in parts:
            sheet = self._sheet_file(parts["sheet"][1])
        if "capabilities" in parts:
            sheet = self._sheet(parts["capabilities"][1], sheet or Capabilities(kind="grpc"))
        texts = {each: self._yaml.text(parts[each][1]) if each in parts else "" for each in ("compiler", "role")}
        tls = self._common_tls
        if "tls" in parts:
            plain = isinstance(parts["tls"][1], yaml.ScalarNode) and self._yaml.scalar(parts["tls"][1]) is False
            tls = None if plain else self._tls(parts["tls"][1])
        return SwitchAddress(name, address, device_id, kind, sheet, **texts, tls=tls)

    def _sheet_file(self, node: yaml.Node) -> Capabilities:
        """Return the sheet with a name, or in a file whose path is relative to the network file's folder."""
        name = self._yaml.text(node)
        try:
            return load_sheet(name if name in SHEETS else self._folder / name)
        except MidflightError as error:
            raise (error if error.place else self._yaml.placed(node, error)) from None

    def _sheet(self, node: yaml.Node, base: Capabilities) -> Capabilities:
        """Return a capability sheet in which the file's values replace those of the kind."""
        known = {each.name: get_type_hints(Capabilities)[each.name] for each in fields(Capabilities)}
        for each in ("kind", "sources", "blocks", "containers", "stateful_operations"):  # only in sheets
            del known[each]
        changes: dict[str, Any] = {}
        for name, (_, value) in self._known(node, "a capability sheet", tuple(known)).items():
            if name == "per_stage":
                pairs = self._yaml.mapping(value, name)
                changes[name] = {each: self._number(it, each) for each, (_, it) in pairs.items()}
            elif name in ("match_kinds", "externs"):
                changes[name] = frozenset(self._yaml.names(value))
            elif name == "architecture":
                changes[name] = self._yaml.text(value)
            elif known[name] is bool:
                changes[name] = self._yaml.scalar(value)
                if type(changes[name]) is not bool:
                    self._yaml.fail(value, f"{name} must be true or false, not {changes[name]!r}")
            else:
                changes[name] = None if self._yaml.scalar(value) is None else self._number(value, name)
        return replace(base, **changes)

    def _number(self, node: yaml.Node, what: str) -> int:
        value = self._yaml.scalar(node)
        if type(value) is not int or not 0 <= value < 1 << 63:
            self._yaml.fail(node, f"{what} must be a non-negative integer below 2**63, not {value!r}")
        return value

    def _host(self, name: str, key: yaml.Node, node: yaml.Node, base: dict[str, int]) -> Host:
        self._name(key, name)
        parts = self._known(node, f"host {name}", _HOST, self._host_example)
        for needed in ("address", "mac"):
            if needed not in parts:
                self._yaml.fail(key, f"host {name} needs the {needed} of its network card", self._host_example)
        if "port" in parts:
            self._add(parts["port"][1], (name, self._yaml.text(parts["port"][1])), base)
        where = parts["address"][1]
        try:
            address = ip_address(self._yaml.text(where))
        except ValueError:
            self._yaml.fail(where, f"{self._yaml.text(where)!r} is neither an IPv4 nor an IPv6 address")
        if address.is_multicast or address.is_unspecified or address.is_loopback:
            self._yaml.fail(where, f"{address} is not a unicast address that a host can have")
        if isinstance(address, IPv6Address) and address.scope_id:
            self._yaml.fail(where, f"{address} has a zone, which packets do not carry", "write it without %")
        if (owner := self._owners.setdefault(address, name)) != name:
            self._yaml.fail(where, f"hosts {owner} and {name} have the same address")
        return Host(name, self._mac(parts["mac"][1]), address)

    def _switch_mac(self, number: int, key: yaml.Node, node: yaml.Node) -> int:
        parts = self._yaml.mapping(node, self._yaml.text(key))
        return self._mac(parts["mac"][1]) if "mac" in parts else _FIRST_SWITCH_MAC + number

    def _mac(self, node: yaml.Node) -> int:
        text = self._yaml.text(node)
        if not _MAC.fullmatch(text):
            self._yaml.fail(node, f"{text!r} is not a MAC address", 'for example "02:00:00:00:00:01", in quotes')
        number = int(text.replace(":", ""), 16)
        if number >> 40 & 1:
            self._yaml.fail(node, f"{text} is the address of a group, which no network card has")
        return number

    def _link(self, node: yaml.Node, base: dict[str, int]) -> None:
        quality, ends = base, node
        if isinstance(node, yaml.MappingNode):
            parts = self._yaml.mapping(node, "a link")
            if "ends" not in parts:
                self._yaml.fail(node, "a link needs ends", "for example {ends: h1 s1, delay: 2ms}")
            ends = parts.pop("ends")[1]
            quality = self._measures(parts, "a link", base)
        if isinstance(ends, yaml.SequenceNode):
            found = [self._yaml.text(each) for each in ends.value]
        else:
            found = self._yaml.text(ends).split()
        if len(found) != 2:
            self._yaml.fail(ends, "a link has two ends", 'write h1 s1, or with a port, "h1 s1:3"')
        self._add(ends, (found[0], found[1]), quality)

    def _add(self, node: yaml.Node, ends: tuple[str, str], quality: dict[str, int]) -> None:
        self._links.ends.append(ends)
        self._links.delays.append(quality.get("delay", _DELAY))
        self._links.mtus.append(quality.get("mtu", _MTU))
        self._links.nodes.append(node)

    def _quality(self, node: yaml.Node, what: str, base: dict[str, int]) -> dict[str, int]:
        return self._measures(self._yaml.mapping(node, what), what, base)

    def _measures(self, parts: Pairs, what: str, base: dict[str, int]) -> dict[str, int]:
        values = dict(base)
        for name, (key, node) in parts.items():
            if name not in _LINK:
                hint = f"links of an existing network have only {' and '.join(_LINK)}"
                self._yaml.fail(key, f"{what} has no {name!r} here", hint)
            value = self._yaml.scalar(node)
            number, unit = (value, "") if type(value) is int else measured(value) or (0, "?")
            found = round(number * _LINK[name].get(unit, 1))
            least, most = _RANGE[name]
            if (unit and unit not in _LINK[name]) or not least <= found <= most:
                known = ", ".join(f"1{each}" for each in _LINK[name])
                self._yaml.fail(node, f"{value!r} is not a valid {name} of a link", f"write it like {known}")
            values[name] = found
        return values

    def _graph(self, hosts: list[Host], switches: list[Switch], parts: Pairs) -> Graph:
        names, links = {each.name for each in hosts}, []
        places = self._links.nodes or [parts["switches"][0]]
        where = places[0]
        try:
            for number, (one, other) in enumerate(plugged(self._links.ends, [each.name for each in switches])):
                where = places[number]
                for node, port in (one, other):
                    if node in names and port:
                        raise MidflightError(f"host {node} has one network card, on port 0, but no port {port}")
                    if port > _LARGEST_PORT:
                        raise MidflightError(f"a switch has ports 0 to {_LARGEST_PORT}, but {node} no port {port}")
                links.append(Link(*one, *other, self._links.delays[number]))
                Graph(tuple(hosts), tuple(switches), tuple(links))  # raises at the first link that does not fit
            return Graph(tuple(hosts), tuple(switches), tuple(links))
        except MidflightError as error:
            raise self._yaml.placed(where, error) from None

    def _distinct(self, switches: Pairs, addresses: Mapping[str, SwitchAddress]) -> None:
        owners: dict[tuple[str, int], str] = {}
        for name, each in addresses.items():
            other = owners.setdefault((each.address, each.device_id), name)
            if other != name:
                hint = "give one of them another address or device_id"
                self._yaml.fail(
                    switches[name][0], f"{other} and {name} have the same address and device_id {each.device_id}", hint
                )

    def _tls(self, node: yaml.Node) -> ClientTls:
        parts = self._known(node, "tls", _TLS)
        example = "{authority: ca.pem, certificate: controller.pem, key: controller.key}"
        if "authority" not in parts:
            self._yaml.fail(node, "tls needs authority", example)
        if ("certificate" in parts) != ("key" in parts):
            self._yaml.fail(node, "tls takes certificate and key together", example)
        files = {}
        for name in [each for each in ("authority", "certificate", "key") if each in parts]:
            files[name] = self._folder / self._yaml.text(parts[name][1])
            if not files[name].is_file():
                self._yaml.fail(parts[name][1], f"there is no file {files[name]}")
        server = self._yaml.text(parts["server_name"][1]) if "server_name" in parts else ""
        return ClientTls(files["authority"], files.get("certificate"), files.get("key"), server)

    def _name(self, node: yaml.Node, name: str) -> None:
        if not _NAME.fullmatch(name):
            hint = "a name has up to 32 letters, digits, - and _, and starts with a letter"
            self._yaml.fail(node, f"a node cannot be called {name!r}", hint)

    def _known(self, node: yaml.Node | None, what: str, known: tuple[str, ...], example: str = "") -> Pairs:
        parts = self._yaml.mapping(node, what, example)
        for name, (key, _) in parts.items():
            if name not in known:
                self._yaml.fail(key, f"{what} has no {name!r}", f"it has {', '.join(known)}")
        return parts
