"""Primitives of actions and of parser states."""

from __future__ import annotations

from midflight.p4.bmv2json.expressions import Expressions
from midflight.p4.bmv2json.names import Json, Names, Value, identifier, refusal

__all__ = ["ALGORITHMS", "Statements"]

JUMPS = ("_jump", "_jump_if_zero")

ALGORITHMS = ("csum16", "crc16", "crc32", "identity", "xor16", "crc16_custom", "crc32_custom")


class Statements:
    """Translates primitives, the statements of BMv2's JSON, to P4 text.

    `data` are the P4 expressions for the parameters of the action around them, by index; None for no action.
    """

    def __init__(self, names: Names, data: list[Value] | None = None) -> None:
        self.code = Expressions(names, data)
        self._names = names
        self._calculations: dict[str, Json] = {each["name"]: each for each in names.root["calculations"]}

    def all(self, primitives: list[Json]) -> list[str]:
        """Return the P4 statements for a list of primitives. P4Error, with its place, for a primitive that is not
        supported.
        """
        targets = {int(each["parameters"][-1]["value"], 16) for each in primitives if each["op"] in JUMPS}
        if not targets:
            return [self._one(each) for each in primitives]
        # Each block that jumps may skip runs only if no jump leads beyond it. A jump back begins another round.
        size = len(primitives)
        lines = [f"for (bit<32> resume = 0; resume < {size};) {{", "if (resume == 0) {"]
        for at, each in enumerate(primitives):
            if at in targets or (at and primitives[at - 1]["op"] in JUMPS):
                lines += ["}", f"if (resume <= {at}) {{"]
            lines.append(self._jump(each, at) if each["op"] in JUMPS else self._one(each))
        return [*lines, "}", f"resume = {size};", "}"]

    def _jump(self, node: Json, at: int) -> str:
        target = int(node["parameters"][-1]["value"], 16)
        jump = f"resume = {target};" if target > at else f"resume = {target}; continue;"
        if node["op"] == "_jump":
            return jump
        return f"if (!{self.code.boolean(node['parameters'][0])}) {{ {jump} }}"

    def inputs(self, calculation: str, node: Json) -> tuple[str, str, bool]:
        """Return the inputs of a checksum or hash calculation, by its name, as P4 text; its algorithm; whether the
        payload counts.

        `node` gives errors their place. P4Error for an algorithm that is not supported.
        """
        found = self._calculations[calculation]
        if found["algo"] not in ALGORITHMS:
            raise refusal(f"the algorithm {found['algo']!r} is not supported", node, self._names.file)
        values, payload = [], False
        for each in found["input"]:
            if each["type"] == "payload":
                payload = True
            elif each["type"] == "hexstr":
                values.append(f"{each['bitwidth']}w{int(each['value'], 16)}")
            elif each["type"] == "header":
                kind = self._names.headers[each["value"]]["header_type"]
                for field in self._names.types[kind]["fields"]:
                    values.append(self._names.field([each["value"], field[0]]).text)
            else:
                values.append(self.code.exact(each).text)
        return "{ " + ", ".join(values) + " }", f"HashAlgorithm.{found['algo']}", payload

    def _one(self, node: Json) -> str:
        op, given, code = node["op"], node["parameters"], self.code
        match op:
            case "assign":
                if given[0]["value"] == ["standard_metadata", "parser_error"]:
                    value = code.modular(given[1], 32)
                    return " ".join(
                        f"if ({value} == {number}) {{ standard.parser_error = error.{name}; }}"
                        for number, name in self._names.errors.items()
                    )
                target = code.target(given[0])
                value = code.modular(given[1], target.width)
                return f"{target.text} = {f'(int<{target.width}>) {value}' if target.signed else value};"
            case "assign_VL":
                return f"{code.target(given[0]).text} = {code.target(given[1]).text};"
            case "assign_header" if self._is_metadata(given[0]):  # which are structs in P4
                left, right = given[0]["value"], given[1]["value"]
                fields = [name for name, *_ in self._names.types[self._names.headers[left]["header_type"]]["fields"]]
                return " ".join(
                    self._one({**node, "op": "assign", "parameters": [_field(left, name), _field(right, name)]})
                    for name in fields
                    if not name.startswith("_padding")  # which p4c adds to fill whole bytes
                )
            case "assign_header" | "assign_header_stack" | "assign_union" | "assign_union_stack":
                return f"{code.header(given[0])} = {code.header(given[1])};"
            case "add_header":
                return f"{code.header(given[0])}.setValid();"
            case "remove_header":
                return f"{code.header(given[0])}.setInvalid();"
            case "push" | "pop":
                return f"{code.header(given[0])}.{op}_front({int(given[1]['value'], 16)});"
            case "mark_to_drop":
                return "mark_to_drop(standard);"
            case "exit":
                return "exit;"
            case "no_op":
                return ";"
            case "count":
                return f"{identifier(given[0]['value'])}.count({code.modular(given[1], 32)});"
            case "register_read":
                target = code.target(given[0])
                register, index = identifier(given[1]["value"]), code.modular(given[2], 32)
                if not target.signed:
                    return f"{register}.read({target.text}, {index});"
                width = target.width  # registers of the JSON have no sign
                return (
                    f"{{ bit<{width}> found; {register}.read(found, {index}); {target.text} = (int<{width}>) found; }}"
                )
            case "register_write":
                width = {each["name"]: each["bitwidth"] for each in self._registers}[given[0]["value"]]
                value = code.modular(given[2], width)
                return f"{identifier(given[0]['value'])}.write({code.modular(given[1], 32)}, {value});"
            case "execute_meter":
                name, target = identifier(given[0]["value"]), code.target(given[2])
                return f"{name}.execute_meter<bit<{target.width}>>({code.modular(given[1], 32)}, {target.text});"
            case "modify_field_with_hash_based_offset":
                target, size = code.target(given[0]), code.modular(given[3], 64)
                values, algorithm, _ = self.inputs(given[2]["value"], node)
                base = code.modular(given[1], target.width)
                return f"hash({target.text}, {algorithm}, {base}, {values}, {size});"
            case "modify_field_rng_uniform":
                target = code.target(given[0])
                low, high = (code.modular(each, target.width) for each in given[1:3])
                return f"random({target.text}, {low}, {high});"
            case "generate_digest":
                lists = {each["id"]: each for each in self._names.root["learn_lists"]}
                found = lists[int(given[1]["value"], 16)]
                values = ", ".join(code.exact(each).text for each in found["elements"])
                return f"digest<{identifier(found['name'])}>(1, {{ {values} }});"
            case "clone_ingress_pkt_to_egress" | "clone_egress_pkt_to_egress":
                kind, which = ("I2E" if "ingress" in op else "E2E"), int(given[1]["value"], 16)
                session = code.modular(given[0], 32)
                return f"clone_preserving_field_list(CloneType.{kind}, {session}, 8w{which});"
            case "resubmit" | "recirculate":
                return f"{op}_preserving_field_list(8w{int(given[0]['value'], 16)});"
            case "truncate":
                return f"truncate({code.modular(given[0], 32)});"
            case "log_msg":
                escaped = str(given[0]["value"]).replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
                values = ", ".join(code.exact(each).text for each in given[1]["value"] or ())
                return f'log_msg("{escaped}"{f", {{ {values} }}" if values else ""});'
            case "assert" | "assume":
                return f"{op}({code.boolean(given[0])});"
            case "primitive":
                return self._one({**node, **given[0]})
            case "extract":
                return f"packet.extract({self._extracted(given[0])});"
            case "extract_VL":
                return f"packet.extract({self._extracted(given[0])}, {code.modular(given[1], 32)});"
            case "set":
                return self._one({**node, "op": "assign"})
            case "verify":
                return f"verify({code.boolean(given[0])}, {self._names.error(int(given[1]['value'], 16))});"
            case "advance":
                return f"packet.advance({code.modular(given[0], 32)});"
            case "shift":
                return f"packet.advance({int(given[0]) * 8});"
            case _:
                raise refusal(f"the primitive {op!r} of BMv2's JSON is not supported yet", node, self._names.file)

    def _is_metadata(self, node: Json) -> bool:
        return node["type"] == "header" and bool(self._names.headers[node["value"]]["metadata"])

    @property
    def _registers(self) -> list[Json]:
        registers: list[Json] = self._names.root["register_arrays"]
        return registers

    def _extracted(self, node: Json) -> str:
        if node["type"] == "regular":
            return self._names.header(node["value"])
        if node["type"] == "stack":
            return f"{self._names.stack(node['value'])}.next"
        if node["type"] == "union_stack":
            stack, member = node["value"]
            return f"{self._names.stack(stack)}.next.{identifier(member)}"
        raise refusal(f"extraction to a {node['type']!r} is not supported")


def _field(header: str, name: str) -> Json:
    return {"type": "field", "value": [header, name]}
