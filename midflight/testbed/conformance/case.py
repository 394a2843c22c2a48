"""Conformance cases: a program, packets in order, and the expected output of each, as a value and as a JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from importlib.resources import files
from pathlib import Path
from typing import Any

from midflight.errors import KernelError, MidflightError, WireError
from midflight.primitives import Map, Message, Primitive, Program, Verdict
from midflight.primitives.catalogue import LIBRARY, made
from midflight.primitives.kernel.map import Key
from midflight.primitives.wire import FOR_HOST, REQUEST, Schema
from midflight.testbed.conformance.leaving import leaving
from midflight.testbed.conformance.network import Frame

__all__ = ["FORMAT", "Alert", "Case", "State", "Step", "Write", "load", "schema"]

FORMAT = "midflight-case-1"

Alert = tuple[str, tuple[int, ...]]
"""An alert, as a P4Runtime digest: the digest's name, such as "app_alert_t", and its values."""


@dataclass(frozen=True, slots=True)
class State:
    """The expected value of one register element after a case's last packet: of `register` at `index`.

    `lane` is the number of the lane, or None for a register without lanes.
    """

    register: str
    index: int
    value: int
    lane: int | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """A write of the controller to a map of the kernel: it sets the value of a key, or removes the key if `value` is
    None.

    Keys are as in `Map`. Removing a missing key has no effect.
    """

    map: str
    key: Key
    value: int | None = None

    def apply(self, to: MutableMapping[Key, int] | Map) -> None:
        """Make this write to a map: a `Map` of a kernel, or a mapping that writes to a switch.

        Errors of the map propagate, except that the removal of a key ignores KeyError and KernelError: a missing key,
        or one that the map cannot have.
        """
        if self.value is not None:
            to[self.key] = self.value
        else:
            with suppress(KeyError, KernelError):
                del to[self.key]


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a case: a packet that arrives by `port`, and the packets expected from it.

    `expect` holds (port, packet) pairs in the order of ports; empty if the packet must be dropped. Before the packet,
    the controller performs `control` ("", "withdraw NAME" or "admit NAME", which stops or resumes computing on an
    application) and then `writes`, to the kernel's maps. `note` describes the packet in reports.
    """

    port: int
    packet: bytes
    expect: tuple[tuple[int, bytes], ...] = ()
    control: str = ""
    note: str = ""
    writes: tuple[Write, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """A conformance case: a trace of packets for one primitive, with the expected results.

    `parameters` create the primitive, which is named "app". `alerts` and `state` are what must be there after the last
    step. `seed` is that of a generated case, otherwise None. `ipv6` are the numbers of the hosts that have IPv6
    addresses. `expected_failures` gives, by kind of device, the reason why the case is known to fail there. If it then
    passes, that is a failure. `of` is the primitive's class if the library does not have it, else None.
    """

    name: str
    primitive: str
    parameters: Mapping[str, Any]
    steps: tuple[Step, ...]
    alerts: tuple[Alert, ...] = ()
    state: tuple[State, ...] = ()
    seed: int | None = None
    ipv6: tuple[int, ...] = ()
    expected_failures: Mapping[str, str] = field(default_factory=dict)
    of: type[Primitive] | None = field(default=None, compare=False, repr=False)

    def program(self) -> Program:
        """Return a new program with the case's primitive as its only application, `app`.

        MidflightError if the parameters are not those of the primitive; KeyError if the library has no such primitive.
        """
        return Program(made(self.of or LIBRARY[self.primitive], "app", self.parameters))

    def only(self, numbers: list[int]) -> Case:
        """Return a copy of the case with only the steps of these numbers, counted from 0, in the given order.

        The copy expects no register contents, and its other expectations are no longer valid: `model.answered` renews
        them.
        """
        return replace(self, steps=tuple(self.steps[number] for number in numbers), state=())

    def json(self) -> str:
        """Return the case as JSON text, in the file format that `load` reads."""
        steps = []
        for step in self.steps:
            entry: dict[str, Any] = {"control": step.control} if step.control else {}
            entry |= {"port": step.port, "packet": step.packet.hex()}
            entry["expect"] = [{"port": port, "packet": data.hex()} for port, data in step.expect]
            if step.writes:
                entry["writes"] = [asdict(each) for each in step.writes]
            if step.note:
                entry["note"] = step.note
            steps.append(entry)
        document = {
            "format": FORMAT,
            "name": self.name,
            "primitive": self.primitive,
            "parameters": dict(self.parameters),
            "seed": self.seed,
            **({"ipv6": list(self.ipv6)} if self.ipv6 else {}),
            "steps": steps,
            "alerts": [{"name": name, "values": list(values)} for name, values in self.alerts],
            "state": [asdict(each) for each in self.state],
            "expected_failures": dict(self.expected_failures),
        }
        return json.dumps(document, indent=1) + "\n"


def load(path: Path, own: Mapping[str, type[Primitive]] | None = None) -> Case:
    """Return the case in a JSON file of the format that `schema` describes.

    `own` are classes of primitives by name, which the file may name besides those of the library. Steps that have a
    request by fields and an answer become packets. MidflightError, with the file and the reason, if the file cannot be
    read or is malformed, if there is no such primitive, or if a request or an answer does not fit it.
    """
    own = own or {}
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        _validate(document)
        kind = document["primitive"]
        if kind not in LIBRARY and kind not in own:
            raise ValueError(f"there is no primitive {kind!r}; there are {', '.join([*own, *LIBRARY])}")
        empty = Case(document["name"], kind, document["parameters"], (), of=own.get(kind))
        if any("request" in each for each in document["steps"]):
            steps = tuple(_asked(each, empty.program()) for each in document["steps"])
        else:
            steps = tuple(_step(each) for each in document["steps"])
        return replace(
            empty,
            steps=steps,
            alerts=tuple((each["name"], tuple(each["values"])) for each in document.get("alerts", ())),
            state=tuple(State(**each) for each in document.get("state", ())),
            seed=document.get("seed"),
            ipv6=tuple(document.get("ipv6", ())),
            expected_failures=document.get("expected_failures", {}),
        )
    except OSError as error:
        raise MidflightError(f"{path}: {error.strerror}") from None
    except (ValueError, WireError, KernelError, TypeError) as error:
        raise MidflightError(f"{path}: this is not a case: {error}") from None


def schema() -> Any:
    """Return the JSON Schema of case files, as a mapping."""
    return json.loads(files(__package__).joinpath("case.schema.json").read_text(encoding="utf-8"))


def _validate(document: Any) -> None:
    """Raise ValueError with the first place at which a document is not a valid case."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    if error := best_match(Draft202012Validator(schema()).iter_errors(document)):
        raise ValueError(f"{error.json_path.removeprefix('$.').removeprefix('$') or 'the whole'}: {error.message}")


