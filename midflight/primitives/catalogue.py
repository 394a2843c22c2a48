"""A catalogue of the library: its primitives with parameters, examples and sources."""

from __future__ import annotations

import ast
import dataclasses
import doctest
import inspect
import io
import re
import textwrap
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from midflight import primitives as library
from midflight.errors import MidflightError
from midflight.primitives.kernel.primitive import MOST, Chain, Primitive, summary

__all__ = [
    "FAMILIES", "LIBRARY", "Entry", "ParameterEntry", "catalogue", "code_lines", "find", "instance", "made",
    "parameters_of", "summary",
]  # fmt: skip

LIBRARY: Mapping[str, type[Primitive]] = {
    name: each
    for name, each in ((name, getattr(library, name)) for name in library.__all__)
    if isinstance(each, type) and issubclass(each, Primitive) and each is not Primitive
}
"""Every primitive that `midflight.primitives` exports, by name."""

FAMILIES: Mapping[str, str] = {
    "aggregation": "combine many numbers into one",
    "reduction": "drop data that a result does not need",
    "detection": "find and report what stands out, in little memory",
    "state": "keep state that many hosts share",
    "control": "close or stop control loops in the network",
    "steering": "decide where requests are served, and how many of them",
    "composition": "combine several primitives",
}
"""The families of primitives, with descriptions."""


@dataclass(frozen=True, slots=True)
class ParameterEntry:
    """A parameter of a primitive: its name, its type as written in the class, its default, and its description.

    `default` is None if the parameter is `required`, or if None is the default. `meaning` is the text of the class's
    docstring, empty if it has none.
    """

    name: str
    type: str
    required: bool
    default: Any
    meaning: str


@dataclass(frozen=True, slots=True)
class Entry:
    """A primitive of the library, as the catalogue lists it: `name` is its class, `summary` one sentence about it.

    `family` is one of `FAMILIES`, `example` an expression in Python that creates an instance. `overflow` is the
    behaviour of its numbers at their limits, `paper` the publication that it follows. `lines` is the number of lines of
    code in its module, without blank lines, comments and docstrings.
    """

    name: str
    family: str
    summary: str
    example: str
    parameters: tuple[ParameterEntry, ...]
    overflow: str
    paper: str
    lines: int


def catalogue() -> tuple[Entry, ...]:
    """Return an entry for each primitive of the library, sorted by name. Reads their source files, OSError if that
    fails.
    """
    return tuple(_entry(name, each) for name, each in sorted(LIBRARY.items()))


def find(name: str) -> type[Primitive]:
    """Return the class of a library primitive by its name, ignoring case. Raises MidflightError for an unknown name."""
    found = {each.lower(): primitive for each, primitive in LIBRARY.items()}.get(str(name).lower())
    if found is None:
        raise MidflightError(f"the library has no primitive {name!r}", hint=f"it has {', '.join(sorted(LIBRARY))}")
    return found


def instance(name: str, settings: Mapping[str, str]) -> Primitive:
    """Create a library primitive from parameters given as text, as on the command line.

    `name` is the class, ignoring case; the application's name is the class in lower case. `settings` maps parameters
    to texts: ints in any base of Python or as "max" (`Primitive.largest`), parameters of type `str` and those with a
    `Literal` of their own unquoted, others, such as `operation` of `Aggregate`, as Python literals. Raises
    MidflightError for an unknown primitive, a missing or unknown parameter, and a value that is malformed or outside
    the limits.
    """
    kind = find(name)
    known = {each.name: each for each in parameters_of(kind)}
    values: dict[str, Any] = {}
    for key, text in settings.items():
        if key not in known:
            raise _unknown(kind, key)
        values[key] = _value(kind.__name__, known[key], str(text))
    if missing := [each for each in known.values() if each.required and each.name not in values]:
        first = missing[0]
        raise MidflightError(
            f"{kind.__name__} needs {', '.join(each.name for each in missing)}",
            hint=f"--set {first.name}=...  {first.meaning}".rstrip(),
        )
    return made(kind, kind.__name__.lower(), values)


def made(kind: type[Primitive], name: str, parameters: Mapping[str, Any]) -> Primitive:
    """Create a primitive of class `kind` with an application name and parameters that are already Python values.

    For a `Chain`, the elements of `stages` may be primitives, or mappings with `primitive`, `name` and parameters as in
    `Chain.parameters`. Raises MidflightError for a malformed mapping or an unknown primitive in one, for missing or
    unknown parameters, and for values of a wrong type; KernelError for other invalid values.
    """
    known = [each.name for each in parameters_of(kind)]
    for key in parameters:
        if key not in known:
            raise _unknown(kind, key)
    try:
        if "stages" in parameters and issubclass(kind, Chain):
            parameters = {**parameters, "stages": [_stage(each) for each in parameters["stages"]]}
        return kind(name, **parameters)
    except (TypeError, ValueError, AttributeError) as error:
        raise MidflightError(f"{kind.__name__}({name!r}) cannot be created: {error}") from error


