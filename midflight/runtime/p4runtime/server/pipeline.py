"""A forwarding pipeline of a switch: a program, the engine that runs it, and the P4Info that controllers use.

The device config is P4_16 source text in UTF-8 (P4Runtime specification 1.5, sections 7 and 14).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from finsy.proto import p4r

from midflight.errors import DeviceError, P4Error, UnsupportedError
from midflight.p4 import ir
from midflight.p4.bmv2json.emit import is_bmv2_json
from midflight.p4.p4info import metadata_widths
from midflight.runtime.checked import CheckedProgram, Programs, user_programs
from midflight.runtime.engine import Backend, Engine, Entry, Gate, TableError
from midflight.runtime.engine.apart import CompileBudget, compile_apart
from midflight.runtime.engine.memory import DEFAULT, BudgetError, demand
from midflight.runtime.engine.queues import Queueing
from midflight.runtime.p4runtime.schema import Schema
from midflight.runtime.p4runtime.server.binding import BoundTable, bind, bind_value_sets, without_removed
from midflight.runtime.p4runtime.server.digests import DigestBook
from midflight.runtime.p4runtime.server.translation import Strings
from midflight.runtime.p4runtime.status import Code, Refusal

__all__ = ["Maker", "Note", "Pipeline", "assemble", "build", "describe", "embedded"]

_FILE = "p4_device_config"

# The beginning of p4.tmp.P4DeviceConfig, in which older controllers wrap BMv2's JSON: `reassign`, and `device_data`
# with its length.
_WRAPPER = re.compile(rb"\A(?:\x08[\x00\x01])?\x1a[\x80-\xff]{0,4}[\x00-\x7f](?=\s*\{)")

Maker = Callable[..., Backend]
"""A function that returns what runs a checked program, given the options of `Engine` by name."""

EntryId = tuple[str, ir.Keyset | None, int]
"""A table's name, an entry's keys (None for the default action) and its priority."""


@dataclass(frozen=True, slots=True)
class Note:
    """Data that a controller stores with a table entry: `idle_timeout` in nanoseconds, 0 for none, and data that the
    device only returns.
    """

    metadata: bytes = b""
    controller_metadata: int = 0
    idle_timeout: int = 0


@dataclass(eq=False)
class Pipeline:
    """The pipeline of an embedded switch: a program, its engine, and the state that P4Runtime adds to it.

    `widths` are the widths in bits of the fields of the headers `packet_in` and `packet_out`, by name. `strings` are
    the types whose values are strings for controllers, by name. `now` is in microseconds, and `down` are the
    ports that could not send when `observe` was last called.
    """

    config: p4r.ForwardingPipelineConfig
    checked: CheckedProgram
    engine: Backend
    schema: Schema
    tables: dict[int, BoundTable]
    digests: DigestBook
    strings: dict[str, Strings] = field(default_factory=dict)
    value_sets: dict[int, BoundTable] = field(default_factory=dict)
    const: dict[str, set[tuple[ir.Keyset, int]]] = field(default_factory=dict)
    notes: dict[EntryId, Note] = field(default_factory=dict)
    groups: dict[int, p4r.MulticastGroupEntry] = field(default_factory=dict)
    group_sizes: dict[tuple[str, int], int] = field(default_factory=dict)  # max_size by action selector and group
    sessions: dict[int, p4r.CloneSessionEntry] = field(default_factory=dict)
    idle_since: dict[EntryId, int] = field(default_factory=dict)  # see `idle.py`
    now: int = 0
    down: frozenset[int] = frozenset()
    widths: dict[str, dict[str, int]] = field(init=False)

    def __post_init__(self) -> None:
        self.widths = {"packet_in": {}, "packet_out": {}} | metadata_widths(self.checked.program)
        # A new engine has the entries of the program, in canonical form.
        for name, table in self.checked.program.tables.items():
            entries = zip(self.engine.tables[name].entries(), table.entries, strict=True)
            fixed = {(held.keys, held.priority) for held, each in entries if each.const or table.entries_const}
            self.const[name] = fixed

    def table(self, number: int) -> BoundTable:
        """Return the table with this id.

        Refusal with INVALID_ARGUMENT for an unknown id, or a table that p4c has removed from BMv2's JSON.
        """
        info = self.schema.tables.of_id(number)
        if number not in self.tables:
            name = info.preamble.name
            raise Refusal(Code.INVALID_ARGUMENT, f"the program has no table {name}: p4c removed it from the JSON")
        return self.tables[number]

    @property
    def due(self) -> int | None:
        """The time in nanoseconds at which the next packet leaves its queue, or the next list of digests is to be sent;
        None if neither is known.
        """
        listed = None if self.digests.due is None else self.digests.due * 1000
        return min((each for each in (self.engine.due, listed) if each is not None), default=None)

    def observe(self, down: frozenset[int]) -> None:
        """Record which switch ports cannot send now (`down`), for the groups of the engine.

        While a port cannot send, members of action selectors' groups that watch it are left out, and multicast and
        clone replicas to it are replaced by their backups. The change takes effect at once.
        """
        for port in sorted(down ^ self.down):
            self.engine.set_port(port, up=port not in down)
        if down != self.down:
            self.down = down
            self.engine.commit()

    def find(self, bound: BoundTable, keys: ir.Keyset, priority: int) -> Entry:
        """Return the entry with these keys and this priority. Raises Refusal with NOT_FOUND if there is none."""
        try:
            return self.engine.tables[bound.name].get(keys, priority)
        except TableError as error:
            raise Refusal(Code.NOT_FOUND, error.message) from None


def embedded(checked: CheckedProgram, **options: Any) -> Backend:
    """Return the embedded switch's engine for a program. `options` are those of `Engine`, which says what it raises."""
    return Engine(checked.program, compiled=checked.compiled, **options)


