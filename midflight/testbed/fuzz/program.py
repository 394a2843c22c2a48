"""Generated programs for v1model, with the entries of a control plane, and packets."""

from __future__ import annotations

from dataclasses import dataclass

from midflight.testbed.fuzz.draw import Draw
from midflight.testbed.fuzz.expressions import Expressions
from midflight.testbed.fuzz.packets import draw_packets
from midflight.testbed.fuzz.parsers import draw_parser
from midflight.testbed.fuzz.scope import Callee, Scope, Value
from midflight.testbed.fuzz.statements import GROUPS, SESSIONS, Objects, Statements
from midflight.testbed.fuzz.tables import Tables
from midflight.testbed.fuzz.tree import Tree, join
from midflight.testbed.fuzz.types import FIRST, SERIAL, Types, draw_types

__all__ = ["FEATURES", "Case", "draw_case"]

FEATURES = (
    "stacks", "unions", "varbit", "loops", "registers", "counters", "meters", "hash", "checksum", "multicast", "clone",
    "again", "truncate", "functions", "subs", "verify", "digests", "profiles", "value_sets", "direct",
)  # fmt: skip
"""What a program may have beside the rest. Each program has a part of them, so that they also occur alone."""

KINDS = (
    "bit<1>",
    "bit<4>",
    "bit<8>",
    "bit<8>",
    "bit<16>",
    "bit<32>",
    "bit<48>",
    "bit<64>",
    "int<8>",
    "int<16>",
    "bool",
)

NUMBERS = tuple(each for each in KINDS if each.startswith("bit<"))

PARAMETERS = "(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t std)"


@dataclass(frozen=True, slots=True)
class Case:
    """A program, the lines of simple_switch_CLI that fill its tables, and packets as pairs of port and bytes."""

    program: Tree
    commands: Tree
    packets: tuple[tuple[int, bytes], ...]


def draw_case(seed: int, packets: int = 40) -> Case:
    """Return the case that a seed determines, with `packets` packets. The same seed gives the same case in every
    process.
    """
    return _Program(Draw(seed)).case(packets)


