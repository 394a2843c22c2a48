"""Generated tables with their entries, and the entries of the control plane."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from midflight.testbed.fuzz.draw import Draw, width_of
from midflight.testbed.fuzz.expressions import Expressions
from midflight.testbed.fuzz.scope import Callee, Scope
from midflight.testbed.fuzz.statements import TableAt
from midflight.testbed.fuzz.tree import Tree, join

__all__ = ["Tables"]

KINDS = ("exact", "exact", "ternary", "lpm", "range", "optional")

RANGE_WIDTHS = range(1, 32)
"""The widths of range keys: for wider ones, p4c makes `_` an empty range."""


@dataclass(frozen=True, slots=True)
class Profile:
    """An action profile or selector of one table: its name, its constructor, and the values that a selector hashes."""

    name: str
    kind: str
    selecting: list[str]


@dataclass(slots=True)
class Tables:
    """Generates tables of one control. `commands` are the lines of simple_switch_CLI that fill them, by table."""

    draw: Draw
    control: str
    features: Collection[str] = ()
    commands: dict[str, list[Tree]] = field(default_factory=dict)

    def table(self, scope: Scope, actions: list[Callee]) -> tuple[Tree, TableAt]:
        """Return the declaration of a new table with keys that `scope` can read, and what controls need to apply it.

        Its actions are some of `actions`. Unless the table has `const` entries, entries for it are added to `commands`.
        """
        draw = self.draw
        name = draw.name("t")
        keys = self._keys(scope)
        refs: list[tuple[Callee, str]] = []
        for each in draw.some(actions, 3):
            directed = [direction for direction, _ in each.parameters if direction]
            part = Callee(each.name, "", tuple(pair for pair in each.parameters if pair[0]), each.spoils)
            arguments = Expressions(draw, scope).arguments(part, 0)
            if arguments is None:
                continue
            refs.append((each, f"{each.name}({arguments})" if directed else each.name))
        profile = self._profile(name, scope) if keys and "profiles" in self.features and draw.chance(0.4) else None
        counted = bool(keys) and "direct" in self.features and draw.chance(0.6)
        parts: list[str | Tree] = []
        if profile:
            parts.append(Tree("declaration", (f"{profile.kind} {profile.name};\n",)))
        if counted:
            kind = draw.pick(("packets", "bytes", "packets_and_bytes"))
            parts.append(Tree("declaration", (f"direct_counter(CounterType.{kind}) {name}_c;\n",)))
        parts.append(f"table {name} {{\n")
        if keys:
            selecting = profile.selecting if profile else []
            matching = [Tree("", (text, f" : {kind}{note}; ")) for text, kind, _, note in keys]
            parts.append(join(["key = { ", *matching, *(f"{each} : selector; " for each in selecting), "}\n"]))
        parts.append(join(["actions = { ", *(Tree("case", (f"{text}; ",)) for _, text in refs), "NoAction; }\n"]))
        if counted:
            parts.append(f"counters = {name}_c;\n")
        if profile:
            parts.append(f"implementation = {profile.name};\nsize = 64;\n")
            self._entries(name, keys, refs, profile)
        elif refs and draw.chance(0.5):
            callee, text = draw.pick(refs)
            parts.append(Tree("case", (f"default_action = {self._call(callee, text)};\n",)))
        else:
            parts.append("default_action = NoAction();\n")
        if profile:
            pass
        elif keys and not counted and draw.chance(0.4):
            parts.append(self._const_entries(keys, refs))
        elif keys:
            parts.append("size = 64;\n")
            self._entries(name, keys, refs)
        parts.append("}\n")
        spoils = frozenset[str]().union(*(callee.spoils for callee, _ in refs))
        named = () if profile else tuple(callee.name for callee, _ in refs)  # BMv2 skips a `default` after a miss
        return Tree("declaration", tuple(parts)), TableAt(name, named, spoils)

    def _profile(self, table: str, scope: Scope) -> Profile:
        """Return an action profile or selector for a table."""
        draw = self.draw
        name = f"{table}_p"
        if draw.chance(0.5):
            return Profile(name, "action_profile(64)", [])
        values = [each.path for each in scope.readable() if each.kind.startswith("bit<")]
        kind = f"action_selector(HashAlgorithm.{draw.pick(('crc16', 'crc32'))}, 64, 16)"
        return Profile(name, f"@max_group_size(16) {kind}", [draw.pick(values) for _ in range(draw.between(1, 3))])

    def _filled(self, table: str, refs: list[tuple[Callee, str]], profile: Profile) -> list[str]:
        """Fill a profile, and return the handles of its members and groups, as the end of an entry's line."""
        draw, lines = self.draw, list[str]()
        name, members, groups = f"{self.control}.{profile.name}", draw.between(1, 4), 0
        for _ in range(members):
            callee, _ = draw.pick([*refs, (None, "")])
            data = [] if callee is None else [str(value) for _, value in self._arguments(callee)]
            action = "NoAction" if callee is None else f"{self.control}.{callee.name}"
            lines.append(" ".join(["act_prof_create_member", name, action, *data]))
        if profile.selecting:
            groups = draw.between(0, 2)
        for group in range(groups):
            lines.append(f"act_prof_create_group {name}")
            listed = draw.some(range(members), members) or [0]
            lines += [f"act_prof_add_member_to_group {name} {each} {group}" for each in listed]
        made = self.commands.setdefault(table, [])
        made += [Tree("statement", (f"{each}\n",)) for each in lines]
        return [*(f"_add {each}" for each in range(members)), *(f"_add_with_group {each}" for each in range(groups))]

    def _keys(self, scope: Scope) -> list[tuple[Tree, str, str, str]]:
        """Return keys as expression, match kind, type and annotation."""
        draw, found = self.draw, list[tuple[Tree, str, str, str]]()
        choices = [each for each in scope.readable() if each.kind == "bool" or each.kind.startswith("bit<")]
        for number in range(draw.between(0, 3)):
            kind = draw.pick(KINDS)
            value = draw.pick(choices)
            of, text, note = value.kind, Tree("", (value.path,)), ""
            if draw.chance(0.2) and of != "bool":
                text, note = Expressions(draw, scope).of(of, 2), f' @name("k{number}")'
            elif draw.chance(0.15) and scope.headers:
                of, text = "bool", Tree("", (f"{draw.pick(scope.headers).path}.isValid()",))
            if not note and any(str(other) == str(text) for other, *_ in found):
                note = f' @name("k{number}")'
            width = 1 if of == "bool" else width_of(of)
            if (
                (of == "bool" and kind not in ("exact", "optional"))
                or (kind == "lpm" and (width % 8 or any(other == "lpm" for _, other, *_ in found)))
                or (kind == "range" and width not in RANGE_WIDTHS)
                or (kind == "optional" and of == "bool")
            ):
                kind = "exact"
            found.append((text, kind, of, note))
        return found

    def _arguments(self, callee: Callee) -> list[tuple[str, int]]:
        """Return drawn action data, as pairs of type and value."""
        return [
            (kind, self.draw.value(1 if kind == "bool" else width_of(kind)))
            for direction, kind in callee.parameters
            if not direction
        ]

    def _call(self, callee: Callee | None, text: str) -> str:
        """Return a reference to an action as a call, with all arguments."""
        if callee is None:
            return "NoAction()"
        data = ", ".join(_typed(kind, value) for kind, value in self._arguments(callee))
        if not text.endswith(")"):
            return f"{text}({data})"
        return text if not data else f"{text[:-1]}, {data})"

    def _const_entries(self, keys: list[tuple[Tree, str, str, str]], refs: list[tuple[Callee, str]]) -> Tree:
        found: list[str | Tree] = []
        seen: list[str] = []
        for _ in range(self.draw.between(1, 5)):
            texts = []
            for _, kind, of, _ in keys:
                value, other, prefix = self._match(kind, of)
                width = 1 if of == "bool" else width_of(of)
                if kind == "exact":
                    texts.append(_typed(of, value or 0))
                elif value is None:
                    texts.append("_")
                elif kind == "ternary":
                    texts.append(f"{width}w{value} &&& {width}w{other}")
                elif kind == "lpm":
                    mask = ((1 << prefix) - 1) << (width - prefix)
                    texts.append(f"{width}w{value} &&& {width}w{mask}")
                elif kind == "range":
                    texts.append(f"{width}w{value} .. {width}w{other}")
                else:
                    texts.append(f"{width}w{value}")
            key = ", ".join(texts)
            if key in seen:
                continue
            seen.append(key)
            callee, text = self.draw.pick([*refs, (None, "")])
            found.append(Tree("case", (f"({key}) : {self._call(callee, text)};\n",)))
        return Tree("case", (join(["const entries = {\n", *found, "}\n"]),))

    def _entries(
        self,
        table: str,
        keys: list[tuple[Tree, str, str, str]],
        refs: list[tuple[Callee, str]],
        profile: Profile | None = None,
    ) -> None:
        choices = self._filled(table, refs, profile) if profile else []
        ranked = any(kind in ("ternary", "range", "optional") for _, kind, *_ in keys)
        seen: list[str] = []
        for rank in range(1, self.draw.between(1, 8)):
            texts = []
            for _, kind, of, _ in keys:
                value, other, prefix = self._match(kind, of)
                width = 1 if of == "bool" else width_of(of)
                if kind == "exact":
                    texts.append(str(value))
                elif kind == "ternary":
                    texts.append("0&&&0" if value is None else f"{value}&&&{other}")
                elif kind == "lpm":
                    texts.append("0/0" if value is None else f"{value}/{prefix}")
                elif kind == "range":
                    texts.append(f"0->{(1 << width) - 1}" if value is None else f"{value}->{other}")
                else:
                    texts.append(str(value or 0))  # the commands have no "any" for optional keys
            key = " ".join(texts)
            if key in seen:
                continue
            seen.append(key)
            end = [str(rank)] if ranked else []
            if choices:
                how, _, handle = self.draw.pick(choices).partition(" ")
                line = " ".join([f"table_indirect{how} {self.control}.{table}", key, "=>", handle, *end])
            else:
                callee, _ = self.draw.pick([*refs, (None, "")])
                data = [] if callee is None else [str(value) for _, value in self._arguments(callee)]
                action = "NoAction" if callee is None else f"{self.control}.{callee.name}"
                line = " ".join([f"table_add {self.control}.{table} {action}", key, "=>", *data, *end])
            self.commands.setdefault(table, []).append(Tree("statement", (line + "\n",)))

    def _match(self, kind: str, of: str) -> tuple[int | None, int, int]:
        """Return a value to match, or None for any, with a mask or upper end, and a prefix length."""
        draw, width = self.draw, 1 if of == "bool" else width_of(of)
        value = draw.value(width)
        match kind:
            case "ternary":
                mask = draw.value(width) if draw.chance(0.7) else (1 << width) - 1
                return (value & mask, mask, 0) if mask else (None, 0, 0)
            case "lpm":
                prefix = draw.between(0, width // 8) * 8 if draw.chance(0.5) else draw.between(1, width)
                return (value >> (width - prefix) << (width - prefix), 0, prefix) if prefix else (None, 0, 0)
            case "range":
                other = draw.value(width)
                low, high = min(value, other), max(value, other)
                return (low, high, 0) if (low, high) != (0, (1 << width) - 1) else (None, 0, 0)
            case "optional":
                return (None, 0, 0) if draw.chance(0.3) else (value, 0, 0)
            case _:
                return value, 0, 0


def _typed(kind: str, value: int) -> str:
    if kind == "bool":
        return "true" if value else "false"
    return f"{width_of(kind)}w{value}"
