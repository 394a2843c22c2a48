"""A table while its properties are being checked."""

from __future__ import annotations

from dataclasses import dataclass, field

from midflight.p4 import declarations as d
from midflight.p4 import ir

__all__ = ["Draft"]


@dataclass(slots=True)
class Draft:
    """A table under construction: the properties that have been checked so far, or their defaults.

    The attributes are those of `ir.Table`; `entries` are not yet checked. `default` is None until a default action is
    known.
    """

    before: tuple[ir.Statement, ...] = ()
    listed: tuple[ir.Key, ...] = ()
    keys: tuple[ir.Key, ...] = ()
    actions: list[ir.ActionRef] = field(default_factory=list)
    default: ir.ActionRef | None = None
    default_arguments: tuple[int, ...] = ()
    default_const: bool = False
    entries: d.TableEntries | None = None
    size: int = 1024
    direct: list[ir.Instance] = field(default_factory=list)
    implementation: ir.Instance | None = None
    largest_wins: bool = True
    priority_delta: int = 1
    idle_timeout: bool = False