class _Program:
    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._features = frozenset(each for each in FEATURES if draw.chance(0.45))
        if "again" in self._features:  # BMv2 sends the whole packet again after `truncate`
            self._features -= {"truncate"}
        if "multicast" in self._features:  # and whole replicas
            self._features -= {"truncate"}
        self._types = Types()
        self._functions: list[Callee] = []
        self._procedures: list[Callee] = []
        self._commands: list[Tree] = []

    def case(self, packets: int) -> Case:
        """Return the program with entries and packets."""
        draw = self._draw
        self._types = draw_types(draw, self._features)
        parts: list[str | Tree] = ["#include <core.p4>\n#include <v1model.p4>\n", *self._types.declarations]
        if "functions" in self._features:
            parts += [self._function() for _ in range(draw.between(1, 3))]
            parts += [self._procedure() for _ in range(draw.between(0, 2))]
        learned = [self._learned()] if "digests" in self._features else []  # BMv2 sends one digest a packet
        parts += [each for _, _, each in learned]
        parts.append(draw_parser(draw, self._types, self._features))
        parts.append(self._checksums("verify_it", verify=True))
        subs: list[Callee] = []
        if "subs" in self._features:
            made, sub = self._sub()
            parts.append(made)
            subs.append(sub)
        parts.append(self._control("ingress", subs, [(name, kinds) for name, kinds, _ in learned]))
        parts.append(self._control("egress", subs, []))
        parts.append(self._checksums("compute_it", verify=False))
        parts.append(self._deparser())
        parts.append("V1Switch(parse(), verify_it(), ingress(), egress(), compute_it(), deparse()) main;\n")
        commands = [*self._replication(), *self._commands]
        return Case(join(parts), join(commands), draw_packets(draw, self._types, packets))

    def _learned(self) -> tuple[str, tuple[str, ...], Tree]:
        """A struct for a digest: its name, the types of its fields, and its declaration."""
        draw, name = self._draw, self._draw.name("learned")
        kinds = tuple(draw.pick(NUMBERS) for _ in range(draw.between(1, 3)))
        fields = " ".join(f"{kind} d{at};" for at, kind in enumerate(kinds))
        return name, kinds, Tree("declaration", (f"struct {name} {{ {fields} }}\n",))

    # Functions

    def _function(self) -> Tree:
        """A function of its arguments alone, which expressions can call."""
        draw, name, result = self._draw, self._draw.name("f"), self._draw.pick(KINDS)
        parameters = [("in", draw.pick(KINDS)) for _ in range(draw.between(1, 3))]
        scope = Scope("function", [Value(f"x{at}", kind, writable=False) for at, (_, kind) in enumerate(parameters)])
        scope.functions = list(self._functions)
        objects = Objects(self._features)
        body = Statements(draw, scope, objects).body(draw.between(0, 3), 1)
        early: str | Tree = ""
        if draw.chance(0.3):
            expressions = Expressions(draw, scope)
            early = Tree(
                "statement", ("\nif (", expressions.of("bool", 2), ") { return ", expressions.of(result, 1), "; }")
            )
        value = Expressions(draw, scope).of(result, 2)
        text = ", ".join(f"in {kind} x{at}" for at, (_, kind) in enumerate(parameters))
        self._functions.append(Callee(name, result, tuple(parameters)))
        return Tree("declaration", (f"{result} {name}({text}) {{\n", body, early, "\nreturn ", value, ";\n}\n"))

    def _procedure(self) -> Tree:
        """A function that changes its arguments."""
        draw, name = self._draw, self._draw.name("f")
        parameters = [(draw.pick(("in", "inout", "out")), draw.pick(KINDS)) for _ in range(draw.between(1, 3))]
        scope, text, before = self._directed(parameters, "function")
        scope.functions = list(self._functions)
        scope.leave = "return"
        body = Statements(draw, scope, Objects(self._features)).body(draw.between(1, 4), 1)
        self._procedures.append(Callee(name, "", tuple(parameters)))
        return Tree("declaration", (f"void {name}({text}) {{\n{before}", body, "\n}\n"))

    @staticmethod
    def _directed(parameters: list[tuple[str, str]], place: str) -> tuple[Scope, str, str]:
        """Return the scope of parameters, their text, and statements that assign those of direction `out`."""
        values = [Value(f"x{at}", kind, writable=way in ("out", "inout")) for at, (way, kind) in enumerate(parameters)]
        text = ", ".join(f"{way} {kind} x{at}".strip() for at, (way, kind) in enumerate(parameters))
        outs = [(at, kind) for at, (way, kind) in enumerate(parameters) if way == "out"]
        before = "".join(f"x{at} = {'false' if kind == 'bool' else '0'};\n" for at, kind in outs)
        return Scope(place, values), text, before

    # Controls

    def _std(self, place: str) -> list[Value]:
        """Return the fields of the standard metadata that say the same on every switch."""
        names = {"std.ingress_port": "bit<9>", "std.packet_length": "bit<32>", "std.instance_type": "bit<32>"}
        if place == "ingress":
            names["std.checksum_error"] = "bit<1>"
        else:
            names |= {"std.egress_port": "bit<9>", "std.egress_rid": "bit<16>"}
        return [Value(path, kind, writable=False) for path, kind in names.items()]

    def _scope(self, place: str) -> Scope:
        values = [each for each in self._types.values if each.kind != "inner_t"] + self._std(place)
        scope = Scope(place, values, list(self._types.headers), [FIRST])
        scope.functions, scope.procedures = list(self._functions), list(self._procedures)
        return scope

    def _control(self, name: str, subs: list[Callee], learned: list[tuple[str, tuple[str, ...]]]) -> Tree:
        draw, types = self._draw, self._types
        objects = Objects(self._features, stacks=types.stacks, digests=learned)
        parts: list[str | Tree] = [f"control {name}{PARAMETERS} {{\n"]
        for each in subs:
            called = draw.name("sub")
            parts.append(f"sub() {called};\n")
            objects.subs.append(Callee(called, "", each.parameters, each.spoils))
        self._externs(name, objects, parts)
        scope = self._scope(name)
        for _ in range(draw.between(0, 3)):
            kind, variable = draw.pick(KINDS), draw.name("v")
            start = draw.literal(kind)
            parts.append(Tree("declaration", (f"{kind} {variable} = ", start, ";\n")))
            scope.values.append(Value(variable, kind))
        actions: list[Callee] = []
        for _ in range(draw.between(1, 5)):
            made, action = self._action(name, scope, objects)
            parts.append(made)
            actions.append(action)
        tables = Tables(draw, name, self._features)
        plain = Scope(name, list(scope.values), scope.headers, [FIRST], functions=scope.functions)
        made_tables = [tables.table(plain, actions) for _ in range(draw.between(0, 4))]
        objects.tables += [known for _, known in made_tables]
        scope.actions = actions
        scope.leave = draw.pick(("return", "exit"))
        body = Statements(draw, scope, objects).body(draw.between(4, 14), 3)
        for table, known in made_tables:
            if known not in objects.tables:  # p4c removes tables that are not applied
                parts.append(table)
                self._commands += tables.commands.get(known.name, [])
        guard = f"if (!{FIRST}.isValid()) {{ {'mark_to_drop(std); ' if name == 'ingress' else ''}return; }}\n"
        return Tree("", (*parts, "apply {\n", guard, body, "\n}\n}\n"))

    def _externs(self, name: str, objects: Objects, parts: list[str | Tree]) -> None:
        draw = self._draw
        if "registers" in self._features and name == "ingress":
            for _ in range(draw.between(1, 2)):
                kind, register = draw.pick(NUMBERS), draw.name("r")
                parts.append(Tree("declaration", (f"register<{kind}>(16) {register};\n",)))
                objects.registers.append((register, kind))
        if "counters" in self._features:
            counter, kind = draw.name("c"), draw.pick(("packets", "bytes", "packets_and_bytes"))
            parts.append(Tree("declaration", (f"counter(16, CounterType.{kind}) {counter};\n",)))
            objects.counters.append(counter)
        if "meters" in self._features:
            meter, kind = draw.name("m"), draw.pick(("packets", "bytes"))
            parts.append(Tree("declaration", (f"meter(16, MeterType.{kind}) {meter};\n",)))
            objects.meters.append((meter, draw.pick(("bit<8>", "bit<32>", "bit<16>"))))

    def _action(self, control: str, outer: Scope, objects: Objects) -> tuple[Tree, Callee]:
        draw, name = self._draw, self._draw.name("a")
        directed = [(draw.pick(("in", "inout", "out", "inout")), draw.pick(KINDS)) for _ in range(draw.between(0, 2))]
        parameters = [*directed, *(("", draw.pick(NUMBERS)) for _ in range(draw.between(0, 2)))]
        scope, text, before = self._directed(parameters, "action")
        scope.values += outer.values
        scope.headers, scope.valid = outer.headers, [FIRST]
        scope.functions, scope.procedures = outer.functions, outer.procedures
        if not directed:
            scope.leave = draw.pick(("return", "exit"))  # with parameters, p4c loses their values on `exit`
        inner = Objects(objects.features, [], list(objects.counters), list(objects.meters))
        inner.registers = list(objects.registers) if control == "ingress" else []
        body = Statements(draw, scope, inner).body(draw.between(1, 4), 1)
        extra = ""
        if control == "ingress" and draw.chance(0.5):
            ports = [f"x{at}" for at, (way, kind) in enumerate(parameters) if not way and kind == "bit<8>"]
            port = f"(bit<9>)({draw.pick(ports)} & 7)" if ports else str(draw.between(1, 7))
            extra = f"\nstd.egress_spec = {port};"
        made = Tree("declaration", (f"action {name}({text}) {{\n{before}", body, Tree("statement", (extra,)), "\n}\n"))
        return made, Callee(name, "", tuple(parameters), frozenset(scope.spoiled))

    def _sub(self) -> tuple[Tree, Callee]:
        """A control that other controls apply."""
        draw = self._draw
        parameters = [(draw.pick(("in", "inout", "out")), draw.pick(KINDS)) for _ in range(draw.between(0, 2))]
        scope, text, before = self._directed(parameters, "sub")
        outer = self._scope("sub")
        scope.values += [each for each in outer.values if not each.path.startswith("std.")]
        scope.headers, scope.valid = outer.headers, [FIRST]
        scope.functions, scope.procedures = outer.functions, outer.procedures
        scope.leave = "return"
        body = Statements(draw, scope, Objects(self._features)).body(draw.between(1, 6), 2)
        more = f", {text}" if text else ""
        head = f"control sub(inout headers_t hdr, inout metadata_t meta{more}) {{\napply {{\n{before}"
        return Tree("", (head, body, "\n}\n}\n")), Callee("sub", "", tuple(parameters), frozenset(scope.spoiled))

    # Around the controls

    def _checksums(self, name: str, *, verify: bool) -> Tree:
        body: str | Tree = ""
        if "checksum" in self._features:
            data = [f"{FIRST}.{field}" for field, kind in self._types.first if field != "check" and kind != SERIAL]
            call = "verify_checksum" if verify else "update_checksum"
            condition = f"{FIRST}.isValid()"
            if self._draw.chance(0.3):
                condition += f" && {FIRST}.tag < 8w{self._draw.between(1, 255)}"
            algorithm = self._draw.pick(("csum16", "csum16", "crc16", "xor16"))
            listed = ", ".join(data)
            statement = f"{call}({condition}, {{ {listed} }}, {FIRST}.check, HashAlgorithm.{algorithm});"
            if not verify or "verify" in self._features:
                body = Tree("statement", (statement,))
        return Tree("", (f"control {name}(inout headers_t hdr, inout metadata_t meta) {{ apply {{ ", body, " } }\n"))

    def _deparser(self) -> Tree:
        emits = [f"packet.emit({path});" for path in self._types.order]
        if self._draw.chance(0.3):
            emits = ["packet.emit(hdr);"]
        listed = join([Tree("statement", (each,)) for each in emits], between=" ")
        return Tree("", ("control deparse(packet_out packet, in headers_t hdr) { apply { ", listed, " } }\n"))

    def _replication(self) -> list[Tree]:
        draw, found = self._draw, list[Tree]()
        if "multicast" in self._features:
            lines = ""
            for node, group in enumerate(GROUPS):
                ports = " ".join(str(each) for each in range(1, 8) if draw.chance(0.4)) or "1"
                lines += f"mc_mgrp_create {group}\nmc_node_create {draw.between(0, 3)} {ports}\n"
                lines += f"mc_node_associate {group} {node}\n"
            found.append(Tree("statement", (lines,)))
        if "clone" in self._features:
            found += [Tree("statement", (f"mirroring_add {each} {draw.between(1, 7)}\n",)) for each in SESSIONS]
        return found
