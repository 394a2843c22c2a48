"""Pipelines: tables and conditions, which JSON links like nodes of a graph."""

from __future__ import annotations

import json
from collections import Counter

from midflight.p4.bmv2json.names import Json, Names, Value, identifier, refusal
from midflight.p4.bmv2json.statements import ALGORITHMS, Statements

__all__ = ["pipeline"]

HIDDEN = "tbl_"
"""The beginning of names of tables that p4c makes for statements outside of tables."""

INDIRECT = ("indirect", "indirect_ws")
"""The types of tables with an action profile and with an action selector."""


def pipeline(names: Names, found: Json) -> tuple[list[str], list[str]]:
    """Return the P4 text of an ingress or egress pipeline of BMv2's JSON: the lines of its declarations and of its
    body.

    `found` is the pipeline's JSON object. P4Error for what is not supported.
    """
    return _Pipeline(names, found).lines()


class _Pipeline:
    def __init__(self, names: Names, found: Json) -> None:
        self._names = names
        self._found = found
        self._counters, self._meters = (
            {each["binding"]: each for each in names.root[arrays] if each["is_direct"]}
            for arrays in ("counter_arrays", "meter_arrays")
        )
        self._profiles: dict[str, Json] = {each["name"]: each for each in found.get("action_profiles", [])}
        self._actions: dict[int, Json] = {each["id"]: each for each in names.root["actions"]}
        self._nodes: dict[str, Json] = {each["name"]: each for each in [*found["tables"], *found["conditionals"]]}
        self._declared: dict[str, str] = {}
        self._repeated = Counter(each["name"] for each in names.root["actions"])
        self._declarations = [self._profile(each) for each in self._profiles.values()]

    def lines(self) -> tuple[list[str], list[str]]:
        order = self._order()
        numbers = {name: number for number, name in enumerate(order, 1)}
        body: list[str] = []
        if order:
            body.append(f"bit<32> at = {numbers[self._found['init_table']]};")
        for name in order:
            steps = self._step(self._nodes[name], numbers)
            body += [f"if (at == {numbers[name]}) {{", *(f"    {each}" for each in steps), "}"]
        return self._declarations, body

    def _order(self) -> list[str]:
        """Return the nodes in an order in which each follows all that lead to it. P4Error if there is a circle."""
        order: list[str] = []
        state: dict[str, int] = {}
        start = self._found["init_table"]
        waiting: list[tuple[str, bool]] = [(start, False)] if start else []
        while waiting:
            name, done = waiting.pop()
            if done:
                state[name] = 2
                order.append(name)
                continue
            if name in state:
                if state[name] == 1:
                    raise refusal("the pipeline has a circle of tables", self._found, self._names.file)
                continue
            state[name] = 1
            waiting.append((name, True))
            for each in self._following(self._nodes[name]):
                if state.get(each) != 2:
                    waiting.append((each, False))
        return order[::-1]

    def _following(self, node: Json) -> list[str]:
        if "expression" in node:
            found = [node["true_next"], node["false_next"]]
        else:
            found = [*node["next_tables"].values(), node.get("base_default_next")]
        return [each for each in dict.fromkeys(found) if each]

    def _step(self, node: Json, numbers: dict[str, int]) -> list[str]:
        def go(name: str | None) -> str:
            return f"at = {numbers[name] if name else 0};"

        if "expression" in node:
            condition = Statements(self._names).code.boolean(node["expression"])
            return [f"if ({condition}) {{ {go(node['true_next'])} }} else {{ {go(node['false_next'])} }}"]
        following = node["next_tables"]
        if node["name"].startswith(HIDDEN) and not node["key"] and len(node["action_ids"]) == 1:
            after = following.get(node["actions"][0], node.get("base_default_next"))
            return [go(after), *self._inlined(node)]
        table = self._table(node)
        if "__HIT__" in following or "__MISS__" in following:
            hit, miss = following.get("__HIT__"), following.get("__MISS__")
            return [f"if ({table}.apply().hit) {{ {go(hit)} }} else {{ {go(miss)} }}"]
        targets = dict.fromkeys(following.values())
        indirect = node["type"] in INDIRECT  # a miss runs no action, and continues at the base_default_next
        if len(targets) <= 1 and not (indirect and node.get("base_default_next") not in targets):
            after = next(iter(targets), node.get("base_default_next"))
            return [go(after), f"{table}.apply();"]
        lines = [f"switch ({table}.apply().action_run) {{"]
        seen = set()
        for action, number in zip(node["actions"], node["action_ids"], strict=True):
            if (name := self._action(number, self._metered(node))) not in seen:
                seen.add(name)
                lines.append(f"    {name}: {{ {go(following.get(action))} }}")
        if indirect:
            lines.append(f"    default: {{ {go(node.get('base_default_next'))} }}")
        return [*lines, "}"]

    def _profile(self, found: Json) -> str:
        """Return the declaration of an action profile or selector. The JSON lacks the width of a selector's hash."""
        kind = f"action_profile({found['max_size']})"
        if selector := found.get("selector"):
            if selector["algo"] not in ALGORITHMS:
                raise refusal(f"the algorithm {selector['algo']!r} is not supported", found, self._names.file)
            kind = f"action_selector(HashAlgorithm.{selector['algo']}, {found['max_size']}, 64)"
        return f'@name(".{found["name"]}") {kind} {identifier(found["name"])};'

    def _metered(self, table: Json) -> str:
        """Return the statement that each action of a table begins with: the table's meter is read at each hit."""
        if table["name"] not in self._meters:
            return ""
        meter = self._meters[table["name"]]
        return f"{identifier(meter['name'])}.read({self._names.field(meter['result_target']).text});"

    def _inlined(self, node: Json) -> list[str]:
        """Return the statements of a hidden table's only action."""
        action = self._actions[node["action_ids"][0]]
        given = node["default_entry"]["action_data"]
        data = [
            Value(f"{each['bitwidth']}w{int(value, 16)}", each["bitwidth"])
            for each, value in zip(action["runtime_data"], given, strict=True)
        ]
        return Statements(self._names, data).all(action["primitives"])

    def _action(self, number: int, first: str) -> str:
        """Return the name of an action in the P4 text, after declaring it. p4c repeats actions for each use.

        `first` is a statement before those of the action, or empty.
        """
        action = self._actions[number]
        same = json.dumps([action["name"], action["runtime_data"], action["primitives"], first], sort_keys=True)
        if same in self._declared:
            return self._declared[same]
        empty = not (action["primitives"] or action["runtime_data"] or first)
        if empty and action["name"] in ("NoAction", ".NoAction"):
            self._declared[same] = "NoAction"
            return "NoAction"
        # p4c specialises an action for tables that give it different arguments. It stays one action for controllers.
        variant = "@variant " if first or self._repeated[action["name"]] > 1 else ""
        name = self._declared[same] = f"action_{number}"
        data = [
            Value(f"p{at}_{identifier(each['name'])}", each["bitwidth"])
            for at, each in enumerate(action["runtime_data"])
        ]
        parameters = ", ".join(
            f'@name("{each["name"]}") bit<{each["bitwidth"]}> {value.text}'
            for each, value in zip(action["runtime_data"], data, strict=True)
        )
        body = " ".join([*([first] if first else []), *Statements(self._names, data).all(action["primitives"])])
        self._declarations.append(f'{variant}@name(".{action["name"]}") action {name}({parameters}) {{ {body} }}')
        return name

    def _table(self, node: Json) -> str:
        """Declare a table, and return its name in the P4 text."""
        if node["type"] not in ("simple", *INDIRECT):
            raise refusal(f"a table of type {node['type']!r} is not supported", node, self._names.file)
        name, first = f"table_{node['id']}", self._metered(node)
        profile = self._profiles[node["action_profile"]] if node["type"] in INDIRECT else None
        keys, kinds, code = [], [], Statements(self._names).code
        for each in node["key"]:
            target = each["target"]
            computed = isinstance(target, dict)
            is_valid = not computed and target[1] == "$valid$"
            value = code.exact(target) if computed else self._names.field(target)
            text = f"{self._names.header(target[0])}.isValid()" if is_valid else value.text
            if each.get("mask"):
                text = f"({text} & {value.width}w{int(each['mask'], 16)})"
            label = each.get("name") or ".".join(target)
            keys.append(f'{text} : {each["match_type"]} @name("{label}");')
            kinds.append(is_valid)
        if profile and "selector" in profile:
            keys += [f"{code.exact(each).text} : selector;" for each in profile["selector"]["input"]]
        actions = {self._action(each, first): self._actions[each]["name"] for each in node["action_ids"]}
        if len(set(actions.values())) < len(actions):
            raise refusal(f"table {node['name']} has several variants of an action", node, self._names.file)
        lines = [f'@name(".{node["name"]}") table {name} {{']
        if keys:
            lines.append(f"    key = {{ {' '.join(keys)} }}")
        lines.append("    actions = { " + " ".join(f"{each};" for each in actions) + " }")
        if default := node.get("default_entry"):
            const = "const " if default.get("action_const") else ""
            call = self._call(default["action_id"], default["action_data"], first)
            lines.append(f"    {const}default_action = {call};")
        lines.append(f"    size = {node['max_size']};")
        if node.get("support_timeout") is True:
            lines.append("    support_timeout = true;")
        for what, found in (("counters", self._counters), ("meters", self._meters)):
            if node["name"] in found:
                lines.append(f"    {what} = {identifier(found[node['name']]['name'])};")
        if profile:
            lines.append(f"    implementation = {identifier(profile['name'])};")
        if entries := node.get("entries"):
            lines.append("    const entries = {")
            for entry in sorted(entries, key=lambda each: int(each.get("priority", 0))):
                matched = [_keyset(key, kind) for key, kind in zip(entry["match_key"], kinds, strict=True)]
                action = entry["action_entry"]
                call = self._call(action["action_id"], action["action_data"], first)
                lines.append(f"        ({', '.join(matched)}) : {call};")
            lines.append("    }")
        self._declarations += [*lines, "}"]
        return name

    def _call(self, number: int, given: list[str], first: str) -> str:
        parameters = self._actions[number]["runtime_data"]
        values = [f"{each['bitwidth']}w{int(value, 16)}" for each, value in zip(parameters, given, strict=True)]
        return f"{self._action(number, first)}({', '.join(values)})"


def _keyset(key: Json, is_bool: bool) -> str:
    match key["match_type"]:
        case "exact" | "valid":
            value = key["key"]
            number = int(value, 16) if isinstance(value, str) else int(value)
            return ("true" if number else "false") if is_bool else str(number)
        case "lpm":
            value, length = key["key"], key["prefix_length"]
            width = 4 * (len(value) - 2)
            mask = (1 << width) - 1 ^ (1 << max(0, width - length)) - 1
            return f"{value} &&& {mask:#x}"
        case "ternary" | "optional":
            return "_" if not int(key["mask"], 16) else f"{key['key']} &&& {key['mask']}"
        case "range":
            return f"{key['start']} .. {key['end']}"
        case kind:
            raise refusal(f"an entry's key of type {kind!r} is not supported")