def _step(entry: Mapping[str, Any]) -> Step:
    expect = tuple((each["port"], bytes.fromhex(each["packet"])) for each in entry["expect"])
    writes = tuple(Write(each["map"], _key(each["key"]), each["value"]) for each in entry.get("writes", ()))
    texts = entry.get("control", ""), entry.get("note", "")
    return Step(entry["port"], bytes.fromhex(entry["packet"]), expect, *texts, writes)


def _asked(entry: Mapping[str, Any], program: Program) -> Step:
    """Return a step whose packets may be given as a request and an answer, by the names of the primitive's fields."""
    if "request" not in entry:
        return _step(entry)
    asked, answer, schema = entry["request"], entry["answer"], Schema(program.schema())
    host, sequence = asked["host"], asked.get("sequence", 0)
    verdict = Verdict[answer["verdict"].upper()]
    frame = Frame.request(host, schema.encode(Message(REQUEST, "app", sequence, asked["fields"])))
    fields = {**asked["fields"], **answer.get("fields", {})}
    kind = FOR_HOST if verdict is Verdict.FALLBACK else REQUEST
    changed = replace(frame, payload=schema.encode(Message(kind, "app", sequence, fields)), checksum=0)
    packets = [{"port": port, "packet": data.hex()} for port, data in leaving(verdict, host, changed)]
    return _step({**entry, "port": host, "packet": bytes(frame).hex(), "expect": packets})


def _key(value: Any) -> Any:
    return tuple(_key(each) for each in value) if isinstance(value, list) else value
