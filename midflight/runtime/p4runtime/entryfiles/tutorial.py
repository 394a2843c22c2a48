"""The JSON of p4lang's tutorials (`s1-runtime.json`): table entries, multicast groups and clone sessions.

Match values are a number, an address, a pair [value, prefix length] (LPM), [value, mask] (ternary) or [low, high]
(range), or a text such as "10.0.1.1/32", "0x10&&&0xf0" and "1..9". YAML of the same form is read, too.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import yaml
from finsy.proto import p4r

from midflight.errors import MidflightError
from midflight.runtime.p4runtime.client.messages import action_message, entry_message, replica_messages
from midflight.runtime.p4runtime.entryfiles.commands import default_update
from midflight.runtime.p4runtime.entryfiles.names import action_of, field_of, resolve
from midflight.runtime.p4runtime.entryfiles.steps import Step, Write
from midflight.runtime.p4runtime.schema import NEEDS_PRIORITY, Schema
from midflight.yamlfile import Pairs, YamlFile

__all__ = ["read_tutorial"]

T = TypeVar("T")

IGNORED = ("target", "p4info", "bmv2_json")
"""What a file says about the switch that it was written for."""

ENTRY = ("table", "match", "action_name", "action_params", "default_action", "priority", "metadata")
GROUP = ("multicast_group_id", "replicas")
SESSION = ("clone_session_id", "session_id", "replicas", "packet_length_bytes", "class_of_service")


def read_tutorial(text: str, file: str, schema: Schema) -> list[Step]:
    """Return the steps that a file in the form of p4lang's tutorials (JSON or YAML) describes, in order.

    `text` is the file's text, `file` its name in errors, and `schema` the program's objects. MidflightError with the
    place of the first mistake.
    """
    return _Reader(text, file, schema).steps()


class _Reader:
    def __init__(self, text: str, file: str, schema: Schema) -> None:
        # YAML has no tabs between tokens, but JSON has.
        self._yaml = YamlFile(text.replace("\t", " "), file)
        self._schema = schema

    def steps(self) -> list[Step]:
        """Return all steps in the order of the file."""
        steps: list[Step] = []
        for name, (key, value) in self._yaml.mapping(self._yaml.root, "an entries file").items():
            if name in IGNORED:
                continue
            read = {
                "table_entries": self._entry,
                "multicast_group_entries": self._group,
                "clone_session_entries": self._session,
            }.get(name)
            if read is None:
                known = "table_entries, multicast_group_entries and clone_session_entries"
                self._yaml.fail(key, f"unknown key {name!r}", f"the keys are {known}")
            for node in self._yaml.sequence(value, f"a list of {name.replace('_', ' ')}"):
                try:
                    update, what = read(node)
                except MidflightError as error:
                    raise error if error.place else self._yaml.placed(node, error) from None
                steps.append(Write(update, what, self._yaml.placed(node, MidflightError("")).place))
        return steps

    def _entry(self, node: yaml.Node) -> tuple[p4r.Update, str]:
        pairs = self._fields(node, "a table entry", ENTRY)
        table_node = self._demand(node, pairs, "table")
        table = self._at(table_node, lambda: resolve("table", self._schema.tables, self._text(table_node)))
        action_node = self._demand(node, pairs, "action_name")
        action = self._at(action_node, lambda: action_of(self._schema, table, self._text(action_node)))
        params: dict[str, object] = {}
        if "action_params" in pairs:
            _, params_node = pairs["action_params"]
            for name, (_, value) in self._yaml.mapping(params_node, "action parameters").items():
                params[name] = self._value(value)
            where = params_node
        else:
            where = action_node
        message = self._at(
            where, lambda: action_message(self._schema, table.preamble.name, action.preamble.name, params)
        )
        if "default_action" in pairs and self._yaml.scalar(pairs["default_action"][1]):
            return default_update(table, message), f"default action of {table.preamble.name}"
        match: dict[str, object] = {}
        if "match" in pairs and not _is_null(pairs["match"][1]):
            for name, (key, value) in self._yaml.mapping(pairs["match"][1], "a match").items():
                full, _ = self._at(key, partial(field_of, table, name))
                match[full] = self._match(value)
        priority = int(self._number(pairs["priority"][1])) if "priority" in pairs else 0
        if not priority and any(each.match_type in NEEDS_PRIORITY for each in table.match_fields):
            raise MidflightError(f"table {table.preamble.name}: the entry needs a priority, of at least 1")
        at = pairs["match"][1] if "match" in pairs else node
        entry = self._at(at, lambda: entry_message(self._schema, table.preamble.name, match, priority))
        entry.action.CopyFrom(message)
        update = p4r.Update(type=p4r.Update.INSERT, entity=p4r.Entity(table_entry=entry))
        return update, f"entry of {table.preamble.name}"

    def _group(self, node: yaml.Node) -> tuple[p4r.Update, str]:
        pairs = self._fields(node, "a multicast group", GROUP)
        number = self._number(self._demand(node, pairs, "multicast_group_id"))
        entry = p4r.MulticastGroupEntry(multicast_group_id=number, replicas=self._replicas(node, pairs))
        engine = p4r.PacketReplicationEngineEntry(multicast_group_entry=entry)
        return _insert(engine), f"multicast group {number}"

    def _session(self, node: yaml.Node) -> tuple[p4r.Update, str]:
        pairs = self._fields(node, "a clone session", SESSION)
        which = "session_id" if "session_id" in pairs else "clone_session_id"
        number = self._number(self._demand(node, pairs, which))
        entry = p4r.CloneSessionEntry(session_id=number, replicas=self._replicas(node, pairs))
        for name in ("packet_length_bytes", "class_of_service"):
            if name in pairs:
                setattr(entry, name, self._number(pairs[name][1], 31))
        engine = p4r.PacketReplicationEngineEntry(clone_session_entry=entry)
        return _insert(engine), f"clone session {number}"

    def _replicas(self, node: yaml.Node, pairs: Pairs) -> list[p4r.Replica]:
        found = []
        for each in self._yaml.sequence(self._demand(node, pairs, "replicas"), "a list of replicas"):
            parts = self._fields(each, "a replica", ("egress_port", "instance"))
            port = self._number(self._demand(each, parts, "egress_port"))
            found.append((port, self._number(parts["instance"][1]) if "instance" in parts else 0))
        return replica_messages(found)

    # Values

    def _match(self, node: yaml.Node) -> object:
        if isinstance(node, yaml.SequenceNode):
            values = [self._value(each) for each in node.value]
            if len(values) == 1:  # an exact field
                return values[0]
            if len(values) != 2:
                self._yaml.fail(node, "a match is a value or a pair of values")
            return values[0], values[1]
        return self._value(node)

    def _value(self, node: yaml.Node) -> object:
        """Return a number as an int, and anything else as the text that is written."""
        text = self._text(node)
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        return int(text) if text.isdecimal() else text

    def _number(self, node: yaml.Node, bits: int = 32) -> int:
        text = self._text(node)
        try:
            value = int(text, 0)
        except ValueError:
            value = -1
        if not 0 <= value < 1 << bits:
            self._yaml.fail(node, f"{text!r} is not a number", f"0 to 2**{bits} - 1 is allowed")
        return value

    def _text(self, node: yaml.Node) -> str:
        return self._yaml.text(node)

    # Structure

    def _fields(self, node: yaml.Node, what: str, known: tuple[str, ...]) -> Pairs:
        pairs = self._yaml.mapping(node, what)
        for name, (key, _) in pairs.items():
            if name not in known:
                self._yaml.fail(key, f"unknown key {name!r}", f"{what} has {', '.join(known)}")
        return pairs

    def _demand(self, node: yaml.Node, pairs: Pairs, name: str) -> yaml.Node:
        if name not in pairs:
            self._yaml.fail(node, f"{name} is missing")
        return pairs[name][1]

    def _at(self, node: yaml.Node, call: Callable[[], T]) -> T:
        """Call a function. Its MidflightError gets the place of a node."""
        try:
            return call()
        except MidflightError as error:
            raise self._yaml.placed(node, error) from None


def _insert(engine: p4r.PacketReplicationEngineEntry) -> p4r.Update:
    return p4r.Update(type=p4r.Update.INSERT, entity=p4r.Entity(packet_replication_engine_entry=engine))


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag.endswith(":null")
