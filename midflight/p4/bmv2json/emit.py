"""P4_16 source for BMv2's JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from midflight.errors import P4Error, Place
from midflight.p4.bmv2json.flow import pipeline
from midflight.p4.bmv2json.names import Json, Names, identifier, refusal
from midflight.p4.bmv2json.statements import Statements

__all__ = ["is_bmv2_json", "to_p4"]

LISTS = (
    "header_stacks", "header_unions", "header_union_stacks", "header_union_types", "calculations", "learn_lists",
    "errors", "checksums", "meter_arrays", "counter_arrays", "register_arrays", "field_lists",
)  # fmt: skip
"""The parts that a file may lack."""

CORE_ERRORS = (
    "NoError", "PacketTooShort", "NoMatch", "StackOutOfBounds", "HeaderTooShort", "ParserTimeout",
    "ParserInvalidArgument",
)  # fmt: skip


def is_bmv2_json(text: str) -> bool:
    """Return whether a program's text is BMv2's JSON rather than P4 source: whether it begins with a brace."""
    return text.lstrip().startswith("{")


def _too_deep(text: str, file: str) -> P4Error:
    """Return the error for JSON that Python cannot read, at the place where most brackets are open."""
    level = deepest = at = 0
    for token in re.finditer(r'"(?:[^"\\]|\\.)*"|[][{}]', text):
        level += (token[0] in "[{") - (token[0] in "]}")
        if level > deepest:
            deepest, at = level, token.start()
    line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
    hint = "divide long expressions into several statements, and compile the program again"
    return P4Error(f"the JSON is nested too deeply: {deepest} levels", place=Place(file, line, column), hint=hint)


def to_p4(text: str, file: str) -> str:
    """Return P4_16 source with the same behaviour and control-plane names.

    Raises P4Error, with a place in `file`, for a text that is not BMv2's JSON; and, with the place in the P4 source if
    the JSON has it, for something that is not supported.
    """
    start = Place(file, 1, 1)
    try:
        root = json.loads(text)
    except json.JSONDecodeError as error:
        raise P4Error(f"not JSON: {error.msg}", place=Place(file, error.lineno, error.colno)) from None
    except ValueError as error:  # a number with too many digits
        raise P4Error(f"not JSON: {error}", place=start) from None
    except RecursionError:
        raise _too_deep(text, file) from None
    needed = ("header_types", "headers", "parsers", "deparsers", "pipelines", "actions")
    if not isinstance(root, dict) or any(each not in root for each in needed):
        raise P4Error("not BMv2's JSON, which p4c writes for simple_switch", place=start)
    try:
        return "\n".join(_Program(root, file).lines()) + "\n"
    except RecursionError:
        raise _too_deep(text, file) from None
    except KeyError as error:
        raise P4Error(f"this JSON does not have the form that p4c writes: {error} is missing", place=start) from None
    except (AttributeError, IndexError, TypeError, ValueError):
        hint = "compile the program again with p4c-bm2-ss"
        raise P4Error("this JSON does not have the form that p4c writes", place=start, hint=hint) from None


class _Program:
    def __init__(self, root: Json, file: str) -> None:
        for each in LISTS:
            root.setdefault(each, [])
        self._root = root
        self._names = Names(root, file)

    def lines(self) -> Iterator[str]:
        """Yield the text."""
        yield "#include <core.p4>"
        yield "#define V1MODEL_VERSION 20180101"
        yield "#include <v1model.p4>"
        own = [name for name in self._names.errors.values() if name not in CORE_ERRORS]
        if own:
            yield f"error {{ {', '.join(own)} }}"
        yield from self._types()
        for each in self._root["learn_lists"]:
            code = Statements(self._names).code
            values = [code.exact(element) for element in each["elements"]]
            fields = " ".join(
                f"{'int' if value.signed else 'bit'}<{value.width}> f{at};" for at, value in enumerate(values)
            )
            yield f"struct {identifier(each['name'])} {{ {fields} }}"
        yield from self._parser()
        state = list(self._state())
        by_name = {each["name"]: each for each in self._root["pipelines"]}
        yield from self._checksums("Verify", verify=True)
        controls = [self._control(by_name[name], state) for name in ("ingress", "egress")]
        used = [{name for name, _, _ in state if any(f"{name}." in line for line in lines)} for _, lines in controls]
        shared = used[0] & used[1]
        used[0] |= {name for name, _, table in state if table is None and name not in used[1]}  # P4Info may have them
        yield from (declaration for name, declaration, _ in state if name in shared)
        for name, (direct, lines), own_state in zip(("ingress", "egress"), controls, used, strict=True):
            yield f"control {name}_(inout headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard) {{"
            for extern, declaration, _ in state:
                if extern in direct or extern in own_state - shared:
                    yield f"    {declaration}"
            yield from lines
        yield from self._checksums("Compute", verify=False)
        deparser = self._root["deparsers"][0]
        yield "control Deparse_(packet_out packet, in headers_t hdr) { apply {"
        if deparser.get("primitives"):
            raise refusal("statements in a deparser of BMv2's JSON are not supported yet", deparser, self._names.file)
        for name in deparser["order"]:
            yield f"    packet.emit({self._names.header(name)});"
        yield "} }"
        yield "V1Switch(Parse_(), Verify_(), ingress_(), egress_(), Compute_(), Deparse_()) main;"

    def _types(self) -> Iterator[str]:
        names = self._names
        used = {each["header_type"] for each in names.root["headers"] if not each["metadata"]}
        for name in names.types:
            if name in used:
                yield f"header {identifier(name)}_h {{ {self._fields(names.types[name])} }}"
        for union in names.union_types.values():
            members = " ".join(f"{identifier(of)}_h {identifier(member)};" for member, of in union["headers"])
            yield f"header_union {identifier(union['name'])}_u {{ {members} }}"
        yield "struct headers_t {"
        for each in names.root["header_unions"]:
            if not names.is_stacked(each):
                yield f"    {identifier(each['union_type'])}_u {identifier(each['name'])};"
        for each in names.root["header_union_stacks"]:
            size = len(each["header_union_ids"])
            yield f"    {identifier(each['union_type'])}_u[{size}] {identifier(each['name'])};"
        for each in names.root["headers"]:
            if not each["metadata"] and not names.is_element(each["name"]):
                yield f"    {identifier(each['header_type'])}_h {identifier(each['name'])};"
        for each in names.root["header_stacks"]:
            yield f"    {identifier(each['header_type'])}_h[{len(each['header_ids'])}] {identifier(each['name'])};"
        yield "}"
        kept: dict[tuple[str, str], list[int]] = {}
        for each in names.root["field_lists"]:
            for element in each["elements"]:
                if element["type"] == "field":
                    kept.setdefault((element["value"][0], element["value"][1]), []).append(each["id"])
        yield "struct metadata_t {"
        for header in names.root["headers"]:
            if header["metadata"] and header["name"] != "standard_metadata":
                if header["header_type"] not in names.types:
                    continue  # a header union, which has no fields of its own
                for field in names.types[header["header_type"]]["fields"]:
                    lists = kept.get((header["name"], field[0]))
                    note = f"@field_list({', '.join(f'8w{each}' for each in lists)}) " if lists else ""
                    sign = "int" if len(field) > 2 and field[2] else "bit"
                    spelled = f"varbit<{self._varbit(field)}>" if field[1] == "*" else f"{sign}<{field[1]}>"
                    yield f"    {note}{spelled} {identifier(header['name'])}_{identifier(field[0])};"
        yield "}"

    def _varbit(self, field: list[object]) -> int:
        """Return the width of a varbit outside of headers. The JSON does not have it, but the varbits in headers have.

        P4Error unless these have exactly one width.
        """
        widths: set[int] = {
            int(each["max_length"]) * 8 - sum(part[1] for part in each["fields"] if part[1] != "*")
            for each in self._names.types.values()
            if "max_length" in each and any(part[1] == "*" for part in each["fields"])
        }
        if len(widths) != 1:
            raise refusal(f"the width of the varbit {field[0]} is unknown")
        return max(widths)

    def _fields(self, kind: Json) -> str:
        fixed = sum(each[1] for each in kind["fields"] if each[1] != "*")
        texts = []
        for each in kind["fields"]:
            if each[1] == "*":
                texts.append(f"varbit<{int(kind['max_length']) * 8 - fixed}> {identifier(each[0])};")
            else:
                signed = len(each) > 2 and each[2]
                texts.append(f"{'int' if signed else 'bit'}<{each[1]}> {identifier(each[0])};")
        return " ".join(texts)

    def _parser(self) -> Iterator[str]:
        found = self._root["parsers"][0]
        yield "parser Parse_("
        yield "    packet_in packet, out headers_t hdr, inout metadata_t meta, inout standard_metadata_t standard"
        yield ") {"
        yield from self._value_sets(found)
        if found["init_state"] != "start":
            yield f"    state start {{ transition {identifier(found['init_state'])}_s; }}"
        for state in found["parse_states"]:
            name = "start" if state["name"] == "start" else f"{identifier(state['name'])}_s"
            yield f"    state {name} {{"
            for line in Statements(self._names).all(state["parser_ops"]):
                yield f"        {line}"
            yield f"        {self._transition(state)}"
            yield "    }"
        yield "}"

    def _value_sets(self, parser: Json) -> Iterator[str]:
        """Yield the declarations of value sets, with the fields of a `select`: the JSON has only their width."""
        sizes = {each["name"]: each["max_size"] for each in self._root.get("parse_vsets", [])}
        code = Statements(self._names).code
        for state in parser["parse_states"]:
            for each in state["transitions"]:
                if each["type"] == "parse_vset" and each["value"] in sizes:
                    keys = [code.exact(key) for key in state["transition_key"]]
                    kinds = ", ".join(f"{'int' if key.signed else 'bit'}<{key.width}>" for key in keys)
                    name, size = each["value"], sizes.pop(each["value"])
                    yield f'    @name(".{name}") value_set<tuple<{kinds}>>({size}) {identifier(name)};'

    def _transition(self, state: Json) -> str:
        code = Statements(self._names).code
        keys = [code.exact(each) for each in state["transition_key"]]
        cases = []
        for each in state["transitions"]:
            following = "accept" if each["next_state"] is None else f"{identifier(each['next_state'])}_s"
            following = "start" if each["next_state"] == "start" else following
            if each["type"] == "default":
                if not keys:
                    return f"transition {following};"
                cases.append(f"default: {following};")
                continue
            if each["type"] == "parse_vset":
                cases.append(f"{identifier(each['value'])}: {following};")
                continue
            if each["type"] != "hexstr":
                raise refusal(f"a transition of type {each['type']!r} is not supported", state, self._names.file)
            value = int(each["value"], 16)
            mask = -1 if each["mask"] is None else int(each["mask"], 16)
            parts = []
            for key in reversed(keys):
                ones, padded = (1 << key.width) - 1, (key.width + 7) // 8 * 8
                number, bits = value & ones, mask & ones
                parts.append("_" if not bits else str(number) if bits == ones else f"{number} &&& {bits}")
                value, mask = value >> padded, mask >> padded
            cases.append(f"({', '.join(reversed(parts))}): {following};")
        if not keys:
            return "transition accept;"
        return f"transition select({', '.join(each.text for each in keys)}) {{ {' '.join(cases)} }}"

    def _state(self) -> Iterator[tuple[str, str, str | None]]:
        """Yield the externs as (name, declaration, table of a direct counter or meter)."""
        for each in self._root["counter_arrays"]:
            name = identifier(each["name"])
            kind = "direct_counter(CounterType.packets_and_bytes)"
            if not each["is_direct"]:
                kind = f"counter({each['size']}, CounterType.packets_and_bytes)"
            yield name, f'@name(".{each["name"]}") {kind} {name};', each["binding"] if each["is_direct"] else None
        for each in self._root["register_arrays"]:
            name = identifier(each["name"])
            kind = f"register<bit<{each['bitwidth']}>>({each['size']})"
            yield name, f'@name(".{each["name"]}") {kind} {name};', None
        for each in self._root["meter_arrays"]:
            name = identifier(each["name"])
            kind = f"meter({each['size']}, MeterType.{each['type']})"
            if each["is_direct"]:
                width = self._names.field(each["result_target"]).width
                kind = f"direct_meter<bit<{width}>>(MeterType.{each['type']})"
            yield name, f'@name(".{each["name"]}") {kind} {name};', each["binding"] if each["is_direct"] else None

    def _control(self, found: Json, state: list[tuple[str, str, str | None]]) -> tuple[set[str], list[str]]:
        """Return the direct counters and meters of a control, and its text after the declarations of externs."""
        tables = {each["name"] for each in found["tables"]}
        declarations, body = pipeline(self._names, found)
        lines = [*(f"    {each}" for each in declarations), "    apply {", *(f"        {each}" for each in body)]
        return {name for name, _, table in state if table in tables}, [*lines, "    }", "}"]

    def _checksums(self, name: str, *, verify: bool) -> Iterator[str]:
        statements = Statements(self._names)
        yield f"control {name}_(inout headers_t hdr, inout metadata_t meta) {{ apply {{"
        for each in self._root["checksums"]:
            if each["verify" if verify else "update"]:
                condition = statements.code.boolean(each["if_cond"]) if each.get("if_cond") else "true"
                values, algorithm, payload = statements.inputs(each["calculation"], each)
                target = self._names.field(each["target"]).text
                call = f"{'verify' if verify else 'update'}_checksum{'_with_payload' if payload else ''}"
                yield f"    {call}({condition}, {values}, {target}, {algorithm});"
        yield "} }"
