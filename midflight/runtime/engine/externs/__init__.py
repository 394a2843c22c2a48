"""The externs of v1model, a module for each group, and their emission by name."""

from __future__ import annotations

from collections.abc import Callable

from midflight.p4 import ir
from midflight.runtime.engine.code import Code, Value, unsupported
from midflight.runtime.engine.expressions import value
from midflight.runtime.engine.externs import (
    checksums,
    counters,
    digests,
    hashes,
    logs,
    meters,
    randoms,
    registers,
    traffic,
)

__all__ = ["lower_call"]


def lower_call(code: Code, call: ir.Call) -> Value | None:
    """Emit a call of an extern function or method. None of those supported has a value, so the result is None.

    Raises P4Error for one that the engine does not support.
    """
    if call.instance is not None:
        method = METHODS.get((call.instance.kind, call.name))
        if method is None:
            raise unsupported(f"{call.instance.kind}.{call.name}()", call.place)
        method(code, call, call.instance)
    else:
        function = FUNCTIONS.get(call.name)
        if function is None:
            raise unsupported(f"{call.name}()", call.place, REPLACEMENTS.get(call.name, ""))
        function(code, call)
    return None


def _verify(code: Code, call: ir.Call) -> None:
    """Lower the parser's `verify(condition, error)`."""
    if code.cursor is None:
        raise unsupported("verify() outside a parser", call.place)
    condition, error = (value(code, each) for each in call.arguments)
    code.cursor.fail(code, code.b.not_(condition), error)


def _counted_already(code: Code, call: ir.Call, instance: ir.Instance) -> None:
    """Lower `direct_counter.count()` to nothing: every hit is counted, even if its action does not call it."""


FUNCTIONS: dict[str, Callable[[Code, ir.Call], None]] = {
    "assert": logs.check,
    "assume": logs.check,
    "clone": traffic.clone,
    "clone_preserving_field_list": traffic.clone_preserving,
    "digest": digests.digest,
    "hash": hashes.hash_fields,
    "log_msg": logs.log_msg,
    "mark_to_drop": traffic.mark_to_drop,
    "random": randoms.random,
    "recirculate_preserving_field_list": traffic.recirculate,
    "resubmit_preserving_field_list": traffic.resubmit,
    "truncate": traffic.truncate,
    "update_checksum": checksums.update,
    "update_checksum_with_payload": checksums.update_with_payload,
    "verify": _verify,
    "verify_checksum": checksums.verify,
    "verify_checksum_with_payload": checksums.verify_with_payload,
}

METHODS: dict[tuple[str, str], Callable[[Code, ir.Call, ir.Instance], None]] = {
    ("counter", "count"): counters.count,
    ("direct_counter", "count"): _counted_already,
    ("direct_meter", "read"): meters.read_direct,
    ("meter", "execute_meter"): meters.execute,
    ("register", "read"): registers.read,
    ("register", "write"): registers.write,
}

REPLACEMENTS = {
    "clone3": "use clone_preserving_field_list()",
    "recirculate": "use recirculate_preserving_field_list()",
    "resubmit": "use resubmit_preserving_field_list()",
}
