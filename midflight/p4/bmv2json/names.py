"""Headers, stacks and fields of a JSON program, and how the P4 text spells them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from midflight.errors import P4Error, Place

__all__ = ["Names", "Value", "identifier", "placed", "refusal"]

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Value:
    """A P4 expression: its text, its width in bits, and whether it is `int<W>` instead of `bit<W>`."""

    text: str
    width: int
    signed: bool = False


def identifier(name: str) -> str:
    """Return a name from BMv2's JSON as a P4 identifier: other characters than letters, digits and _ are
    replaced by _.
    """
    return re.sub(r"\W", "_", name)


def placed(node: Json, file: str) -> Place | None:
    """Return the place in the original P4 source that a JSON object names, or None if it names none.

    `file` is used if the JSON gives a line without a file.
    """
    info = node.get("source_info")
    if not isinstance(info, dict):
        return None
    column = int(info.get("column") or 0) + 1
    return Place(str(info.get("filename") or file), int(info.get("line") or 1), column)


def refusal(message: str, node: Json | None = None, file: str = "") -> P4Error:
    """Return, but do not raise, the error that something in BMv2's JSON is not supported or wrong.

    Its place is that of `node` in the original P4 source, if the JSON has it; `file` names the JSON.
    """
    return P4Error(message, place=placed(node, file) if node else None)


class Names:
    """Looks up what a program in BMv2's JSON declares, and gives it names in P4.

    `root` is the parsed JSON, and `file` its name in errors. Raises P4Error for JSON with extern instances. Methods
    raise P4Error for unknown names.
    """

    def __init__(self, root: Json, file: str) -> None:
        self.file = file
        self.root = root
        if root.get("extern_instances"):
            raise refusal("BMv2's JSON with extern instances is not supported")
        self.types: dict[str, Json] = {each["name"]: each for each in root["header_types"]}
        self.headers: dict[str, Json] = {each["name"]: each for each in root["headers"]}
        self.by_id: dict[int, Json] = {each["id"]: each for each in root["headers"]}
        self.stacks: dict[str, Json] = {each["name"]: each for each in root["header_stacks"]}
        self._elements: dict[str, str] = {}
        for stack in root["header_stacks"]:
            for at, number in enumerate(stack["header_ids"]):
                self._elements[self.by_id[number]["name"]] = f"hdr.{identifier(stack['name'])}[{at}]"
        self.unions: dict[str, Json] = {each["name"]: each for each in root["header_unions"]}
        self.union_stacks: dict[str, Json] = {each["name"]: each for each in root["header_union_stacks"]}
        self.union_types: dict[str, Json] = {each["name"]: each for each in root["header_union_types"]}
        of_stack = {
            number: f"hdr.{identifier(stack['name'])}[{at}]"
            for stack in root["header_union_stacks"]
            for at, number in enumerate(stack["header_union_ids"])
        }
        for union in root["header_unions"]:
            base = of_stack.get(union["id"]) or f"hdr.{identifier(union['name'])}"
            members = self.union_types[union["union_type"]]["headers"]
            for (member, _), number in zip(members, union["header_ids"], strict=True):
                self._elements[self.by_id[number]["name"]] = f"{base}.{identifier(member)}"
        self._in_stack = frozenset(of_stack)
        self.errors: dict[int, str] = {value: name for name, value in root["errors"]}

    def header(self, name: str) -> str:
        """Return how P4 text refers to the header instance of this name, such as `hdr.ipv4`. P4Error if there is
        none.
        """
        if name not in self.headers:
            raise refusal(f"there is no header {name!r}")
        return self._elements.get(name) or f"hdr.{identifier(name)}"

    def is_element(self, name: str) -> bool:
        """Return whether the header instance of this name is an element of a header stack or a member of a union."""
        return name in self._elements

    def is_stacked(self, union: Json) -> bool:
        """Return whether a header union, given as its JSON object, is an element of a stack."""
        return union["id"] in self._in_stack

    def union(self, name: str) -> str:
        """Return how P4 text refers to the header union of this name. P4Error if there is none outside of stacks."""
        if name not in self.unions or self.is_stacked(self.unions[name]):
            raise refusal(f"there is no header union {name!r}")
        return f"hdr.{identifier(name)}"

    def stack(self, name: str) -> str:
        """Return how P4 text refers to the stack of this name, of headers or of header unions. P4Error if there is
        none.
        """
        if name not in self.stacks and name not in self.union_stacks:
            raise refusal(f"there is no header stack {name!r}")
        return f"hdr.{identifier(name)}"

    def field(self, reference: list[str]) -> Value:
        """Return the P4 expression for a field, given as the names of its header instance and of the field.

        The field `$valid$` gives the header's validity as a `bit<1>`. P4Error if there is no such field.
        """
        instance, name = reference
        if instance not in self.headers:
            raise refusal(f"there is no header {instance!r}")
        header = self.headers[instance]
        if name == "$valid$":
            return Value(f"(bit<1>) {self.header(instance)}.isValid()", 1)
        if instance == "standard_metadata":
            if name == "parser_error":
                return Value(self._error_number(), 32)
            base = "standard."
        elif header["metadata"]:
            base = f"meta.{identifier(instance)}_"
        else:
            base = f"{self.header(instance)}."
        width, signed = self.field_type(header["header_type"], name)
        return Value(base + identifier(name), width, signed)

    def field_type(self, header_type: str, name: str) -> tuple[int, bool]:
        """Return the width in bits of a field of a header type, and whether it is signed. A varbit has width 0.

        P4Error if the type has no such field.
        """
        for each in self.types[header_type]["fields"]:
            if each[0] == name:
                return (0 if each[1] == "*" else int(each[1])), len(each) > 2 and bool(each[2])
        raise refusal(f"the header type {header_type!r} has no field {name!r}")

    def element_field(self, stack: str, spelled: str, at: int | str) -> Value:
        """Return the P4 expression for a field of an element of a header stack.

        `stack` is the stack's name, `spelled` the P4 text of the element, and `at` the field's index in the header or
        its name. KeyError for an unknown stack, P4Error for an unknown field, and IndexError beyond the last field.
        """
        kind = self.stacks[stack]["header_type"]
        name = self.types[kind]["fields"][at][0] if isinstance(at, int) else at
        width, signed = self.field_type(kind, name)
        return Value(f"{spelled}.{identifier(name)}", width, signed)

    def error(self, number: int) -> str:
        """Return how P4 text refers to the parser error of this number: `error.NAME`. P4Error if there is none."""
        if number not in self.errors:
            raise refusal(f"there is no error {number}")
        return f"error.{self.errors[number]}"

    def _error_number(self) -> str:
        text = "32w0"
        for number, name in self.errors.items():
            text = f"(standard.parser_error == error.{name} ? 32w{number} : {text})"
        return text
