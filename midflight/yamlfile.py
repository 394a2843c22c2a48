"""YAML files whose values know their places, so that a mistake is reported where it was made."""

from __future__ import annotations

from typing import Any, NoReturn

import yaml

from midflight.errors import MidflightError, Place

__all__ = ["Pairs", "YamlFile"]

_TAG = "tag:yaml.org,2002:"
_SCALARS = ("str", "int", "float", "bool", "null")
_SHOWN = 40  # characters of a value that a message shows
_MOST_BITS = 2048  # of an integer: as many as the widest value of P4 programs has

Pairs = dict[str, tuple[yaml.Node, yaml.Node]]
"""A mapping: each key with its own node and its value's node."""


class YamlFile:
    """A YAML text as a tree of nodes. `file` is the name of the file in errors.

    MidflightError if the text is not valid YAML. The methods raise MidflightError, with the place of the node, if a
    node is not of the expected kind.
    """

    def __init__(self, text: str, file: str) -> None:
        self._lines = text.splitlines()
        self._file = file
        try:
            self.root: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            problem = str(error.problem)
            if problem.startswith("but"):
                problem = f"{error.context}, {problem}"
            place = self._place(mark.line, mark.column) if mark else None
            raise MidflightError(f"not YAML: {problem}", place=place) from None
        except RecursionError:
            raise MidflightError("nested too deeply", place=Place(file, 1, 1)) from None
        except yaml.YAMLError as error:
            raise MidflightError(f"not YAML: {error}", place=self._place(0, 0)) from None

    def mapping(self, node: yaml.Node | None, what: str, example: str = "") -> Pairs:
        """Return the pairs of a mapping node, in order: by key, the key's own node and the value's node.

        `what` names the mapping in the error, and `example` is its hint. MidflightError if it is not a mapping, or if a
        key occurs twice.
        """
        if not isinstance(node, yaml.MappingNode):
            self.fail(node, f"{what} must be a mapping from names to values", example)
        self._untagged(node, "map")
        found: Pairs = {}
        for key, value in node.value:
            name = str(self.scalar(key))
            if name in found:
                self.fail(key, f"{name} occurs twice")
            found[name] = key, value
        return found

    def sequence(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        """Return the item nodes of a list node, which `what` names in errors. MidflightError if it is not a list."""
        if not isinstance(node, yaml.SequenceNode):
            self.fail(node, f"{what} is expected here", "write [one, another], or lines that begin with -")
        self._untagged(node, "seq")
        items: list[yaml.Node] = node.value
        return items

    def names(self, node: yaml.Node) -> list[str]:
        """Return the items of a list node as texts. MidflightError if it is not a list, or an item is a list or
        mapping.
        """
        return [str(self.scalar(each)) for each in self.sequence(node, "a list of names")]

    def scalar(self, node: yaml.Node) -> Any:
        """Return the value of a node with a single value: a str, int, float, bool or None. A date or time is returned
        as text.

        MidflightError if it is a list or a mapping, has a tag for another type, or is an integer of more than 2048
        bits.
        """
        if not isinstance(node, yaml.ScalarNode):
            self.fail(node, "one value is expected here")
        if node.tag == f"{_TAG}timestamp":
            return str(node.value)
        self._untagged(node, *_SCALARS)
        try:
            value = yaml.SafeLoader("").construct_object(node)
        except (yaml.YAMLError, ValueError, TypeError, AttributeError):  # raised by PyYAML's constructors
            shown = node.value if len(node.value) <= _SHOWN else f"{node.value[:_SHOWN]}..."
            self.fail(node, f"{shown!r} does not match its tag")
        if isinstance(value, int) and value.bit_length() > _MOST_BITS:
            self.fail(node, f"the number {node.value[:_SHOWN]}... is too large")
        return value

    def text(self, node: yaml.Node) -> str:
        """Return a single value exactly as it is written, such as a MAC address, which YAML may read as a number.

        MidflightError if it is a list or a mapping.
        """
        if not isinstance(node, yaml.ScalarNode):
            self.fail(node, "one value is expected here")
        return str(node.value)

    def placed(self, node: yaml.Node | None, error: MidflightError) -> MidflightError:
        """Return a copy of an error with the place of a node, as a MidflightError; for None, the beginning of
        the text.
        """
        return MidflightError(error.message, place=self.place(node), hint=error.hint)

    def place(self, node: yaml.Node | None) -> Place:
        """Return the place of a node's first line; for None, the beginning of the text."""
        if node is None:
            return self._place(0, 0)
        start, end = node.start_mark, node.end_mark
        text = self._lines[start.line] if start.line < len(self._lines) else ""
        last = end.column if end.line == start.line else len(text)
        return self._place(start.line, start.column, last - start.column)

    def fail(self, node: yaml.Node | None, message: str, hint: str = "") -> NoReturn:
        """Raise MidflightError with this message and hint, and the place of a node; for None, the beginning of the
        text.
        """
        raise self.placed(node, MidflightError(message, hint=hint)) from None

    def _untagged(self, node: yaml.Node, *kinds: str) -> None:
        """Refuse a value whose tag says that it is something else, such as !!python/object or a merge key."""
        if node.tag not in {f"{_TAG}{each}" for each in kinds}:
            self.fail(node, f"{node.tag.removeprefix(_TAG)} is not supported here", "write plain values, without tags")

    def _place(self, line: int, column: int, length: int = 1) -> Place:
        text = self._lines[line] if line < len(self._lines) else ""
        return Place(self._file, line + 1, column + 1, max(1, length), text)