def _unknown(kind: type[Primitive], key: object) -> MidflightError:
    known = ", ".join(each.name for each in parameters_of(kind))
    return MidflightError(f"{kind.__name__} has no parameter {key!r}", hint=f"it has {known}")


def _stage(stage: Mapping[str, Any] | Primitive) -> Primitive:
    if isinstance(stage, Primitive):
        return stage
    if not isinstance(stage, Mapping) or not {"primitive", "name"} <= stage.keys():
        raise MidflightError(
            f"{stage!r} does not describe a primitive of a chain",
            hint='write {"primitive": "Filter", "name": "hot", "keep": "a > 3"}',
        )
    rest = {name: each for name, each in stage.items() if name not in ("primitive", "name")}
    return made(find(stage["primitive"]), stage["name"], rest)


def _entry(name: str, kind: type[Primitive]) -> Entry:
    parameters, example = parameters_of(kind), _example(kind)
    return Entry(
        name, kind.FAMILY, summary(kind), example, parameters, kind.OVERFLOW, kind.PAPER, code_lines(_source(kind))
    )


def code_lines(source: str) -> int:
    """Return how many lines of Python source contain code: blank lines, comments and docstrings do not count.

    String expressions after an attribute, which document it, do not count either. Raises SyntaxError for invalid
    source.
    """
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            docstrings.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    lines = (range(each.start[0], each.end[0] + 1) for each in tokens if each.type not in NO_CODE)
    return len({line for some in lines for line in some} - docstrings)


NO_CODE = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER,
}  # fmt: skip


def _source(kind: type[Primitive]) -> str:
    """Return the source of a primitive's module, or of the class if the module contains more than the primitive."""
    own = kind.__module__.rpartition(".")[2] == kind.__name__.lower()
    return textwrap.dedent(inspect.getsource(inspect.getmodule(kind) or kind if own else kind))


def _example(kind: type[Primitive]) -> str:
    """Return the first expression in a docstring's example that creates the primitive or, for Chain, a chain."""
    for example in doctest.DocTestParser().get_examples(kind.__doc__ or ""):
        for node in ast.walk(ast.parse(example.source)):
            chain = isinstance(node, ast.BinOp) and isinstance(node.op, ast.RShift) and kind is Chain
            if chain or (
                isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == kind.__name__
            ):
                return ast.get_source_segment(example.source, node) or ""
    return ""


def parameters_of(kind: type[Primitive]) -> tuple[ParameterEntry, ...]:
    """Return the constructor's parameters of a primitive's class in order, without `name`, which they all have."""
    meanings = _meanings(inspect.getdoc(kind) or "")
    found = []
    for each in dataclasses.fields(kind):
        if each.name != "name":
            missing = each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
            default = None if each.default is dataclasses.MISSING else each.default
            if each.default_factory is not dataclasses.MISSING:
                default = each.default_factory()
            text = each.type if isinstance(each.type, str) else getattr(each.type, "__name__", str(each.type))
            found.append(ParameterEntry(each.name, text, missing, default, meanings.get(each.name, "")))
    return tuple(found)


def _meanings(text: str) -> dict[str, str]:
    """Return the descriptions of parameters in a docstring's section `Parameters:`."""
    section = re.search(r"^Parameters[^:\n]*:\n((?:    .*\n|\n)*)", text + "\n", re.MULTILINE)
    found: dict[str, str] = {}
    names: list[str] = []
    for line in (section[1] if section else "").splitlines():
        if begun := re.match(r"    (\w+(?:, \w+)*): (.*)", line):
            names = begun[1].split(", ")
            found |= dict.fromkeys(names, begun[2])
        elif line.strip():
            found |= {each: f"{found[each]} {line.strip()}" for each in names}
    return found


def _value(owner: str, parameter: ParameterEntry, text: str) -> Any:
    """Return a parameter's value from text: strings for types with strings, otherwise a Python literal."""
    if parameter.type == "int":
        if text == MOST:
            return text
        try:
            return int(text, 0)
        except ValueError:
            raise MidflightError(f"{owner}: {parameter.name} must be a whole number, not {text!r}") from None
    if parameter.type == "str":
        return text
    if parameter.type.startswith("Literal["):
        allowed = ast.literal_eval(parameter.type.removeprefix("Literal"))
        return next((each for each in allowed if str(each) == text), text)
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        raise MidflightError(
            f"{owner}: {parameter.name} must be written as in Python, not {text!r}",
            hint="for example 1, True or (1, 2)",
        ) from None