def assemble(
    config: p4r.ForwardingPipelineConfig,
    checked: CheckedProgram,
    *,
    cpu_port: int = 510,
    seed: int = 0,
    gate: Gate | None = None,
    memory: int = DEFAULT,
    queueing: Queueing | None = None,
    make: Maker = embedded,
) -> Pipeline:
    """Return a new pipeline of a checked program, which `make` runs. The other options are those of `Engine`.

    Refusal with INVALID_ARGUMENT if the config's P4Info does not fit the program, and with RESOURCE_EXHAUSTED if the
    program's state exceeds `memory` or if `make` raises DeviceError, for example without the permission to load an XDP
    program. Other errors of `make` are raised as they are: P4Error for a construct that its engine does not support,
    and UnsupportedError for a program that LLVM cannot translate to BPF or the kernel's verifier rejects.
    """
    ours, loose = Schema(checked.p4info), is_bmv2_json(checked.text)
    schema = Schema(without_removed(config.p4info, ours) if loose else config.p4info)
    strings: dict[str, Strings] = {}
    tables = bind(schema, ours, checked.program, strings, loose=loose)
    value_sets = bind_value_sets(schema, ours, checked.program, strings, loose=loose)
    try:
        demand(checked.program, memory)  # before code is generated
        engine = make(checked, cpu_port=cpu_port, seed=seed, gate=gate, memory=memory, queueing=queueing)
    except DeviceError as error:
        raise Refusal(Code.RESOURCE_EXHAUSTED, str(error)) from None
    return Pipeline(config, checked, engine, schema, tables, DigestBook(schema), strings, value_sets)


def build(
    config: p4r.ForwardingPipelineConfig,
    *,
    cpu_port: int = 510,
    seed: int = 0,
    gate: Gate | None = None,
    programs: Programs | None = None,
    memory: int = DEFAULT,
    apart: CompileBudget | None = None,
    queueing: Queueing | None = None,
    make: Maker = embedded,
) -> Pipeline:
    """Return a new pipeline for a controller's config: checked, bound to its P4Info, and compiled.

    A program in `programs` is not compiled again. With `apart`, compilation for the embedded switch takes place in
    another process with these limits. Refusal with INVALID_ARGUMENT and the compiler's message for an invalid config
    and for a construct that the engine does not support, with UNIMPLEMENTED for a program that LLVM cannot translate to
    BPF or the kernel's verifier rejects, and with RESOURCE_EXHAUSTED if it exceeds a limit or the kernel refuses
    otherwise. CompilerDied, which is a bug, if the other process ends without an answer.
    """
    if not config.p4_device_config:
        raise Refusal(
            Code.INVALID_ARGUMENT, "the config has no p4_device_config, which is P4_16 source text or BMv2's JSON"
        )
    if not config.HasField("p4info"):
        raise Refusal(Code.INVALID_ARGUMENT, "the config has no p4info")
    try:
        text = _WRAPPER.sub(b"", config.p4_device_config).decode()
        checked = (programs or user_programs()).get(text, _FILE, confined=True)
        if apart is not None and make is embedded and not checked.is_compiled:
            checked.adopt(compile_apart(text, _FILE, apart, memory))
        return assemble(
            config, checked, cpu_port=cpu_port, seed=seed, gate=gate, memory=memory, queueing=queueing, make=make
        )
    except UnicodeDecodeError as error:
        raise Refusal(Code.INVALID_ARGUMENT, f"p4_device_config is not P4_16 source text: {error}") from None
    except P4Error as error:
        raise Refusal(Code.INVALID_ARGUMENT, str(error)) from None
    except BudgetError as error:
        raise Refusal(Code.RESOURCE_EXHAUSTED, error.message) from None
    except UnsupportedError as error:
        raise Refusal(Code.UNIMPLEMENTED, str(error)) from None


def describe(
    config: p4r.ForwardingPipelineConfig, response_type: p4r.GetForwardingPipelineConfigRequest.ResponseType.ValueType
) -> p4r.ForwardingPipelineConfig:
    """Return the parts of a pipeline config that a GetForwardingPipelineConfig request asks for.

    The cookie is always among them, if there is one.
    """
    kinds = p4r.GetForwardingPipelineConfigRequest
    part = p4r.ForwardingPipelineConfig()
    if config.HasField("cookie"):
        part.cookie.CopyFrom(config.cookie)
    if response_type in (kinds.ALL, kinds.P4INFO_AND_COOKIE):
        part.p4info.CopyFrom(config.p4info)
    if response_type in (kinds.ALL, kinds.DEVICE_CONFIG_AND_COOKIE):
        part.p4_device_config = config.p4_device_config
    return part
