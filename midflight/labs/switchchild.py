"""The process in which submitted P4 programs run: embedded switches that play packets.

    python -m midflight.labs.switchchild SECONDS BYTES

Requests are JSON objects on standard input, a line each, with an operation `op` and its arguments; answers are
`{"ok": VALUE}` or `{"error": TEXT}`. `midflight.labs.switch` is the other end. Programs may include only the
architecture's files, so that they cannot read others.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from finsy.proto import p4r
from google.protobuf.message import DecodeError

from midflight.errors import MidflightError
from midflight.labs.limits import limit_process
from midflight.runtime.checked import CheckedProgram, user_programs
from midflight.runtime.engine import Packets
from midflight.runtime.engine.queues import QueueOptions
from midflight.runtime.engine.records import Digest
from midflight.runtime.p4runtime.client.messages import action_message, entry_message
from midflight.runtime.p4runtime.client.profiles import OneShot, WeightedAction
from midflight.runtime.p4runtime.entryfiles.commands import Commands
from midflight.runtime.p4runtime.entryfiles.reading import read_entries
from midflight.runtime.p4runtime.entryfiles.steps import SwitchTarget, apply
from midflight.runtime.p4runtime.packets import from_metadata, header_bytes
from midflight.runtime.p4runtime.server.switch import Switch
from midflight.runtime.p4runtime.status import Refusal
from midflight.runtime.p4runtime.values import flat_names
from midflight.testbed.stf.play import Verdict, run, shown

__all__ = ["Switches", "main"]

_PROGRAMS = 8  # compiled programs that are kept


class _One:
    """A switch, and the packet-ins and digests of the packet that it processes."""

    def __init__(self, switch: Switch, *, limited: bool) -> None:
        self.switch = switch
        self.limited = limited  # whether queues have limits, so that packets may leave after others have arrived
        self.target = SwitchTarget(switch)
        self.commands = Commands(self.target.schema)
        self.packet_ins: list[tuple[dict[str, int], str]] = []
        self.digests: list[tuple[str, dict[str, int]]] = []
        self._names = {each.id: each.name for each in self.target.schema.packet_in}
        switch.listen(self)

    def packet_in(self, values: Mapping[int, int], payload: bytes) -> None:
        """Store a packet-in."""
        self.packet_ins.append(({self._names[each]: value for each, value in values.items()}, payload.hex()))

    def digest(self, digest: Digest) -> None:
        """Store a digest."""
        schema = self.target.schema
        info = schema.digests.named(digest.name)
        names = flat_names(info.type_spec, schema.types)
        self.digests.append((digest.name, dict(zip(names, digest.values, strict=True))))


class Switches:
    """The switches of the process, by number. Each method is an operation, with the arguments of the request."""

    def __init__(self) -> None:
        self._programs = user_programs()
        self._kept: list[CheckedProgram] = []
        self._switches: dict[int, _One] = {}

    def load(self, switch: int, text: str, file: str, seed: int, queues: dict[str, Any] | None) -> None:
        """Start a switch with a program in place of the one with this number. P4Error for an invalid program."""
        program = self._programs.get(text, file, confined=True)
        assert program.compiled is not None
        self._kept = [*[each for each in self._kept if each is not program][-_PROGRAMS:], program]
        queueing = QueueOptions(**queues).queueing() if queues is not None else None
        made = Switch(seed=seed, programs=self._programs, queueing=queueing)
        made.load(text, file)
        self._switches[switch] = _One(made, limited=queues is not None)

    def reset(self) -> None:
        """Forget all switches. Compiled programs are kept."""
        self._switches.clear()

    def commands(self, switch: int, lines: Sequence[str]) -> list[str]:
        """Apply commands of simple_switch_CLI, and return what was read. MidflightError for a mistake."""
        one = self._switches[switch]
        said = []
        for line in lines:
            said += [shown(entity) for _, entity in apply(one.commands.steps(line.split()), one.target)]
        return said

    def entries(self, switch: int, path: str) -> None:
        """Apply an entries file, a copy that the grader has written. MidflightError for a mistake."""
        one = self._switches[switch]
        apply(read_entries(Path(path), one.target.schema), one.target)

    def select(self, switch: int, table: str, match: dict[str, Any], actions: Sequence[Sequence[Any]]) -> None:
        """Add an entry with a set of actions, one of which the table's action selector chooses.

        Each action is its name, its parameters by name, its weight, and the port that it watches or None.
        MidflightError for a mistake.
        """
        one = self._switches[switch]
        schema = one.target.schema
        entry = entry_message(schema, table, match, 0)
        chosen = OneShot([WeightedAction(*each) for each in actions])
        entry.action.CopyFrom(action_message(schema, table, chosen, {}))
        one.switch.preset(p4r.Update(type=p4r.Update.INSERT, entity=p4r.Entity(table_entry=entry)))

    def port(self, switch: int, port: int, up: bool) -> None:
        """Set whether a port of a switch is up. The switch must have been loaded."""
        pipeline = self._switches[switch].switch.pipeline
        assert pipeline is not None
        pipeline.engine.set_port(port, up=up)

    def update(self, switch: int, update: str) -> None:
        """Apply a P4Runtime update, given as bytes in hexadecimal. Refusal if it is invalid."""
        self._switches[switch].switch.preset(p4r.Update.FromString(bytes.fromhex(update)))

    def packet_out(self, switch: int, message: str, time: int) -> dict[str, Any]:
        """Process a P4Runtime packet-out, and return what `play` returns. Refusal if its metadata is invalid."""
        one = self._switches[switch]
        packet = p4r.PacketOut.FromString(bytes.fromhex(message))
        fields = one.target.schema.packet_out
        pipeline = one.switch.pipeline
        assert pipeline is not None
        header = header_bytes(fields, from_metadata(fields, packet.metadata), pipeline.widths["packet_out"])
        return self.play(switch, [[time, one.switch.cpu_port, (header + packet.payload).hex()]], drain=True)

    def p4info(self, switch: int) -> str:
        """Return the P4Info of a switch's program, as bytes in hexadecimal."""
        pipeline = self._switches[switch].switch.pipeline
        assert pipeline is not None
        return bytes(pipeline.config.p4info.SerializeToString(deterministic=True)).hex()

    def play(self, switch: int, packets: Sequence[Sequence[Any]], drain: bool) -> dict[str, Any]:
        """Process packets, each given as time in ns, port and bytes in hexadecimal, in order of time.

        Returns the packets that leave: index of the input or -1 (from a limited queue), time in ns, port, bytes. With
        `drain`, time goes on until the queues are empty. Also returns packet-ins and digests, each with the index of
        its packet.
        """
        one = self._switches[switch]
        sent: list[tuple[int, int, int, str]] = []
        ins: list[tuple[int, dict[str, int], str]] = []
        digests: list[tuple[int, str, dict[str, int]]] = []

        def note(output: Packets, index: int, time: int) -> None:
            times = output.times
            for number, (port, data) in enumerate(output):
                at = time if times is None else int(times[number])
                sent.append((-1 if one.limited else index, at, port, data.hex()))
            ins.extend((index, *each) for each in one.packet_ins)
            digests.extend((index, *each) for each in one.digests)
            one.packet_ins.clear()
            one.digests.clear()

        for index, (time, port, data) in enumerate(packets):
            while (due := one.switch.due) is not None and due <= time:
                note(one.switch.advance(due), -1, due)
            arriving = Packets.from_list([(port, bytes.fromhex(data))])
            note(one.switch.process(arriving, time // 1000, np.array([time], np.uint64)), index, time)
            while not one.limited and (due := one.switch.due) is not None:
                note(one.switch.advance(due), index, due)
        while drain and (due := one.switch.due) is not None:
            note(one.switch.advance(due), -1, due)
        return {"sent": sent, "packet_ins": ins, "digests": digests}

    def stf(self, text: str, program: str, test: str, file: str) -> list[str] | None:
        """Play an STF test on a program, and return the reasons why it fails, [] if it passes.

        None if the program is not supported. MidflightError for a mistake in the test.
        """
        outcome = run(text, program, test, file)
        return None if outcome.verdict is Verdict.UNSUPPORTED else list(outcome.reasons)


def main() -> int:
    """Answer requests until standard input ends, and return 0. Arguments are those of the command line above."""
    seconds, memory = int(sys.argv[1]), int(sys.argv[2])
    limit_process(seconds=seconds, memory=memory, file=1 << 28)  # compiled programs are stored
    switches = Switches()
    operations: dict[str, Callable[..., Any]] = {
        name: getattr(switches, name) for name in vars(Switches) if not name.startswith("_")
    }
    for line in sys.stdin.buffer:
        request = json.loads(line)
        try:
            answer = {"ok": operations[request.pop("op")](**request)}
        except Refusal as refusal:
            answer = {"error": str(refusal.message)}
        except DecodeError:
            answer = {"error": "the bytes are not a message of this kind"}
        except MidflightError as error:
            answer = {"error": str(error)}
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
