"""Emits the verdicts: their constants, and the code for them in ingress and egress.

A program contains only the verdicts that its kernels use, so unused fallback and recirculation cost nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from midflight.primitives.emit.common import EGRESS
from midflight.primitives.emit.writer import Writer
from midflight.primitives.kernel.packet import ROUNDS, Verdict
from midflight.primitives.kernel.typed import Kernel
from midflight.primitives.wire import FOR_HOST

__all__ = ["Verdicts"]

_MEANING = {
    Verdict.FORWARD: "",
    Verdict.DROP: "",
    Verdict.REPLY: "back to the sender, as a result",
    Verdict.MULTICAST: "to all members of the application, as a result",
    Verdict.FALLBACK: "to the host that it is addressed to, which computes it itself",
    Verdict.RECIRCULATE: "once more through the kernel",
}
_ALWAYS = (Verdict.FORWARD, Verdict.DROP, Verdict.REPLY, Verdict.MULTICAST)

_ACTIONS = """
// Packets whose kernel would have them come around for ever.
counter(1, CounterType.packets) endless;

action stop() {
    endless.count(0);
    mark_to_drop(standard_metadata);
}

// Egress sends the packet around.
action again() {
    standard_metadata.egress_spec = standard_metadata.ingress_port;
}
"""

_COPIED = """
// What is mirrored keeps the port that it came by.
meta.entered = standard_metadata.ingress_port;
"""

_ENTERED = """
// A packet that comes around keeps the port that it came by.
if (meta.round == 0) {
    meta.entered = standard_metadata.ingress_port;
} else {
    standard_metadata.ingress_port = meta.entered;
}
"""

_AGAIN = """\
        if (meta.verdict == RECIRCULATE && hdr.{name}.isValid()) {{
            {name}.apply(meta);
        }}
"""

_STEERED = """
}} else if (({ipv4})
        || ({ipv6})) {{
    steering.apply(hdr, meta, standard_metadata);
    if (!meta.steered) {{
        if (hdr.ipv4.isValid()) {{
            route.apply();
        }} else {{
            route_ipv6.apply();
        }}
    }}
"""


class Verdicts:
    """Writes the code for a program's verdicts. `kernels` are those of its applications, by name."""

    def __init__(self, kernels: Mapping[str, Kernel]) -> None:
        self._around = [name for name, each in kernels.items() if Verdict.RECIRCULATE in each.verdicts]
        self._rounds = any(each.rounds for each in kernels.values())
        self._mirrors = any(each.mirrors for each in kernels.values())
        self._fallback = any(Verdict.FALLBACK in each.verdicts for each in kernels.values())
        self._used = [each for each in Verdict if each in _ALWAYS or self._decided(each, kernels.values())]
        self.width = max(self._used).bit_length()
        """The width in bits of a verdict."""

    @staticmethod
    def _decided(verdict: Verdict, kernels: Collection[Kernel]) -> bool:
        return any(verdict in each.verdicts for each in kernels)

    def constants(self, out: Writer) -> None:
        """Write the constants for the message kind of fallback and the last round of recirculation, if used."""
        if self._fallback:
            out.line(f"const bit<8> FOR_HOST = {FOR_HOST};             // a request that a switch has left to the host")
        if self._around:
            out.line(f"const bit<8> LAST_ROUND = {ROUNDS - 1};          // a packet passes no kernel after this one")

    def declare(self, out: Writer) -> None:
        """Write the P4 constants for the verdicts that the program's kernels give, with comments."""
        out.line("// What a kernel decides about its packet. The ingress control acts on it afterwards.")
        lines = {each: f"const bit<{self.width}> {each.name} = {each.value};" for each in self._used}
        column = max(len(lines[each]) for each in self._used if _MEANING[each]) + 2
        for each, line in lines.items():
            out.line(f"{line:{column}}// {_MEANING[each]}" if _MEANING[each] else line)

    def metadata(self, out: Writer) -> None:
        """Write the metadata fields for the verdict, and those that a recirculated or mirrored packet keeps."""
        out.line(f"bit<{self.width}> verdict;  // what the kernel decided")
        if self._rounds:
            out.line("@field_list(1)")
            out.line("bit<8> round;  // how often the packet has come around")
        if self._rounds or self._mirrors:
            out.line("@field_list(1)")
            out.line("bit<9> entered;  // the port that it came by at first")

    def kernels(self, out: Writer) -> None:
        """Write a control for each application that recirculates packets; egress applies it."""
        for name in self._around:
            out.line(f"// Sends a packet through the kernel of {name} once more.")
            with out.block(f"control {name}_again(inout metadata_t meta)"), out.block("apply"):
                out.line("meta.round = meta.round + 1;")
                out.line("recirculate_preserving_field_list(1);")
            out.line()

    def actions(self, out: Writer) -> None:
        """Write the actions of ingress for recirculation; nothing if no kernel recirculates."""
        if self._around:
            out.lines(_ACTIONS)
            out.line()

    def enter(self, out: Writer) -> None:
        """Write the start of ingress, which stores a packet's first ingress port for recirculation and mirroring."""
        if self._rounds or self._mirrors:
            out.lines(_ENTERED if self._rounds else _COPIED)
            out.line()

    def act(self, out: Writer, *, steer: bool = False) -> None:
        """Write the end of ingress: drop, reply, multicast, recirculate or route the packet, as the verdict says.

        With `steer`, packets that would be routed are steered first.
        """
        if self._fallback:
            with out.block("if (meta.verdict == FALLBACK)"):
                out.line("hdr.midflight.kind = FOR_HOST;")
        steps = [("meta.verdict == DROP", "drop()"), ("meta.verdict == REPLY", "reply()")]
        steps.append(("meta.verdict == MULTICAST", "multicast()"))
        if self._around:
            steps.append(("meta.verdict == RECIRCULATE && meta.round >= LAST_ROUND", "stop()"))
            steps.append(("meta.verdict == RECIRCULATE", "again()"))
        ipv4, ipv6 = (
            "hdr.ipv4.isValid() && hdr.ipv4.ihl == 5 && hdr.ipv4.ttl > 1",
            "hdr.ipv6.isValid() && hdr.ipv6.hop_limit > 1",
        )
        if not steer:
            steps += [(ipv4, "route.apply()"), (ipv6, "route_ipv6.apply()")]
        opening = "if"
        for condition, step in steps:
            out.line(f"{opening} ({condition}) {{")
            out.line(f"    {step};")
            opening = "} else if"
        if steer:
            out.lines(_STEERED.format(ipv4=ipv4, ipv6=ipv6))
        out.lines("} else {\n    unreachable();\n}")

    def egress(self, out: Writer, stamps: str = "") -> None:
        """Write the egress control, with calls of the controls that recirculate packets, if any, and with `stamps`."""
        text = EGRESS.replace("standard_metadata.ingress_port", "meta.entered") if self._mirrors else EGRESS
        head, body = text.split("    apply {\n")
        instances = "".join(f"    {name}_again() {name};\n" for name in self._around)
        calls = "".join(_AGAIN.format(name=name) for name in self._around)
        to_controller = "        if (standard_metadata.egress_port == CPU_PORT) {"
        body = body.replace(to_controller, stamps + to_controller)
        out.lines(f"{head}{instances}{instances and chr(10)}    apply {{\n{calls}{body}")
