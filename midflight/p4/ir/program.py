"""A whole program."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from midflight.errors import P4Warning, Place
from midflight.p4.ir.bodies import Action, Control, Parser, Table
from midflight.p4.ir.entities import Instance
from midflight.p4.types import EnumType, HeaderType, StructType, Type

__all__ = ["Program"]


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A checked v1model program: its six parts, and the objects that they use.

    `headers`, `metadata` and `standard_metadata` are the types of the parts' parameters. `errors` are the members of
    `error` in order. `tables` and `actions` hold what is reachable from `main`, by fully qualified name, and
    `instances` also the externs of the top level. They and `value_sets` are in the order in which the parts of `main`,
    in turn, declare or instantiate them. A value set is a table with a key for each of its fields and one action,
    `found`. `enums` are all enums of the program. `annotations` are those of `main`. `warnings` are those of the
    preprocessor, then the others in the order of the source. `foreign` are the externs that v1model does not have, with
    the place of a use; an engine refuses such a program. `controller_headers` are the headers with
    `@controller_header`.
    """

    file: str
    source: str
    parser: Parser
    verify: Control
    ingress: Control
    egress: Control
    compute: Control
    deparser: Control
    headers: StructType
    metadata: Type
    standard_metadata: StructType
    errors: tuple[str, ...]
    tables: Mapping[str, Table]
    actions: Mapping[str, Action]
    instances: Mapping[str, Instance]
    value_sets: Mapping[str, Table] = field(default_factory=dict)
    foreign: Mapping[str, Place] = field(default_factory=dict)
    controller_headers: tuple[HeaderType, ...] = ()
    enums: tuple[EnumType, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[P4Warning, ...] = ()
